// SPDX-License-Identifier: Apache-2.0
//
// named_lock: adds patience and the idioms of std to an engine's session.
#include <lockbyfile/named_lock.hpp>

#include "core/failures.hpp"
#include "core/named_lock_impl.hpp"
#include "core/options.hpp"

namespace lockbyfile {

namespace {

[[noreturn]] void fail(failure why) {
  remember(why);
  throw lock_error(std::move(why));
}

}  // namespace

named_lock::named_lock(std::string_view name, const lock_options& options)
    : impl_(told([&] { return std::make_shared<impl>(open_session(name, options), options); })) {}

std::optional<named_lock> named_lock::open(std::string_view name, const lock_options& options,
                                           std::error_code& ec) {
  return caught(ec, [&] { return std::optional<named_lock>(named_lock(name, options)); });
}

named_lock::~named_lock() { unlock(); }
named_lock::named_lock(named_lock&&) noexcept = default;

named_lock& named_lock::operator=(named_lock&& other) noexcept {
  if (this != &other) {
    unlock();
    impl_ = std::move(other.impl_);
  }
  return *this;
}

grant named_lock::acquire() { return acquire(impl_->patience); }

grant named_lock::acquire(std::chrono::nanoseconds patience, std::stop_token stop) {
  refusal how;
  auto result = told([&] { return impl_->acquire(patience, stop, how); });
  if (!result) fail(failure_of(*impl_->session, how));
  return *std::move(result);
}

std::optional<grant> named_lock::acquire(std::chrono::nanoseconds patience, std::stop_token stop,
                                         std::error_code& ec) {
  refusal how;
  auto result = caught(ec, [&] { return impl_->acquire(patience, stop, how); });
  if (how.code) {
    ec = how.code;
    remember(failure_of(*impl_->session, how));
  }
  return result;
}

void named_lock::renew() {
  std::error_code ec;
  lost_cause known{};
  impl_->renew(ec, known);
  if (ec) fail(failure_of(*impl_->session, ec, "cannot renew", known));
}

void named_lock::renew(std::error_code& ec) noexcept {
  lost_cause known{};
  impl_->renew(ec, known);
  if (ec) remember(failure_of(*impl_->session, ec, "cannot renew", known));
}

void named_lock::release(std::error_code& ec) noexcept {
  lost_cause known{};
  impl_->release(ec, known);
  if (ec) remember(failure_of(*impl_->session, ec, "cannot release", known));
}

std::chrono::nanoseconds named_lock::lease_remaining() const noexcept {
  return impl_->session->lease_remaining();
}
std::chrono::nanoseconds named_lock::certain_for() const noexcept {
  return impl_->session->certain_for();
}
bool named_lock::is_held() const noexcept { return impl_->session->is_held(); }
bool named_lock::owns_lock() const noexcept { return is_held(); }
fencing_token named_lock::token() const noexcept { return impl_->session->token(); }

void named_lock::note_run(std::chrono::nanoseconds duration, int exit_code) noexcept {
  impl_->session->note_run(duration, exit_code);
}

void named_lock::set_lease(std::chrono::nanoseconds lease) {
  told([&] { check_lease(lease, path()); });
  impl_->session->set_lease(lease);
}
std::chrono::nanoseconds named_lock::lease() const noexcept { return impl_->session->lease(); }
const std::string& named_lock::path() const noexcept { return impl_->session->path(); }
int named_lock::native_handle() const noexcept { return impl_->session->lifeline(); }

void named_lock::lock() {
  if (!impl_->acquire_at_once()) wait_for_lock();
}
[[gnu::noinline]] void named_lock::wait_for_lock() { (void)acquire(); }
bool named_lock::try_lock() { return try_for(std::chrono::nanoseconds(0)); }

bool named_lock::try_for(std::chrono::nanoseconds patience) {
  if (impl_->acquire_at_once()) return true;
  refusal how{.is_to_be_told = false};
  const bool granted = told([&] { return impl_->acquire(patience, {}, how).has_value(); });
  if (how.code == errc::would_deadlock) fail(failure_of(*impl_->session, how));
  return granted;
}

void named_lock::unlock() noexcept {
  if (impl_ == nullptr) return;  // moved from
  impl_->release_quietly();
}

}  // namespace lockbyfile
