// SPDX-License-Identifier: Apache-2.0
//
// Reads durations as people write them, and writes them as people like to read them.
//
//   duration = number                      plain seconds: 10, 1.5, .25
//            | part part*                  largest unit first: 1h30m, 1m2.5s
//   part     = number unit
//   number   = digits [ "." digits ] | "." digits
//   unit     = d | h | m | s | ms | us | ns
//
// Reading is exact: it counts decimal digits and uses no floating point. A value finer than a
// nanosecond is refused, not rounded.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace lockbyfile::cli {

/// The duration that `text` stands for: zero or more, up to 292 years. Throws
/// std::invalid_argument with a message about the fault in `text`.
[[nodiscard]] std::chrono::nanoseconds parse_duration(std::string_view text);

/// A duration in one or two units, short and rounded: "250 ms", "9.3 s",
/// "3 min 20 s", "4 d 2 h".
[[nodiscard]] std::string duration_text(std::chrono::nanoseconds duration);

}  // namespace lockbyfile::cli
