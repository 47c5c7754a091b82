// SPDX-License-Identifier: Apache-2.0
//
// Any text as a duration, and any duration as text.
//
//   - A text is refused with a message fit for a terminal, or is from zero to below `forever`.
//   - A duration printed in nanoseconds reads as the same duration. So does the text with a zero
//     before it, and plain seconds with their unit.
//   - The text for people is short and fit for a terminal, for every number.
#include "duration.hpp"

#include <chrono>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>

#include "printable.hpp"
#include "support.hpp"

namespace lockbyfile::fuzz {
namespace {

using std::chrono::nanoseconds;

std::optional<nanoseconds> parsed(std::string_view text) {
  try {
    return cli::parse_duration(text);
  } catch (const std::invalid_argument& error) {
    require(has_no_controls(error.what()), "a message is fit for a terminal", error.what());
    require(std::string_view(error.what()).find(cli::in_quotes(text)) != std::string_view::npos,
            "a message quotes the text", error.what());
    return {};
  }
}

void read(const std::string& text) {
  const auto duration = parsed(text);
  if (!duration) return;
  require(*duration >= nanoseconds(0) && *duration < nanoseconds::max(), "it is in range", text);
  require(parsed(std::to_string(duration->count()) + "ns") == duration, "it prints exactly", text);
  require(parsed("0" + text) == duration, "a leading zero changes nothing", text);
  const bool is_plain = text.find_first_not_of("0123456789.") == std::string::npos;
  if (is_plain) require(parsed(text + "s") == duration, "a plain number is in seconds", text);
}

void print(nanoseconds duration) {
  const std::string text = cli::duration_text(duration);
  require(!text.empty() && text.size() <= 16 && has_no_controls(text), "it is short", text);
}

}  // namespace
}  // namespace lockbyfile::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lockbyfile::fuzz;
  read(std::string(text_of(data, size)));
  std::int64_t number = 0;
  if (size >= sizeof number) {
    std::memcpy(&number, data, sizeof number);
    print(std::chrono::nanoseconds(number));
  }
  return 0;
}
