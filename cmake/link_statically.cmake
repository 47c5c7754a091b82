# SPDX-License-Identifier: Apache-2.0
#
# Programs that start fast, since nothing has to be loaded and bound, and as little as can be
# mapped: linked statically, and yet at another address each time (static-pie).
# docs/performance.md, "What `run` costs".
option(LOCKBYFILE_STATIC_COMMAND "Link the command statically, where the static libraries are" ON)

set(lockbyfile_static_options
  -static-pie
  -Wl,--gc-sections
  -Wl,-z,noseparate-code
  $<$<CXX_COMPILER_ID:Clang>:-Wno-unused-command-line-argument>)  # -pie, from the presets

if(LOCKBYFILE_STATIC_COMMAND AND NOT BUILD_SHARED_LIBS)
  include(CheckCXXSourceCompiles)
  set(CMAKE_REQUIRED_FLAGS -fPIE)
  set(CMAKE_REQUIRED_LINK_OPTIONS -static-pie)
  check_cxx_source_compiles("#include <thread>\nint main() { std::thread([] {}).join(); }"
    LOCKBYFILE_LINKS_STATICALLY)
  unset(CMAKE_REQUIRED_FLAGS)
  unset(CMAKE_REQUIRED_LINK_OPTIONS)
else()
  set(LOCKBYFILE_LINKS_STATICALLY OFF)
endif()

function(link_statically target)
  target_link_options(${target} PRIVATE ${lockbyfile_static_options})
  split_debug_information(${target})
endfunction()

# The debug information goes into a file of its own, where debuggers look for it. What is left
# is a new file, written in one go, which the kernel maps in larger pieces than the linker's.
function(split_debug_information target)
  if(CMAKE_OBJCOPY)
    set(program $<TARGET_FILE:${target}>)
    add_custom_command(TARGET ${target} POST_BUILD
      COMMAND ${CMAKE_OBJCOPY} --only-keep-debug ${program} ${program}.debug
      COMMAND ${CMAKE_OBJCOPY} --strip-debug --add-gnu-debuglink=${program}.debug ${program} ${program}.small
      COMMAND ${CMAKE_COMMAND} -E rename ${program}.small ${program}
      VERBATIM)
  endif()
endfunction()
