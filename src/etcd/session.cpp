// SPDX-License-Identifier: Apache-2.0
#include "etcd/session.hpp"

#include <algorithm>
#include <random>
#include <utility>

#include "etcd/errors.hpp"

namespace lockbyfile::etcd {

namespace {

/// Repeats the call until it is answered or `limit` is reached: servers may be back soon.
template <class Call>
grpc::Status repeated(instant limit, Call&& call) {
  for (;;) {
    grpc::Status status = call();
    if (!is_transient(status) || now() + between_tries >= limit) return status;
    rest_between_tries();
  }
}

}  // namespace

instant some_of(instant pause) {
  thread_local std::minstd_rand random{std::random_device{}()};
  return pause / 2 + std::uniform_int_distribution<instant>(0, pause)(random);
}

etcd_session::etcd_session(const address& where, const lock_options& options)
    : where_(where),
      path_(where.text()),
      description_(options.description),
      gives_up_(options.gives_up),
      client_(where_, options.etcd),
      line_(client_, lock_keys(where_.name, where_.raw)),
      asked_lease_(options.lease) {
  // Not longer than the user's patience, but long enough for an answer.
  const instant patience = after(0, std::max(options.patience, std::chrono::nanoseconds(0)));
  open(now() + std::clamp(patience, seconds(1), silence_at_start()));
}

/// One of several members may have died just now, while the others elect a leader: that takes a
/// second or two. One server may be busy. If it is not there, that is reported at once.
void etcd_session::open(instant deadline) {
  std::optional<lock_error> telling;  // of a member that was there: it says more than a dead one's
  for (;;) {
    try {
      (void)lease_for(asked_lease_, deadline);
      return;
    } catch (const lock_error& e) {
      if (!is_nobody_there(e)) telling = e;
      const bool may_pass =
          e.code() == errc::unreachable && (where_.endpoints.size() > 1 || !is_nobody_there(e));
      if (!may_pass || now() + between_tries >= deadline) throw telling.value_or(e);
    }
    rest_between_tries();
  }
}

instant etcd_session::silence_at_start() const {
  return std::max(telling_silence_at_start, seconds(where_.ttl));
}

etcd_session::~etcd_session() {
  const uncancelled us;
  std::error_code ignored;
  const instant begun = now();
  release(token(), ignored);
  const instant limit = leaving_since_ == 0
                            ? begun + to_end
                            : std::max(leaving_since_ + to_end, now() + to_end_after_release);
  {
    const std::lock_guard guard(mutex_);
    is_ending_ = true;
    keeper_wakes_.notify_all();
  }
  if (keeper_.joinable()) keeper_.join();
  grant_watch_.reset();
  ended_watches_.clear();
  if (lease_.id != 0) revocations_.push_back({lease_.id});
  revoke_now(limit);
}

/// There may be no keeper and no process later: a lease that is left keeps its place for a TTL.
void etcd_session::revoke_now(instant limit) {
  for (;;) {
    std::int64_t lease = 0;
    {
      const std::lock_guard guard(mutex_);
      if (revocations_.empty()) return;
      lease = revocations_.front().lease;
    }
    const instant begun = now();
    if (begun >= limit) return;
    const grpc::Status status = client_.revoke(lease, std::min(limit, begun + seconds(1)));
    if (status.ok() || !is_transient(status)) {
      const std::lock_guard guard(mutex_);
      std::erase_if(revocations_, [lease](const revocation& r) { return r.lease == lease; });
    } else {
      rest_between_tries();
    }
  }
}

void etcd_session::renew(fencing_token of, std::error_code& ec) {
  ec.clear();
  const std::lock_guard turn(turn_);
  std::unique_lock guard(mutex_);
  if (grant_.created == 0) {
    ec = errc::not_holder;
    return;
  }
  if (grant_.is_lost || token_ != of.value()) {
    ec = errc::lease_lost;
    return;
  }
  const instant sent = now();
  const std::chrono::nanoseconds lease = asked_lease_;
  const std::int64_t lease_ns = lease == no_lease ? 0 : lease.count();
  const bool is_in_time = sent < lease_.good_until;
  if (lease_ns == 0 && grant_.what.lease_ns == 0 && is_in_time) return;  // the keeper keeps it
  holding h = grant_;
  const std::int64_t id = lease_.id;
  h.what.lease_ns = lease_ns;
  h.what.is_expired = false;
  h.what.token = token_;
  // The user must learn that the grant is over when it is over.
  const instant limit =
      is_in_time ? std::min(sent + seconds(2), lease_.good_until) : sent + seconds(2);
  guard.unlock();

  grpc::Status status;
  if (!is_in_time) {
    std::int64_t ttl = 0;
    status = repeated(limit, [&] { return client_.keep_alive(h.lease, ttl, limit); });
    if (status.ok() && ttl <= 0) lose(h.created);  // it could not be kept alive
    if (status.ok() && ttl > 0) {
      const std::lock_guard again(mutex_);
      if (lease_.id == id) lease_.heard(sent, ttl);
    }
  }
  bool done = false;
  if (status.ok()) {
    status = repeated(limit, [&] { return line_.renew(h.lease, h.created, h.what, done, limit); });
  }
  guard.lock();
  if (!status.ok() && !is_lease_not_found(status)) {
    ec = error_of(status, "cannot renew", where_).code();
  } else if (!done || grant_.is_lost) {
    have_lost();
    ec = errc::lease_lost;
  } else {
    grant_.what = h.what;
    grant_.deadline = after(sent, lease);
    grant_.is_expiring = false;
    wake_keeper_for(grant_.deadline);
  }
}

void etcd_session::release(fencing_token of, std::error_code& ec) noexcept {
  ec.clear();
  try {
    end_grant(of, ec);
  } catch (const std::system_error& e) {
    ec = e.code();
  } catch (...) {
    ec = std::make_error_code(std::errc::not_enough_memory);
  }
}

/// Under mutex_.
etcd_session::holding etcd_session::forget_grant() {
  leave_to_keeper(std::move(grant_watch_));
  watched_ = 0;
  is_watch_broken_ = false;
  return std::exchange(grant_, {});
}

void etcd_session::end_grant(fencing_token of, std::error_code& ec) {
  const std::lock_guard turn(turn_);
  std::unique_lock guard(mutex_);
  if (grant_.created == 0) {
    ec = errc::not_holder;
    return;
  }
  if (token_ != of.value()) {
    ec = errc::lease_lost;
    return;
  }
  const lost_cause by_clocks = cause_by_clocks(grant_, now());
  const holding h = forget_grant();
  const bool was_good = !h.is_lost && by_clocks == lost_cause::none;
  if (!was_good) note_loss(h, by_clocks);
  const record r = record_of(h, ending::released);
  guard.unlock();
  if (h.is_lost) {
    ec = errc::lease_lost;
    return;
  }
  bool done = false;
  const instant begun = now();
  const instant limit = begun + seconds(2);
  const grpc::Status status =
      repeated(limit, [&] { return line_.end(h.lease, h.created, r, done, limit); });
  if (!status.ok()) {
    give_up_lease(h.lease);
    guard.lock();
    leaving_since_ = begun;
    guard.unlock();
    ec = error_of(status, "cannot release", where_).code();
  }
  if (!was_good || (status.ok() && !done)) {
    ec = errc::lease_lost;
    guard.lock();
    note_loss(h, lost_cause::deleted);
  }
}

/// Under mutex_.
record etcd_session::record_of(const holding& h, ending end) const {
  record r{h.what, h.created, end, false, h.before};
  r.holder.token = token_;
  return r;
}

/// Under mutex_. Why the grant was no longer good at that time, if nothing else happened to it: the
/// clock that ran out first.
lost_cause etcd_session::cause_by_clocks(const holding& h, instant at) const {
  if (h.created == 0) return lost_cause::none;
  const bool is_kept = h.lease == lease_.id && at < lease_.good_until;
  const bool is_unheard_first = h.lease == lease_.id && lease_.good_until < h.deadline;
  if (at >= h.deadline && !is_unheard_first) return lost_cause::expired;
  return is_kept ? lost_cause::none : lost_cause::unreachable;
}

/// Under mutex_. Only the first noticed loss of a grant counts.
void etcd_session::note_loss(const holding& h, lost_cause cause) {
  if (cause != lost_cause::none && lost_.created != h.created) lost_ = {cause, h.created};
}

session::loss etcd_session::why_lost() const {
  loss result;
  known_loss known;
  {
    const std::lock_guard guard(mutex_);
    known = lost_;
    if (known.cause == lost_cause::none) {
      known = {cause_by_clocks(grant_, now()), grant_.created};
      if (grant_.is_lost) known.cause = lost_cause::deleted;
    }
  }
  result.cause = known.cause;
  if (result.cause == lost_cause::none) return result;
  std::vector<place> places;
  std::optional<record> last;
  bool has_record = false;
  if (!line_.read(places, last, has_record, now() + seconds(1)).ok()) return result;
  if (!places.empty()) result.holder = places.front().what.who();
  // A server that is back knows what happened, whatever our clocks made us believe.
  if (!last || last->created != known.created) return result;
  if (last->end == ending::broken) result.cause = lost_cause::broken;
  if (last->end == ending::expired) result.cause = lost_cause::expired;
  return result;
}

void etcd_session::note_run(std::chrono::nanoseconds duration, int exit_code) noexcept {
  const std::lock_guard guard(mutex_);
  if (grant_.created == 0) return;
  grant_.before.last_run = {fencing_token(token_), duration, exit_code,
                            std::chrono::system_clock::now()};
}

void etcd_session::when_lost(std::function<void()> tell) {
  const std::lock_guard guard(mutex_);
  tell_lost_ = std::move(tell);
}

bool etcd_session::is_good(instant at) const {
  return grant_.created != 0 && !grant_.is_lost && at < grant_.deadline &&
         grant_.lease == lease_.id && at < lease_.good_until;
}

void etcd_session::set_lease(std::chrono::nanoseconds lease) noexcept {
  const std::lock_guard guard(mutex_);
  asked_lease_ = lease;
}

std::chrono::nanoseconds etcd_session::lease() const noexcept {
  const std::lock_guard guard(mutex_);
  return asked_lease_;
}

std::chrono::nanoseconds etcd_session::lease_remaining() const noexcept {
  const std::lock_guard guard(mutex_);
  if (grant_.created == 0 || grant_.is_lost) return std::chrono::nanoseconds(0);
  return between(now(), grant_.deadline);
}

std::chrono::nanoseconds etcd_session::certain_for() const noexcept {
  const std::lock_guard guard(mutex_);
  const instant t = now();
  return is_good(t) ? between(t, lease_.good_until) : std::chrono::nanoseconds(0);
}

bool etcd_session::is_held() const noexcept {
  const std::lock_guard guard(mutex_);
  return is_good(now());
}

fencing_token etcd_session::token() const noexcept {
  const std::lock_guard guard(mutex_);
  return fencing_token(token_);
}

}  // namespace lockbyfile::etcd
