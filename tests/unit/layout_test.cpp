// SPDX-License-Identifier: Apache-2.0
//
// The file format as it is documented, which no version may change under its number.
#include "file/layout.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <lockbyfile/lockbyfile.hpp>
#include <map>
#include <regex>
#include <sstream>
#include <string>

#include "file/lifeline.hpp"
#include "linux/clock_identity.hpp"
#include "support/lock_test.hpp"

namespace lockbyfile::file {
namespace {

struct place {
  std::size_t offset;
  std::size_t bytes;
  friend bool operator==(place, place) = default;
  friend std::ostream& operator<<(std::ostream& out, place p) {
    return out << p.bytes << " bytes at " << p.offset;
  }
};
using places = std::map<std::string, place>;

// A macro, since offsetof is one.
#define FIELD(type, name)                               \
  {                                                     \
#name, { offsetof(type, name), sizeof(type::name) } \
  }

places header_fields() {
  return {FIELD(header, signature),      FIELD(header, format),
          FIELD(header, flags),          FIELD(header, boot_id),
          FIELD(header, time_namespace), FIELD(header, clock_origin),
          FIELD(header, home),           FIELD(header, word),
          FIELD(header, last_to_join),   FIELD(header, wanted),
          FIELD(header, standing_by),    FIELD(header, usual_hold),
          FIELD(header, granted_on),     FIELD(header, tickets),
          FIELD(header, opened_counter), FIELD(header, opened_at),
          FIELD(header, barge_until),    FIELD(header, capacity),
          FIELD(header, slot_hint),      FIELD(header, moves),
          FIELD(header, laziest),        FIELD(header, front),
          FIELD(header, first_counter),  FIELD(header, broken_token),
          FIELD(header, broken_at),      FIELD(header, broken_by_pid),
          FIELD(header, broken_by_user), FIELD(header, broken_by_command),
          FIELD(header, broken_check),   FIELD(header, run_token),
          FIELD(header, run_ended),      FIELD(header, run_duration),
          FIELD(header, run_exit_code),  FIELD(header, run_check),
          FIELD(header, deletion_told)};
}

places slot_fields() {
  return {FIELD(slot, lease_deadline), FIELD(slot, token),
          FIELD(slot, since),          FIELD(slot, lease),
          FIELD(slot, ticket),         FIELD(slot, waiting_since),
          FIELD(slot, next_look),      FIELD(slot, wake),
          FIELD(slot, session),        FIELD(slot, pid),
          FIELD(slot, user),           FIELD(slot, last_grant),
          FIELD(slot, command)};
}
#undef FIELD

/// The rows "| offset | bytes | field | meaning |" of a section of docs/file-format.md.
places documented(const std::string& section) {
  const auto page = std::filesystem::path(__FILE__).parent_path() / "../../docs/file-format.md";
  std::ifstream in(page);
  places found;
  bool inside = false;
  static const std::regex row(R"(\| *(\d+) *\| *([0-9× ]+?) *\| *\**(\w+)\** *\|.*)");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("## ")) inside = line.find(section) != std::string::npos;
    std::smatch m;
    if (!inside || !std::regex_match(line, m, row)) continue;
    std::size_t bytes = 1;
    static const std::regex number(R"(\d+)");
    const std::string factors = m[2];
    for (std::sregex_iterator i(factors.begin(), factors.end(), number), end; i != end; ++i)
      bytes *= std::stoul(i->str());
    found[m[3]] = {std::stoul(m[1]), bytes};
  }
  return found;
}

TEST(Layout, OffsetsAreThoseOfTheDocumentation) {
  if (!std::filesystem::exists(std::filesystem::path(__FILE__).parent_path() / "../../docs")) {
    GTEST_SKIP() << "the documentation is not where the sources were built";
  }
  EXPECT_EQ(documented("Header"), header_fields());
  EXPECT_EQ(documented("Slot"), slot_fields());
}

TEST(Layout, OffsetsAreThoseOfFormat1) {
  static_assert(format_version == 1, "then this test is of another format");
  EXPECT_EQ(header_fields(), (places{{"signature", {0, 64}},       {"format", {64, 4}},
                                     {"flags", {68, 4}},           {"boot_id", {72, 16}},
                                     {"time_namespace", {88, 8}},  {"clock_origin", {96, 8}},
                                     {"home", {120, 8}},           {"word", {128, 8}},
                                     {"last_to_join", {136, 8}},   {"wanted", {144, 8}},
                                     {"standing_by", {152, 8}},    {"usual_hold", {160, 4}},
                                     {"granted_on", {164, 4}},     {"tickets", {192, 8}},
                                     {"opened_counter", {200, 8}}, {"opened_at", {208, 8}},
                                     {"barge_until", {216, 8}},    {"capacity", {224, 4}},
                                     {"slot_hint", {228, 4}},      {"moves", {232, 8}},
                                     {"laziest", {240, 8}},        {"front", {248, 8}},
                                     {"first_counter", {256, 8}},  {"broken_token", {264, 8}},
                                     {"broken_at", {272, 8}},      {"broken_by_pid", {280, 4}},
                                     {"broken_by_user", {284, 4}}, {"broken_by_command", {288, 48}},
                                     {"broken_check", {336, 8}},   {"run_token", {344, 8}},
                                     {"run_ended", {352, 8}},      {"run_duration", {360, 8}},
                                     {"run_exit_code", {368, 8}},  {"run_check", {376, 8}},
                                     {"deletion_told", {384, 8}}}));
  EXPECT_EQ(slot_fields(), (places{{"lease_deadline", {0, 8}},
                                   {"token", {8, 8}},
                                   {"since", {16, 8}},
                                   {"lease", {24, 8}},
                                   {"ticket", {32, 8}},
                                   {"waiting_since", {40, 8}},
                                   {"next_look", {48, 8}},
                                   {"wake", {56, 4}},
                                   {"session", {60, 4}},
                                   {"pid", {64, 4}},
                                   {"user", {68, 4}},
                                   {"last_grant", {72, 8}},
                                   {"command", {80, 48}}}));
  EXPECT_EQ(offsetof(image, slots), 1024U);
  EXPECT_EQ(sizeof(slot), 128U);
  EXPECT_EQ(slot_limit, 4000U);
}

TEST(Layout, LifelinesAreWhereOtherVersionsLookForThem) {
  EXPECT_EQ(lifelines, 1 << 30);
  EXPECT_EQ(maintenance_byte.start, (1 << 30) - 1);
  EXPECT_EQ(maintenance_byte.length, 1);
  EXPECT_EQ(lifeline_of(7).start, (1 << 30) + 7);
  EXPECT_EQ(all_lifelines.length, slot_limit);
  EXPECT_GT(static_cast<std::size_t>(maintenance_byte.start), map_size) << "past the data";
}

using LayoutOfAFile = LockTest;

/// What the format says, read without any of our own code.
TEST_F(LayoutOfAFile, IsThatOfTheDocumentation) {
  named_lock lock(name(), {.lease = std::chrono::seconds(5), .description = "somebody"});
  lock.lock();
  std::ifstream in(name(), std::ios::binary);
  std::stringstream content;
  content << in.rdbuf();
  const std::string bytes = content.str();
  ASSERT_EQ(bytes.size(), 4096U);
  const auto u64 = [&](std::size_t at) {
    std::uint64_t n = 0;
    std::memcpy(&n, bytes.data() + at, sizeof n);
    return n;
  };
  const auto u32 = [&](std::size_t at) { return static_cast<std::uint32_t>(u64(at)); };

  std::string signature = "lockbyfile lockfile, format 1. See lockbyfile --help\n";
  signature.resize(64);
  EXPECT_EQ(bytes.substr(0, 64), signature);
  EXPECT_EQ(u32(64), 1U) << "format";
  EXPECT_EQ(u32(68), 0U) << "flags";
  const clock_identity clock = this_clock();
  EXPECT_EQ(u64(72), clock.boot_id[0]);
  EXPECT_EQ(u64(80), clock.boot_id[1]);
  EXPECT_EQ(u64(88), clock.time_namespace);
  EXPECT_EQ(u32(224), 24U) << "capacity";

  const std::uint64_t word = u64(128);
  const std::uint64_t holder = word & 4095;
  EXPECT_EQ(word >> 12, lock.token().value());
  ASSERT_GE(holder, 1U);
  ASSERT_LE(holder, 24U);
  const std::size_t slot = 1024 + 128 * (holder - 1);
  EXPECT_EQ(u64(slot + 8), lock.token().value());
  EXPECT_EQ(u64(slot + 24), 5'000'000'000U) << "lease";
  EXPECT_EQ(u64(slot), u64(slot + 16) + 5'000'000'000) << "the deadline is since + lease";
  EXPECT_EQ(u64(slot + 32), 0U) << "ticket";
  EXPECT_EQ(u32(slot + 64), static_cast<std::uint32_t>(::getpid()));
  EXPECT_EQ(u32(slot + 68), ::geteuid());
  EXPECT_STREQ(bytes.c_str() + slot + 80, "somebody");

  EXPECT_EQ(u64(slot + 72), lock.token().value()) << "the last grant, which was free";
}

}  // namespace
}  // namespace lockbyfile::file
