// SPDX-License-Identifier: Apache-2.0
//
// FLock, the API of 2015, told in today's words.
//
// TIMEOUT is the lease and PATIENCE the patience of a named_lock. The two that
// act (locking, LoopWhileLocked_ThenLocking) go through that named_lock, opened at
// the first of them; those that only look go through observe, so that asking
// "isLocked" neither creates a lockfile nor takes a place among its sessions.
//
// loopWhileLocked is the one wait here that polls: every 10 ms it looks again. It
// takes nothing, so it has no place in the line, and there is nothing to be woken
// by. Whoever wants the lock uses LoopWhileLocked_ThenLocking, which sleeps until
// its turn comes.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <lockbyfile/flock.hpp>
#include <lockbyfile/maintain.hpp>
#include <lockbyfile/named_lock.hpp>
#include <lockbyfile/observe.hpp>
#include <optional>
#include <thread>
#include <utility>

#include "core/name.hpp"

namespace lockbyfile {
namespace {

using std::chrono::nanoseconds;
using seconds = std::chrono::duration<double>;

constexpr nanoseconds look_again_after = std::chrono::milliseconds(10);

/// Rounded up, so that a TIMEOUT above zero is a lease above zero. What no longer
/// fits into 64 bits of nanoseconds, 292 years, is for ever.
nanoseconds nanoseconds_of(double value) {
  if (seconds(value) >= seconds(nanoseconds::max())) return nanoseconds::max();
  return std::chrono::ceil<nanoseconds>(seconds(value));
}

nanoseconds lease_of(double timeout, const std::string& path) {
  if (!(timeout > 0))  // NaN as well
    throw lock_error(
        errc::invalid_option,
        "TIMEOUT of " + path + " is " + std::to_string(timeout) + ", not above zero seconds", path);
  return nanoseconds_of(timeout);
}

nanoseconds patience_of(double patience, const std::string& path) {
  if (std::isnan(patience))
    throw lock_error(errc::invalid_option, "PATIENCE of " + path + " is not a number", path);
  return patience > 0 ? nanoseconds_of(patience) : nanoseconds(0);
}

/// None also if there is no lockfile: nobody has locked yet.
std::optional<holder_info> holder_of(const std::string& path) {
  std::error_code ec;
  const std::optional<lock_state> state = observe(path, {}, ec);
  if (ec == errc::not_found) return std::nullopt;
  if (ec) throw lock_error(ec, "cannot look at " + path, path);
  return state->holder;
}

bool in_time(const holder_info& holder) {
  return holder.alive && holder.lease_left > nanoseconds(0);
}

}  // namespace

class FLock::impl {
 public:
  explicit impl(const std::string& name) : path_(resolve(name, "")) {}

  [[nodiscard]] const std::string& path() const { return path_; }

  bool acquire(nanoseconds lease, nanoseconds patience) {
    if (!lock_) lock_.emplace(path_);
    lock_->set_lease(lease);
    std::error_code ec;
    const std::optional<grant> granted = lock_->acquire(patience, {}, ec);
    if (granted) return true;
    if (ec == errc::timed_out || ec == errc::would_deadlock) return false;
    throw lock_error(ec, "cannot lock " + path_, path_);
  }

  bool release() {
    if (!lock_) return false;
    std::error_code ec;
    lock_->release(ec);
    return !ec;
  }

 private:
  std::string path_;  // fixed here: a later chdir doesn't change what is locked
  std::optional<named_lock> lock_;
};

FLock::FLock(const std::string& name) : impl_(std::make_unique<impl>(name)) {}
FLock::~FLock() = default;
FLock::FLock(FLock&&) noexcept = default;
FLock& FLock::operator=(FLock&&) noexcept = default;

bool FLock::LoopWhileLocked_ThenLocking() {
  return impl_->acquire(lease_of(TIMEOUT, filename()), patience_of(PATIENCE, filename()));
}

bool FLock::locking() { return impl_->acquire(lease_of(TIMEOUT, filename()), nanoseconds(0)); }

bool FLock::unlocking() { return impl_->release(); }

bool FLock::isLocked() const {
  const std::optional<holder_info> holder = holder_of(filename());
  return holder && in_time(*holder);
}

bool FLock::loopWhileLocked() const {
  const nanoseconds patience = patience_of(PATIENCE, filename());
  const auto start = std::chrono::steady_clock::now();
  if (!isLocked()) return false;
  do {
    const nanoseconds left = patience - (std::chrono::steady_clock::now() - start);
    if (left <= nanoseconds(0)) break;
    std::this_thread::sleep_for(std::min(left, look_again_after));
  } while (isLocked());
  return true;
}

bool FLock::exists() const { return holder_of(filename()).has_value(); }

double FLock::age() const {
  const std::optional<holder_info> holder = holder_of(filename());
  if (!holder) return -1;
  const seconds since_grant = std::chrono::system_clock::now() - holder->since;
  return std::max(since_grant.count(), 0.0);  // the wall clock may have been set back
}

bool FLock::timedOut() const {
  const std::optional<holder_info> holder = holder_of(filename());
  return holder && !in_time(*holder);
}

bool FLock::breakLock() {
  std::error_code ec;
  break_lock(filename(), fencing_token(), {}, ec);
  if (ec == errc::not_found || ec == errc::token_mismatch) return false;
  if (ec) throw lock_error(ec, "cannot break " + filename(), filename());
  return true;
}

const std::string& FLock::filename() const { return impl_->path(); }

}  // namespace lockbyfile
