// SPDX-License-Identifier: Apache-2.0
#include "history.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace lockbyfile::torture {

namespace {

constexpr std::uint32_t begun = 1;
constexpr std::uint32_t finished = 2;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::system_category(), what);
}

int memory_of(std::size_t bytes) {
  const int fd = ::memfd_create("history", 0);  // survives exec
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) fail("history");
  return fd;
}

constexpr const char* kind_names[deed_kinds] = {
    "acquire",  "ask",      "renew",    "release", "keep",  "end",  "kill",   "gone",   "stop",
    "breaking", "removing", "mischief", "wrong",   "stall", "fork", "change", "outage", "revoking"};
constexpr const char* how_names[] = {"free", "expired", "abandoned", "broken"};

/// Microseconds since `from`, or - if there is none.
std::string offset(instant t, instant from) {
  if (t == 0 || t == never) return "-";
  return std::to_string((static_cast<double>(t) - static_cast<double>(from)) / 1e3);
}

}  // namespace

instant now() noexcept {
  struct timespec t {};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<instant>(t.tv_sec) * 1'000'000'000 + static_cast<instant>(t.tv_nsec);
}

history::history(int fd, std::size_t bytes) : fd_(fd), bytes_(bytes) {
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (p == MAP_FAILED) fail("map the history");
  shared_ = static_cast<shared_part*>(p);
}

history::history(std::size_t capacity)
    : history(memory_of(sizeof(shared_part) + capacity * sizeof(entry)),
              sizeof(shared_part) + capacity * sizeof(entry)) {
  shared_->capacity = capacity;
}

history history::inherited(int fd) {
  struct stat s {};
  if (::fstat(fd, &s) != 0) fail("the history");
  return {fd, static_cast<std::size_t>(s.st_size)};
}

history::~history() {
  ::munmap(shared_, bytes_);
  ::close(fd_);
}

history::open_deed history::begin(deed d) {
  const std::uint64_t i = shared_->used.fetch_add(1);
  if (i >= shared_->capacity) throw std::length_error("the history is full");
  entry& e = shared_->entries[i];
  open_deed opened;
  opened.deed_ = &e.what;
  opened.state_ = &e.state;
  if (d.begin == 0) d.begin = now();
  e.what = d;
  e.state.store(begun, std::memory_order_release);
  return opened;
}

void history::open_deed::finish(outcome result) {
  if (result.end == 0) result.end = now();
  deed_->result = result;
  state_->store(finished, std::memory_order_release);
}

bool history::is_nearly_full() const {
  return shared_->used.load() > shared_->capacity - shared_->capacity / 8;
}

std::vector<deed> history::take() {
  std::vector<deed> all;
  const std::uint64_t n = std::min<std::uint64_t>(shared_->used.load(), shared_->capacity);
  all.reserve(n);
  for (std::uint64_t i = 0; i < n; ++i) {
    entry& e = shared_->entries[i];
    const std::uint32_t state = e.state.exchange(0, std::memory_order_acquire);
    if (state == 0) continue;
    all.push_back(e.what);
    if (state == begun) all.back().result = {};
  }
  shared_->used.store(0);
  return all;
}

std::string described(const deed& d) {
  const outcome& r = d.result;
  const auto most = std::chrono::nanoseconds::max();
  std::string line = std::to_string(d.begin) + " name " + std::to_string(d.name) + " process " +
                     std::to_string(d.process) + " session " + std::to_string(d.session) + ' ' +
                     kind_names[static_cast<std::size_t>(d.kind)] + " detail " +
                     std::to_string(d.detail);
  if (d.token != 0) line += " token " + std::to_string(d.token);
  if (d.kind == deed_kind::change)
    line += " read " + std::to_string(d.read) + " written " + std::to_string(d.written);
  if (d.lease.count() != 0 && d.lease != most)
    line += " lease " + std::to_string(static_cast<double>(d.lease.count()) / 1e3);
  if (d.patience.count() != 0 && d.patience != most)
    line += " patience " + std::to_string(static_cast<double>(d.patience.count()) / 1e3);
  line += " | " + offset(r.end, d.begin) + " error " + std::to_string(r.error);
  if (r.token != 0)
    line += " token " + std::to_string(r.token) + ' ' + how_names[static_cast<std::size_t>(r.how)];
  if (r.taken != 0) line += " taken " + offset(r.taken, d.begin);
  line += " from " + offset(r.from, d.begin) + " to " + offset(r.to, d.begin) + " delay " +
          std::to_string(static_cast<double>(r.delay) / 1e3);
  return line;
}

}  // namespace lockbyfile::torture
