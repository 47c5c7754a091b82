// SPDX-License-Identifier: Apache-2.0
//
// Text in columns of a terminal. A character takes no column (combining marks), one, or two (East
// Asian wide characters, emoji). Its number of bytes does not matter.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lockbyfile::cli {

/// How many columns `text`, which is printable UTF-8, takes.
[[nodiscard]] std::size_t columns_of(std::string_view text) noexcept;

/// `text` with blanks up to `columns`.
[[nodiscard]] std::string padded(std::string text, std::size_t columns);

}  // namespace lockbyfile::cli
