// SPDX-License-Identifier: Apache-2.0
#include "file/initialise.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "linux/apart.hpp"
#include "linux/system_calls.hpp"

namespace lockbyfile::file {

namespace {

/// The part of the signature, in the file, that says whether the signature is complete.
std::atomic_ref<std::uint64_t> first_bytes(const header& h) noexcept {
  auto* p = const_cast<char*>(h.signature);
  return std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(p));
}

std::uint64_t first_bytes_of_signature() noexcept {
  std::uint64_t n;
  std::memcpy(&n, signature, sizeof n);
  return n;
}

bool begins_as_ours(int fd) noexcept {
  char start[sizeof signature];
  return sys.pread(fd, start, sizeof start, 0) == sizeof start &&
         std::memcmp(start, signature, signature_kind) == 0;
}

void write_clock(header& h, const clock_identity& clock) noexcept {
  h.time_namespace.store(clock.time_namespace, std::memory_order_relaxed);
  h.boot_id[1].store(clock.boot_id[1], std::memory_order_relaxed);
  h.boot_id[0].store(clock.boot_id[0], std::memory_order_release);
  h.clock_origin.store(clock.origin, std::memory_order_release);  // last, since there may be no id
}

void write_state(header& h, std::uint32_t capacity, word first) noexcept {
  h.format.store(format_version, std::memory_order_relaxed);
  h.flags.store(0, std::memory_order_relaxed);
  h.last_to_join.store(0, std::memory_order_relaxed);
  h.wanted.store(0, std::memory_order_relaxed);
  h.standing_by.store(0, std::memory_order_relaxed);
  h.moves.store(0, std::memory_order_relaxed);
  h.laziest.store(0, std::memory_order_relaxed);
  h.front.store(0, std::memory_order_relaxed);
  h.first_counter.store(first.counter(), std::memory_order_relaxed);
  h.deletion_told.store(0, std::memory_order_relaxed);
  h.slot_hint.store(0, std::memory_order_relaxed);
  h.capacity.store(capacity, std::memory_order_relaxed);
  h.word.store(first.bits());
}

}  // namespace

bool has_signature(const header& h) noexcept {
  if (first_bytes(h).load(std::memory_order_acquire) != first_bytes_of_signature()) return false;
  return std::memcmp(h.signature, signature, sizeof signature) == 0;
}

found file_at(const char* path) noexcept {
  const int fd = sys.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
  if (fd < 0) return errno == EACCES || errno == EPERM ? found::unreadable : found::other;
  const bool is_ours = begins_as_ours(fd);
  sys.close(fd);
  return is_ours ? found::lockfile : found::other;
}

namespace {

int likeness_of(void* path) {
  try {
    const int fd = sys.open(static_cast<const char*>(path),
                            O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0) return static_cast<int>(likeness::unknown);
    struct stat s {};
    // Asked again, since its creator may have finished in between.
    const bool is_ours =
        begins_as_ours(fd) ||
        (sys.fstat(fd, &s) == 0 && is_half_made(fd, static_cast<std::uint64_t>(s.st_size))) ||
        begins_as_ours(fd);
    sys.close(fd);
    return static_cast<int>(is_ours ? likeness::ours : likeness::foreign);
  } catch (...) {
    return static_cast<int>(likeness::unknown);
  }
}

}  // namespace

likeness look_from_afar(const char* path) noexcept {
  const int found = run_apart(likeness_of, const_cast<char*>(path));
  return found < 0 ? likeness::unknown : static_cast<likeness>(found);
}

bool is_half_made(int fd, std::uint64_t size) noexcept {
  if (size > sizeof(image)) return false;
  std::vector<char> bytes(size);
  for (std::size_t done = 0; done < size;) {
    const ssize_t n = sys.pread(fd, bytes.data() + done, size - done, static_cast<off_t>(done));
    if (n <= 0) return false;
    done += static_cast<std::size_t>(n);
  }
  if (size < sizeof signature && std::memcmp(bytes.data(), signature, size) == 0) return true;
  const auto zeros = [&](std::size_t from, std::size_t to) {
    to = std::min(to, bytes.size());
    return from >= to || std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(from),
                                     bytes.begin() + static_cast<std::ptrdiff_t>(to),
                                     [](char c) { return c == 0; });
  };
  bool begun = true;  // each byte of the signature is written, or not yet
  for (std::size_t i = 8; i < std::min(sizeof signature, bytes.size()); ++i) {
    begun = begun && (bytes[i] == 0 || bytes[i] == signature[i]);
  }
  return begun && zeros(0, 8) && zeros(offsetof(header, reserved_static), offsetof(header, word)) &&
         zeros(offsetof(header, broken_token), bytes.size());
}

clock_identity recorded_clock(const header& h) noexcept {
  const std::uint64_t origin = h.clock_origin.load(std::memory_order_acquire);
  return {
      {h.boot_id[0].load(std::memory_order_acquire), h.boot_id[1].load(std::memory_order_relaxed)},
      h.time_namespace.load(std::memory_order_relaxed),
      origin};
}

std::uint32_t capacity_in(std::uint64_t size) noexcept {
  if (size < sizeof(header)) return 0;
  const std::uint64_t fit = (size - sizeof(header)) / sizeof(slot);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(fit, slot_limit));
}

void initialise_blank(image& file, std::uint32_t capacity, const clock_identity& clock,
                      word first) noexcept {
  header& h = file.header;
  write_state(h, capacity, first);
  write_clock(h, clock);
  std::memcpy(h.signature + 8, signature + 8, sizeof signature - 8);
  first_bytes(h).store(first_bytes_of_signature(), std::memory_order_release);
}

void reinitialise(image& file, std::uint32_t capacity, const clock_identity& clock,
                  word first) noexcept {
  header& h = file.header;
  write_clock(h, {});
  for (std::uint32_t i = 0; i < capacity; ++i) {
    file.slots[i].ticket.store(0, std::memory_order_relaxed);
    file.slots[i].last_grant.store(0, std::memory_order_relaxed);
  }
  write_state(h, capacity, first);
  write_clock(h, clock);
}

}  // namespace lockbyfile::file
