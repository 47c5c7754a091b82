// SPDX-License-Identifier: Apache-2.0
//
// The keeper: a thread of each session that has an etcd lease. It keeps that lease alive and ends
// grants whose lease runs out. It watches grants that last, and revokes etcd leases that were given
// up.
//
// (E5) It does one operation at a time and looks at the clock again after each. No operation except
//      keeping alive takes longer than a third of the TTL. So a slow etcd does not make the keeper
//      late for the next beat.
// (E6) A grant that was only read (line.hpp, L2) is marked in its place after 20 ms. Most grants do
//      not last that long, and then cost no write. Any later write to the place (a renewal, the end
//      of the lease) wins over the mark, so the mark needs no turn.
#include <algorithm>
#include <utility>

#include "etcd/errors.hpp"
#include "etcd/no_signals.hpp"
#include "etcd/session.hpp"

namespace lockbyfile::etcd {

namespace {

constexpr instant after_a_failure = milliseconds(250);
constexpr instant longest_pause = seconds(2);

}  // namespace

void etcd_session::start_keeper() {
  if (keeper_.joinable()) return;
  const no_signals guard;
  keeper_ = std::thread([this] { keep(); });
}

void etcd_session::keep() {
  const std::function<bool()> ends = [this] {
    const std::lock_guard guard(mutex_);
    return is_ending_;
  };
  const client::interruptible calls(ends);  // closing does not wait for a silent server
  std::unique_lock guard(mutex_);
  while (!is_ending_) {
    const instant t = now();
    const bool holds = grant_.created != 0 && !grant_.is_lost;
    if (lease_.id != 0 && t >= lease_.next_beat) {
      beat(guard);
    } else if (!ended_watches_.empty()) {
      auto ended = std::move(ended_watches_);
      ended_watches_.clear();
      guard.unlock();
      ended.clear();
      guard.lock();
    } else if (holds && grant_.what.lease_ns != 0 && t >= grant_.deadline && !grant_.is_expiring) {
      expire(guard);
    } else if (holds && !grant_.is_shown && t >= grant_.since + before_showing) {
      show(guard);
    } else if (!revocations_.empty() && t >= revocations_.front().next_try) {
      revoke(guard);
    } else if (holds && t >= grant_.since + before_watching &&
               (watched_ != grant_.created || is_watch_broken_)) {
      watch_grant(guard);
    } else {
      rest(guard, next_deed());
    }
  }
}

void etcd_session::rest(std::unique_lock<std::mutex>& guard, instant until) {
  rests_until_ = until;
  if (until == never) {
    keeper_wakes_.wait(guard);
  } else {
    keeper_wakes_.wait_for(guard, between(now(), until));
  }
  rests_until_ = 0;
}

/// Wakes it only if it would rest too long: most grants come and go while it rests.
void etcd_session::wake_keeper_for(instant deed) {
  if (deed < rests_until_) keeper_wakes_.notify_all();
}

instant etcd_session::next_deed() const {
  instant next = never;
  if (lease_.id != 0) next = lease_.next_beat;
  if (!revocations_.empty()) next = std::min(next, revocations_.front().next_try);
  if (grant_.created == 0 || grant_.is_lost) return next;
  if (!grant_.is_shown) next = std::min(next, grant_.since + before_showing);
  if (watched_ != grant_.created) next = std::min(next, grant_.since + before_watching);
  if (!grant_.is_expiring) next = std::min(next, grant_.deadline);
  return next;
}

void etcd_session::beat(std::unique_lock<std::mutex>& guard) {
  const etcd_lease before = lease_;
  // A waiter that came after the mark and cannot read it (etcdctl) waits for the place to go.
  if (grant_.is_expiring && grant_.what.is_expired) grant_.is_expiring = false;
  guard.unlock();
  std::int64_t ttl = 0;
  const instant sent = now();
  const grpc::Status status = client_.keep_alive(
      before.id, ttl, sent + std::clamp(before.ttl / 3, milliseconds(200), seconds(3)));
  guard.lock();
  if (lease_.id != before.id) return;
  if (status.ok() && ttl > 0) {
    lease_.heard(sent, ttl);
    if (grant_watch_ != nullptr && !grant_watch_->is_where_calls_go()) is_watch_broken_ = true;
  } else if (status.ok()) {  // there is no such lease: etcd has removed our place
    if (grant_.lease == before.id) have_lost();
    lease_ = {};
  } else {
    lease_.next_beat = now() + some_of(std::min(lease_.ttl / 10, after_a_failure));
  }
  changed_.notify_all();
  if (!status.ok() || grant_.created == 0 || grant_.is_lost) return;
  const holding h = grant_;
  guard.unlock();
  (void)look_at_place(h);
  guard.lock();
}

void etcd_session::show(std::unique_lock<std::mutex>& guard) {
  const holding h = grant_;
  const instant limit = now() + std::max(lease_.ttl / 3, milliseconds(200));
  guard.unlock();
  const grpc::Status status =
      line_.show(h.lease, h.created, h.what, h.to_tell ? &*h.to_tell : nullptr, limit);
  guard.lock();
  if (grant_.created != h.created) return;
  grant_.is_shown = !is_transient(status);
  if (!grant_.is_shown) rest(guard, now() + after_a_failure);
}

void etcd_session::expire(std::unique_lock<std::mutex>& guard) {
  const std::int64_t created = grant_.created;
  guard.unlock();
  const std::lock_guard turn(turn_);
  guard.lock();
  if (grant_.created != created || grant_.is_lost || now() < grant_.deadline) return;
  const instant limit = now() + std::max(lease_.ttl / 3, milliseconds(200));
  holding h = grant_;
  h.what.token = token_;
  const record r = record_of(h, ending::expired);
  entry marked = h.what;
  marked.is_expired = true;
  guard.unlock();
  bool ended = false;
  bool done = false;
  const grpc::Status status = line_.expire(h.lease, created, marked, r, ended, done, limit);
  guard.lock();
  if (grant_.created != created) return;
  if (status.ok()) {
    grant_.is_expiring = true;
    if (ended) note_loss(h, lost_cause::expired);
    if (ended || !done) have_lost();
    grant_.what.is_expired = true;
  } else {
    rest(guard, now() + after_a_failure);
  }
}

void etcd_session::revoke(std::unique_lock<std::mutex>& guard) {
  const revocation r = revocations_.front();
  guard.unlock();
  const grpc::Status status = client_.revoke(r.lease, now() + milliseconds(500));
  guard.lock();
  std::erase_if(revocations_, [&r](const revocation& other) { return other.lease == r.lease; });
  if (!status.ok() && is_transient(status)) {
    const instant pause = std::max(r.pause, after_a_failure);
    revocations_.push_back({r.lease, now() + some_of(pause), std::min(pause * 2, longest_pause)});
  }
  changed_.notify_all();
}

/// The revision at which it is there. 0 if it is gone, which is reported, or if nobody answered.
std::int64_t etcd_session::look_at_place(const holding& h) {
  wire::RangeRequest request;
  request.set_key(line_.keys().place(h.lease));
  wire::RangeResponse answer;
  const grpc::Status status =
      client_.call("/etcdserverpb.KV/Range", request, answer, now() + milliseconds(500));
  if (!status.ok()) return 0;
  const std::int64_t revision = answer.header().revision();
  if (answer.kvs_size() != 0 && answer.kvs(0).create_revision() == h.created) return revision;
  const bool is_old = revision < h.created;  // a stale read (docs/engines.md)
  if (!is_old) lose(h.created);
  return 0;
}

void etcd_session::watch_grant(std::unique_lock<std::mutex>& guard) {
  const holding h = grant_;
  const std::int64_t created = h.created;
  leave_to_keeper(std::move(grant_watch_));
  auto from = static_cast<std::int64_t>(token_);
  const bool is_again = std::exchange(is_watch_broken_, false);
  watched_ = created;
  guard.unlock();
  if (is_again) {  // earlier events may have been compacted away: look
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    from = look_at_place(h);
    if (from == 0) {
      guard.lock();
      is_watch_broken_ = true;
      if (!grant_.is_lost) rest(guard, now() + after_a_failure);
      return;
    }
  }
  auto next = std::make_unique<watch>(client_, line_.keys().place(h.lease), from + 1,
                                      [this, created](const watch_event& e) {
                                        if (e.what == watch_event::kind::deleted)
                                          return lose(created);
                                        if (e.what != watch_event::kind::broken) return;
                                        const std::lock_guard again(mutex_);
                                        if (watched_ != created) return;  // the grant is over
                                        is_watch_broken_ = true;
                                        keeper_wakes_.notify_all();
                                      });
  guard.lock();
  if (grant_.created == created && !is_ending_) {
    grant_watch_ = std::move(next);
  } else {
    leave_to_keeper(std::move(next));
  }
}

/// Under mutex_. Ending a watch takes a moment; a caller that acquires or releases should not wait
/// for it.
void etcd_session::leave_to_keeper(std::unique_ptr<watch> ended) {
  if (ended == nullptr) return;
  ended_watches_.push_back(std::move(ended));
  keeper_wakes_.notify_all();
}

void etcd_session::lose(std::int64_t created) {
  const std::lock_guard guard(mutex_);
  if (grant_.created == created) have_lost();
}

/// Under mutex_.
void etcd_session::have_lost() {
  const lost_cause by_clocks = cause_by_clocks(grant_, now());
  note_loss(grant_, by_clocks == lost_cause::none ? lost_cause::deleted : by_clocks);
  grant_.is_lost = true;
  changed_.notify_all();
  if (tell_lost_) tell_lost_();
}

}  // namespace lockbyfile::etcd
