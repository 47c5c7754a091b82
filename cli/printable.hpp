// SPDX-License-Identifier: Apache-2.0
//
// Text from elsewhere (names, commands, paths), made fit for a terminal.
//
// Another process wrote the text in a lockfile, so an escape sequence in it must not reach the
// terminal. Control characters (also U+0080 to U+009F) and bytes that are no UTF-8 become \xNN. A
// backslash stays as it is.
#pragma once

#include <string>
#include <string_view>

namespace lockbyfile::cli {

[[nodiscard]] std::string printable(std::string_view text);

[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

/// `text`, made printable, in single quotes.
[[nodiscard]] std::string in_quotes(std::string_view text);

}  // namespace lockbyfile::cli
