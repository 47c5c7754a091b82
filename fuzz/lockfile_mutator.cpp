// SPDX-License-Identifier: Apache-2.0
//
// Changes inputs of the lockfile target with knowledge of the format. It changes one field at a
// time, to numbers that tend to break things. libFuzzer's own changes to any bytes come besides.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <random>

#include "file/layout.hpp"
#include "lockfile_input.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed);

namespace lockbyfile::fuzz {
namespace {

using file::header;
using file::slot;

struct field {
  std::size_t offset;
  std::size_t size;
};

constexpr field of_header[] = {
    {offsetof(header, format), 4},
    {offsetof(header, flags), 4},
    {offsetof(header, boot_id), 8},
    {offsetof(header, time_namespace), 8},
    {offsetof(header, word), 8},
    {offsetof(header, word), 8},
    {offsetof(header, word), 2},
    {offsetof(header, last_to_join), 8},
    {offsetof(header, tickets), 8},
    {offsetof(header, opened_counter), 8},
    {offsetof(header, opened_at), 8},
    {offsetof(header, barge_until), 8},
    {offsetof(header, capacity), 4},
    {offsetof(header, slot_hint), 4},
    {offsetof(header, wanted), 8},
    {offsetof(header, moves), 8},
    {offsetof(header, standing_by), 8},
    {offsetof(header, usual_hold), 4},
    {offsetof(header, granted_on), 4},
    {offsetof(header, laziest), 8},
    {offsetof(header, front), 8},
    {offsetof(header, first_counter), 8},
    {offsetof(header, broken_token), 8},
    {offsetof(header, broken_at), 8},
    {offsetof(header, broken_by_pid), 4},
    {offsetof(header, broken_by_user), 4},
    {offsetof(header, broken_by_command), 8},
    {offsetof(header, broken_check), 8},
    {offsetof(header, run_token), 8},
    {offsetof(header, run_ended), 8},
    {offsetof(header, run_duration), 8},
    {offsetof(header, run_exit_code), 8},
    {offsetof(header, run_check), 8},
};
constexpr field of_slot[] = {
    {offsetof(slot, lease_deadline), 8}, {offsetof(slot, token), 8},
    {offsetof(slot, since), 8},          {offsetof(slot, lease), 8},
    {offsetof(slot, ticket), 8},         {offsetof(slot, waiting_since), 8},
    {offsetof(slot, next_look), 8},      {offsetof(slot, wake), 4},
    {offsetof(slot, session), 4},        {offsetof(slot, command), 8},
    {offsetof(slot, last_grant), 8},
};

std::uint64_t pick(std::mt19937& random, std::uint64_t end) { return random() % end; }

template <std::size_t Size>
field moved(const field (&fields)[Size], std::mt19937& random, std::size_t by) {
  const field f = fields[pick(random, Size)];
  return {f.offset + by, f.size};
}

field any_field(std::mt19937& random) {
  if (pick(random, 3) != 0) return moved(of_header, random, 0);
  const std::size_t s = pick(random, 4) != 0 ? pick(random, 3) : pick(random, 60);
  return moved(of_slot, random, sizeof(header) + s * sizeof(slot));
}

/// Instants and counters are those of virtual_system.hpp.
std::uint64_t nasty_number(std::mt19937& random) {
  constexpr std::uint64_t now = 1'000'000'000'000;
  constexpr std::uint64_t counter = 1'800'000'000'000'000;
  constexpr std::uint64_t top = ~std::uint64_t{0};
  constexpr std::uint64_t famous[] = {
      0,    1,       2,       23,      24,        25,        56,
      4000, 4001,    4095,    4096,    top,       top - 1,   top >> 1,
      now,  now * 2, now - 1, counter, top >> 12, top >> 31, (top >> 1) + 1};
  std::uint64_t n = famous[pick(random, std::size(famous))] + pick(random, 3) - 1;
  if (pick(random, 3) == 0) n = n << 12 | famous[pick(random, std::size(famous))] % 4096;  // a word
  if (pick(random, 8) == 0) n = (counter + pick(random, 9000) * 1000) << 12 | pick(random, 4);
  return n;
}

/// Appends a patch of one field, or sets the field in a whole file.
std::size_t set_field(std::uint8_t* data, std::size_t size, std::size_t max_size,
                      std::mt19937& random) {
  const field f = any_field(random);
  const std::uint64_t number = nasty_number(random);
  if (has_patches(data[0])) {
    if (size + patch_head + f.size > max_size) return size;
    data[size++] = static_cast<std::uint8_t>(f.offset);
    data[size++] = static_cast<std::uint8_t>(f.offset >> 8);
    data[size++] = static_cast<std::uint8_t>(f.size);
    std::memcpy(data + size, &number, f.size);
    return size + f.size;
  }
  const std::size_t end = script_size + f.offset + f.size;
  if (end > max_size) return size;
  if (size < end) std::memset(data + size, 0, end - size);
  std::memcpy(data + script_size + f.offset, &number, f.size);
  return std::max(size, end);
}

}  // namespace
}  // namespace lockbyfile::fuzz

std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                    unsigned seed) {
  using namespace lockbyfile::fuzz;
  std::mt19937 random(seed);
  if (size < script_size) {
    std::memset(data + size, 0, script_size - size);
    return script_size;
  }
  const std::size_t rest = size - script_size;
  switch (pick(random, 4)) {
    case 0: return set_field(data, size, max_size, random);
    case 1: data[pick(random, script_size)] = static_cast<std::uint8_t>(random()); return size;
    case 2: LLVMFuzzerMutate(data, script_size, script_size); return size;
    default:
      return script_size + LLVMFuzzerMutate(data + script_size, rest, max_size - script_size);
  }
}
