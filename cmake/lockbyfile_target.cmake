# SPDX-License-Identifier: Apache-2.0
#
# What all our targets have in common. Set per target and privately, so that
# nothing of it reaches a project that uses the library.
function(lockbyfile_target target)
  target_compile_features(${target} PRIVATE cxx_std_20)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow
    $<$<BOOL:${LOCKBYFILE_WERROR}>:-Werror>)
endfunction()

# Another copy of the library, compiled with the given definitions: for tests that need
# more of it, or less, than is shipped.
function(lockbyfile_variant target)
  get_target_property(sources lockbyfile SOURCES)
  list(TRANSFORM sources PREPEND ${PROJECT_SOURCE_DIR}/src/)
  add_library(${target} STATIC EXCLUDE_FROM_ALL ${sources})
  lockbyfile_target(${target})
  get_target_property(definitions lockbyfile COMPILE_DEFINITIONS)
  target_compile_definitions(${target} PUBLIC ${ARGN} PRIVATE ${definitions})
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${target} PUBLIC Threads::Threads ${CMAKE_DL_LIBS})
  set_target_properties(${target} PROPERTIES CXX_CLANG_TIDY "")  # has read these sources
endfunction()
