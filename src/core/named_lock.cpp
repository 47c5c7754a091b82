// SPDX-License-Identifier: Apache-2.0
//
// named_lock: patience and the idioms of std over an engine's session.
#include <lockbyfile/named_lock.hpp>

#include "core/named_lock_impl.hpp"
#include "core/options.hpp"

namespace lockbyfile {

namespace {

/// The error_code overloads are the throwing ones, turned round.
template <class F>
auto caught(std::error_code& ec, F&& call) -> decltype(call()) {
  try {
    ec.clear();
    return call();
  } catch (const std::system_error& e) {
    ec = e.code();
    return {};
  }
}

}  // namespace

named_lock::named_lock(std::string_view name, const lock_options& options)
    : impl_(std::make_shared<impl>(open_session(name, options), options.patience)) {}

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
  std::error_code ec;
  auto result = impl_->acquire(patience, stop, ec);
  if (!result) throw lock_error(ec, "cannot acquire " + path(), path());
  return *std::move(result);
}

std::optional<grant> named_lock::acquire(std::chrono::nanoseconds patience, std::stop_token stop,
                                         std::error_code& ec) {
  std::error_code result_ec;
  auto result = caught(ec, [&] { return impl_->acquire(patience, stop, result_ec); });
  if (result_ec) ec = result_ec;
  return result;
}

void named_lock::renew() {
  std::error_code ec;
  impl_->renew(ec);
  if (ec) throw lock_error(ec, "cannot renew " + path(), path());
}

void named_lock::renew(std::error_code& ec) noexcept { impl_->renew(ec); }
void named_lock::release(std::error_code& ec) noexcept { impl_->release(ec); }

std::chrono::nanoseconds named_lock::lease_remaining() const noexcept {
  return impl_->session->lease_remaining();
}
std::chrono::nanoseconds named_lock::certain_for() const noexcept {
  return impl_->session->certain_for();
}
bool named_lock::is_held() const noexcept { return impl_->session->is_held(); }
fencing_token named_lock::token() const noexcept { return impl_->session->token(); }

void named_lock::note_run(std::chrono::nanoseconds duration, int exit_code) noexcept {
  impl_->session->note_run(duration, exit_code);
}

void named_lock::set_lease(std::chrono::nanoseconds lease) {
  check_lease(lease, path());
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
  std::error_code ec;
  const bool granted = impl_->acquire(patience, {}, ec).has_value();
  if (ec == errc::would_deadlock) throw lock_error(ec, "cannot acquire " + path(), path());
  return granted;
}

void named_lock::unlock() noexcept {
  if (impl_ == nullptr) return;  // moved from
  impl_->release_quietly();
}

}  // namespace lockbyfile
