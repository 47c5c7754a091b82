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
