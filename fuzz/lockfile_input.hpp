// SPDX-License-Identifier: Apache-2.0
//
// The format of an input of the lockfile target. Its first sixteen bytes are the script. The rest
// is written into the lockfile.
//
//   byte 0      bits 0 to 3  the step before which it is written
//               bits 4, 5    how it is written (writing)
//               bits 6, 7    whole files: zeros are added up to 4, 8 or 16 KiB
//   byte 1..15  a step each: bits 0 to 3 the operation (`deed`), bit 4 the session, bits 5 to 7 a
//               detail
//   the rest    a whole file, or patches: offset (2, low byte first), length (1), bytes
#pragma once

#include <cstddef>
#include <cstdint>

namespace lockbyfile::fuzz {

inline constexpr std::size_t script_size = 16;
inline constexpr std::size_t steps = script_size - 1;
inline constexpr std::size_t patch_head = 3;

enum class writing : std::uint8_t { patches, over_the_file, as_a_new_file, cut_and_patches };

enum class deed : std::uint8_t {
  nothing,
  open,
  close,
  try_to_acquire,
  acquire,
  renew,
  release,
  observe,
  break_it,
  remove,
  list,
  prune,
  let_time_pass,
  crowd,  // more sessions than a new file has slots
};

inline writing writing_of(std::uint8_t byte_0) { return static_cast<writing>(byte_0 >> 4 & 3); }
inline bool has_patches(std::uint8_t byte_0) {
  const writing how = writing_of(byte_0);
  return how == writing::patches || how == writing::cut_and_patches;
}

}  // namespace lockbyfile::fuzz
