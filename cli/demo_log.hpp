// SPDX-License-Identifier: Apache-2.0
//
// The output of the demos: lines with time and process, as the logger of 2015 wrote them.
//
//   [14:03:09.127] [pId=12345] (2.C1) USING THE BED for 6.0 seconds ...
//
// Each line is one write to standard output, so lines of several processes do not mix. Nothing is
// buffered, because a fork would print the buffer twice.
#pragma once

#include <sstream>
#include <string>

namespace lockbyfile::demo {

void write_line(const std::string& text);
[[nodiscard]] std::string time_and_process();

template <class... Parts>
std::string text_of(const Parts&... parts) {
  std::ostringstream text;
  text << std::boolalpha;
  (text << ... << parts);
  return text.str();
}

/// A line as it is.
template <class... Parts>
void print(const Parts&... parts) {
  write_line(text_of(parts...));
}

/// A line with time and process in front.
template <class... Parts>
void log(const Parts&... parts) {
  write_line(time_and_process() + text_of(parts...));
}

}  // namespace lockbyfile::demo
