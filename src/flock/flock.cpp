// SPDX-License-Identifier: Apache-2.0
//
// FLock, the API of 2015, over a named_lock.
//
// TIMEOUT is the lease and PATIENCE the patience of a named_lock. The two functions that act
// (locking, LoopWhileLocked_ThenLocking) use that named_lock, which the first of those calls opens.
// The functions that only look use observe. So asking "isLocked" neither creates a lockfile nor
// takes a place among its sessions.
//
// TIMEOUT is a plain member, so setting it notifies nobody. The next call of any function compares
// it with the TIMEOUT of the grant, and renews the grant for the rest of the new one. If nothing is
// left, it renews for a nanosecond, so that the grant has timed out for all.
//
// loopWhileLocked is the one wait here that polls: every 10 ms it looks again. It takes nothing, so
// it has no place in the wait queue, and nothing wakes it. To get the lock use
// LoopWhileLocked_ThenLocking, which sleeps until its turn comes.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <lockbyfile/flock.hpp>
#include <lockbyfile/maintain.hpp>
#include <lockbyfile/named_lock.hpp>
#include <lockbyfile/observe.hpp>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "core/hidden.hpp"
#include "core/name.hpp"

namespace lockbyfile {
namespace {

using std::chrono::nanoseconds;
using seconds = std::chrono::duration<double>;

constexpr nanoseconds look_again_after = std::chrono::milliseconds(10);

/// Rounded up, so that a TIMEOUT above zero is a lease above zero. A TIMEOUT that no longer fits
/// into 64 bits of nanoseconds, 292 years, is forever.
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

/// Also none if there is no lockfile: nobody has locked yet.
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

bool ends_in_suffix(std::string_view last) {
  return last.size() > lockfile_suffix.size() && last.ends_with(lockfile_suffix);
}

std::string with_suffix(const std::string& name) {
  const std::string_view last = std::string_view(name).substr(name.rfind('/') + 1);
  if (last.empty() || last == "." || last == "..") return name;  // resolve refuses it
  return ends_in_suffix(last) ? name : name + std::string(lockfile_suffix);
}

std::string path_of(const std::string& name) {
  if (const std::string full = full_name(name, ""); full.find("://") != std::string::npos) {
    throw lock_error(errc::wrong_engine, "FLock is for locks in files, and this is none: " + full,
                     full);
  }
  if (name.find('/') != std::string::npos) return resolve(with_suffix(name), "");
  if (!ends_in_suffix(name)) return resolve(name, "");  // resolve appends it
  return resolve(name.substr(0, name.size() - lockfile_suffix.size()), "");
}

double since_1970() { return seconds(std::chrono::system_clock::now().time_since_epoch()).count(); }

}  // namespace

class LOCKBYFILE_HIDDEN FLock::impl {
 public:
  explicit impl(const std::string& name) : name_(name), path_(path_of(name)) {}

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& path() const { return path_; }

  bool acquire(double timeout, nanoseconds patience) {
    const nanoseconds lease = lease_of(timeout, path_);
    if (!lock_) lock_.emplace(path_);
    lock_->set_lease(lease);
    std::error_code ec;
    const std::optional<grant> granted = lock_->acquire(patience, {}, ec);
    if (granted) {
      told_ = timeout;
      granted_at_ = std::chrono::steady_clock::now();
      locked_ = since_1970();
      waiting_.reset();
      return true;
    }
    if (ec == errc::timed_out || ec == errc::would_deadlock) return false;
    throw lock_error(ec, "cannot lock " + path_, path_);
  }

  bool release(double timeout) {
    locked_.reset();
    if (!lock_ || !tell(timeout)) return false;
    std::error_code ec;
    lock_->release(ec);
    return !ec;
  }

  /// Puts a TIMEOUT that was changed since into the grant. False if that ends the grant.
  bool tell(double timeout) {
    if (!lock_ || !lock_->is_held() || timeout == told_) return true;
    const seconds left = seconds(timeout) - (std::chrono::steady_clock::now() - granted_at_);
    const bool is_over = !(left > seconds(0));  // NaN as well
    lock_->set_lease(is_over ? nanoseconds(1) : nanoseconds_of(left.count()));
    std::error_code ec;
    lock_->renew(ec);  // if it was lost meanwhile, the next look shows that
    told_ = timeout;
    return !is_over;
  }

  void start_waiting() {
    if (!waiting_) waiting_ = since_1970();
  }
  void start_waiting_anew() { waiting_ = since_1970(); }
  [[nodiscard]] std::optional<double> waiting() const { return waiting_; }
  [[nodiscard]] std::optional<double> locked() const { return locked_; }

 private:
  std::string name_;
  std::string path_;  // fixed here: a later chdir doesn't change what is locked
  std::optional<named_lock> lock_;
  double told_ = 0;  // the TIMEOUT that the lock has for our grant
  std::chrono::steady_clock::time_point granted_at_;
  std::optional<double> locked_;
  std::optional<double> waiting_;
};

FLock::FLock(const std::string& name) : impl_(std::make_unique<impl>(name)) {}
FLock::~FLock() = default;
FLock::FLock(FLock&&) noexcept = default;
FLock& FLock::operator=(FLock&&) noexcept = default;

bool FLock::LoopWhileLocked_ThenLocking() {
  impl_->start_waiting_anew();
  return impl_->acquire(TIMEOUT, patience_of(PATIENCE, filename()));
}

bool FLock::locking() {
  impl_->start_waiting();
  return impl_->acquire(TIMEOUT, nanoseconds(0));
}

bool FLock::unlocking() { return impl_->release(TIMEOUT); }

bool FLock::isLocked() const {
  impl_->tell(TIMEOUT);
  const std::optional<holder_info> holder = holder_of(filename());
  return holder && in_time(*holder);
}

bool FLock::loopWhileLocked() const {
  const nanoseconds patience = patience_of(PATIENCE, filename());
  const auto start = std::chrono::steady_clock::now();
  if (!isLocked()) return false;
  impl_->start_waiting();
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
  impl_->tell(TIMEOUT);
  const std::optional<holder_info> holder = holder_of(filename());
  return holder && !in_time(*holder);
}

bool FLock::existsAndNotTimedOut() const { return isLocked(); }

void FLock::removeIfTimedOut() {
  impl_->tell(TIMEOUT);
  const std::optional<holder_info> holder = holder_of(filename());
  if (!holder || in_time(*holder)) return;
  std::error_code ec;
  break_lock(filename(), holder->token, {}, ec);
  if (ec && ec != errc::not_found && ec != errc::token_mismatch)
    throw lock_error(ec, "cannot break " + filename(), filename());
}

bool FLock::breakLock() {
  std::error_code ec;
  break_lock(filename(), fencing_token(), {}, ec);
  if (ec == errc::not_found || ec == errc::token_mismatch) return false;
  if (ec) throw lock_error(ec, "cannot break " + filename(), filename());
  return true;
}

const std::string& FLock::filename() const { return impl_->path(); }

const std::string& FLock::name() const { return impl_->name(); }

std::string FLock::fn() const {
  const std::string short_form = with_suffix(name());
  std::error_code ec;
  const std::filesystem::path leads_to =
      std::filesystem::weakly_canonical(std::filesystem::absolute(short_form), ec);
  return !ec && leads_to == filename() ? short_form : filename();
}

void FLock::startWaiting() { impl_->start_waiting(); }

bool FLock::stillPatience() const {
  return since_1970() - impl_->waiting().value_or(since_1970()) < PATIENCE;
}

std::optional<double> FLock::lockingTime() const { return impl_->locked(); }

std::optional<double> FLock::startedWaitingTime() const { return impl_->waiting(); }

}  // namespace lockbyfile
