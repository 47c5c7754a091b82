// SPDX-License-Identifier: Apache-2.0
//
// The first state of a lockfile. The callers are alone with the file. Either it has no name yet, or
// they hold its maintenance lock and all lifelines (lockfile.hpp).
#pragma once

#include <cstdint>

#include "file/layout.hpp"
#include "linux/clock_identity.hpp"

namespace lockbyfile::file {

[[nodiscard]] bool has_signature(const header& h) noexcept;

enum class found { lockfile, other, unreadable };

/// The kind of the file at `path` by its first bytes, in any format. A symbolic link, and anything
/// that is not a regular file, is `other`.
[[nodiscard]] found file_at(const char* path) noexcept;

enum class likeness { ours, foreign, unknown };

/// Whether the file at `path` is a lockfile of any format, or will be one (empty, or half made).
/// The look leaves no descriptor of the file in this process (linux/apart.hpp). Unknown if there is
/// no file, it may not be read, or no child can be made.
[[nodiscard]] likeness look_from_afar(const char* path) noexcept;

/// Whether a file without our signature is one of ours nevertheless. Either it consists of zeros,
/// except what initialise_blank writes before the signature. Or it was cut off within the
/// signature.
[[nodiscard]] bool is_half_made(int fd, std::uint64_t size) noexcept;

[[nodiscard]] clock_identity recorded_clock(const header& h) noexcept;

/// Slots that fit into a file of `size` bytes.
[[nodiscard]] std::uint32_t capacity_in(std::uint64_t size) noexcept;

/// Turns zeros into a lockfile in the state `first`. The signature comes last.
void initialise_blank(image& file, std::uint32_t capacity, const clock_identity& clock,
                      word first) noexcept;

/// Clears a lockfile of all sessions and grants. The clock comes last.
void reinitialise(image& file, std::uint32_t capacity, const clock_identity& clock,
                  word first) noexcept;

}  // namespace lockbyfile::file
