// SPDX-License-Identifier: Apache-2.0
#include "core/named_lock_impl.hpp"

#include <algorithm>
#include <memory>

namespace lockbyfile {

turns& named_lock::impl::shared() {
  turns* found = turns_.load();
  while (found == nullptr || found->process != process_epoch()) {  // a parent's stays untouched
    auto fresh = std::make_unique<turns>();
    if (turns_.compare_exchange_strong(found, fresh.get())) return *fresh.release();
  }
  return *found;
}

std::optional<grant> named_lock::impl::acquire(std::chrono::nanoseconds p,
                                               const std::stop_token& stop, refusal& how) {
  if (acquire_at_once()) {
    grant result;
    result.token = fencing_token(owned_.load(std::memory_order_relaxed));
    return result;
  }
  const thread_mark me = this_thread();
  const instant begun = now();
  const instant deadline = p <= std::chrono::nanoseconds(0) ? 0 : after(begun, p);
  std::error_code ec = errc::would_deadlock;
  std::optional<grant> result;
  const thread_mark before = owner();
  const bool holds = before == me && session->is_held();
  const bool asks = asking_.load(std::memory_order_relaxed) == asking_mark();  // a signal handler's
  if (!holds && !asks) {
    if (mine() == nullptr && (before == 0 || before == me)) {
      result = ask_session(nullptr, deadline, stop, ec, how);
      if (!result) wake_others();
    }
    // Another thread uses the object.
    if (ec == errc::would_deadlock) result = in_turn(deadline, stop, ec, how);
  }
  if (result) {
    if (how.in_process != 0) result->waited = between(begun, now());
    return result;
  }
  how.code = ec;
  if (deadline != 0) how.waited = between(begun, now());
  return std::nullopt;
}

/// Sets would_deadlock if another thread is acquiring, or holds the grant it got.
std::optional<grant> named_lock::impl::ask_session(turns* t, instant deadline,
                                                   const std::stop_token& stop, std::error_code& ec,
                                                   refusal& how) {
  const std::uint64_t mark = asking_mark();
  {
    const auto guard = t == nullptr ? std::unique_lock<std::mutex>() : std::unique_lock(t->use);
    std::uint64_t at_it = asking_.load();
    do {
      if (is_of_this_process(at_it)) {
        ec = errc::would_deadlock;
        return std::nullopt;
      }
    } while (!asking_.compare_exchange_weak(at_it, mark));
  }
  struct end {
    std::atomic<std::uint64_t>& asking;
    ~end() { asking.store(0); }
  } here{asking_};
  const bool was_owned = owner() != 0;
  const std::uint64_t owned = owned_.load(std::memory_order_relaxed);
  const thread_mark me = this_thread();
  const bool may_supersede = t != nullptr && was_owned && owner() != me && !session->is_held();
  const lost_cause cause = may_supersede ? session->why_lost().cause : lost_cause::none;
  auto result = session->acquire(deadline, stop, ec);
  if (result) {
    const thread_mark before = owner_.exchange(me);
    owned_.store(result->token.value(), std::memory_order_release);
    if (t != nullptr) t->supersede(me, was_owned ? before : 0, owned, cause);
  } else if (how.is_to_be_told) {
    how.seen = session->look_inside();  // while no other thread of ours may acquire
  }
  return result;
}

std::optional<grant> named_lock::impl::in_turn(instant deadline, const std::stop_token& stop,
                                               std::error_code& ec, refusal& how) {
  const bool is_new = mine() == nullptr;
  turns& t = shared();
  if (is_new && !session->is_held()) {  // (T3)
    const std::uint32_t nobody_wakes = 0;
    const auto until = to_timespec(now() + turns::grace);
    sys.futex_wait(&nobody_wakes, 0, &until);
  }
  turns::place place(t);
  for (;;) {
    const std::uint64_t seen = place.changes();
    ec = errc::timed_out;
    if (place.is_first() && !session->is_held()) {
      how.in_process = place.others();
      place.let_go();
      auto result = ask_session(&t, deadline, stop, ec, how);
      place.come_back();
      if (ec != errc::would_deadlock) return result;
      ec = errc::timed_out;
    }
    how.in_process = place.others();
    const instant looked = now();
    if (looked >= deadline) return std::nullopt;
    if (stop.stop_requested() || (gives_up_ && gives_up_())) {
      ec = errc::cancelled;
      return std::nullopt;
    }
    // At the end of its lease the grant is over, and nobody reports that (T2).
    const std::chrono::nanoseconds left = session->lease_remaining();
    const instant next = left > std::chrono::nanoseconds(0) ? after(looked, left) : never;
    place.sleep(seen, std::min({deadline, looked + turns::watch, next}), stop);
  }
}

/// Called by a thread that waits for the next grant; the last one is then over.
bool named_lock::impl::is_asked_by_another() const noexcept {
  const std::uint64_t mark = asking_.load();
  return is_of_this_process(mark) && mark != asking_mark() && !session->is_held();
}

void named_lock::impl::renew(std::error_code& ec, lost_cause& known) noexcept {
  const uncancelled us;
  const fencing_token of = owned();  // (O2)
  turns* const t = mine();
  if (t == nullptr) {
    session->renew(of, ec);
    return wake_others();
  }
  const thread_mark me = this_thread();
  const std::lock_guard guard(t->use);
  if ((owner() != me && t->is_superseded(me)) || is_asked_by_another()) {
    ec = owner() == 0 && !t->is_superseded(me) ? errc::not_holder : errc::lease_lost;
    known = t->cause_of(0, me);
  } else {
    session->renew(session->token(), ec);
  }
}

void named_lock::impl::renew_for(fencing_token token, std::error_code& ec) noexcept {
  turns* const t = mine();
  const std::lock_guard guard(t->use);
  if (session->token() != token) {
    ec = t->is_superseded_grant(token.value()) ? errc::lease_lost : errc::not_holder;
  } else if (is_of_this_process(asking_.load()) && !session->is_held()) {
    ec = is_asked_by_another() && owner() != 0 ? errc::lease_lost : errc::not_holder;
  } else {
    session->renew(token, ec);
  }
}

void named_lock::impl::release(std::error_code& ec, lost_cause& known) noexcept {
  const uncancelled us;
  const fencing_token of = owned();  // (O2)
  turns* const t = mine();
  if (t == nullptr) {
    owner_.store(0, std::memory_order_relaxed);
    session->release(of, ec);
    return wake_others();
  }
  {
    const thread_mark me = this_thread();
    const std::lock_guard guard(t->use);
    const thread_mark holder = owner();
    if (holder != me && t->is_superseded(me)) {  // (T3)
      known = t->cause_of(0, me);
      t->forget_superseded(me);
      ec = errc::lease_lost;
      return;
    }
    owner_.store(0, std::memory_order_relaxed);
    if (is_asked_by_another()) {  // the session is another thread's now, and the grant is over
      ec = holder == 0 ? errc::not_holder : errc::lease_lost;
    } else {
      session->release(session->token(), ec);
    }
  }
  t->have_changed();
}

}  // namespace lockbyfile
