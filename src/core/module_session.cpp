// SPDX-License-Identifier: Apache-2.0
#include "core/module_session.hpp"

#include "core/engines.hpp"

namespace lockbyfile {

module_session::module_session(std::string_view name, const lock_options& options)
    : name_(name),
      options_(options),
      inner_(etcd_engine(name).open(name, options)),
      path_(inner_->path()) {}

module_session::~module_session() {
  if (!is_ours()) (void)inner_.release();
}

std::optional<grant> module_session::acquire(instant deadline, const std::stop_token& stop,
                                             std::error_code& ec) {
  if (!is_ours()) {
    auto opened = etcd_engine(name_).open(name_, options_);
    (void)inner_.release();  // leaked: it is the parent's
    inner_ = std::move(opened);
    process_ = process_epoch();
  }
  return inner_->acquire(deadline, stop, ec);
}

void module_session::renew(fencing_token of, std::error_code& ec) {
  if (is_ours()) return inner_->renew(of, ec);
  ec = errc::not_holder;
}

void module_session::release(fencing_token of, std::error_code& ec) noexcept {
  if (is_ours()) return inner_->release(of, ec);
  ec = errc::not_holder;
}

void module_session::when_lost(std::function<void()> tell) {
  if (is_ours()) inner_->when_lost(std::move(tell));
}

void module_session::note_run(std::chrono::nanoseconds duration, int exit_code) noexcept {
  if (is_ours()) inner_->note_run(duration, exit_code);
}

session::loss module_session::why_lost() const { return is_ours() ? inner_->why_lost() : loss{}; }

session::surroundings module_session::look_around() const {
  surroundings found;
  if (!is_ours()) return found;
  const lock_state seen = etcd_engine(name_).glance(name_, options_);
  if (seen.holder) found.holder = seen.holder->who;
  found.waiters = seen.waiters.size();
  return found;
}

void module_session::set_lease(std::chrono::nanoseconds lease) noexcept {
  if (is_ours()) inner_->set_lease(lease);
  options_.lease = lease;
}

std::chrono::nanoseconds module_session::lease() const noexcept {
  return is_ours() ? inner_->lease() : options_.lease;
}

std::chrono::nanoseconds module_session::lease_remaining() const noexcept {
  return is_ours() ? inner_->lease_remaining() : std::chrono::nanoseconds(0);
}

std::chrono::nanoseconds module_session::certain_for() const noexcept {
  return is_ours() ? inner_->certain_for() : std::chrono::nanoseconds(0);
}

bool module_session::is_held() const noexcept { return is_ours() && inner_->is_held(); }

fencing_token module_session::token() const noexcept {
  return is_ours() ? inner_->token() : fencing_token();
}

}  // namespace lockbyfile
