// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lockbyfile::cli {

/// The word of `known` that `typed` was meant to be, if it is plain: one or two letters are wrong,
/// missing, too many or swapped, or it is the only one that begins so. Empty if none is.
[[nodiscard]] std::string likely_word(std::string_view typed,
                                      const std::vector<std::string>& known);

}  // namespace lockbyfile::cli
