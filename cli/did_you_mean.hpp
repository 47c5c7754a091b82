// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lockbyfile::cli {

/// The word of `known` that `typed` was probably meant to be. One or two letters of it are wrong,
/// missing, too many or swapped, or it is the only word that begins with `typed`. Empty if there
/// is no such word.
[[nodiscard]] std::string likely_word(std::string_view typed,
                                      const std::vector<std::string>& known);

}  // namespace lockbyfile::cli
