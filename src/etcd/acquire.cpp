// SPDX-License-Identifier: Apache-2.0
//
// How a session gets the lock: it joins the wait queue, and sleeps until the place before ours has
// gone or the next look is due.
//
// (A1) Only `look` grants (line.hpp, L2), and it reads our own place in the same Txn: we may have
//      lost the place while we slept. Then we join anew, at the end.
// (A2) Only the place before us is watched, so a release wakes one waiter. An event of the watch is
//      a reason to look. If the watch breaks or the revision was compacted away, we look, and watch
//      anew from there. Every few seconds we look even without an event.
// (A3) When patience is over or a stop was requested, one last Txn decides. It takes the lock if
//      the lock has become ours, and otherwise gives up the place. A grant that arrives together is
//      returned.
// (A4) If the wait ends otherwise (an error, an exception), the session gives up the etcd lease,
//      and the place with it. It does the same if an answer got lost and there is no time to ask
//      again.
// (A5) A session that found the lock free the last time first tries the smaller Txn that only takes
//      it. If that fails, it was one entry of etcd's log for nothing. So a session that had to
//      wait, or comes for the first time, joins at once.
// (A6) The record of the last holder says how the grant came. If it says nothing of the holder that
//      we saw, that holder died and its etcd lease is gone, or its key was deleted.
//
// Servers that do not answer are asked again for as long as the place can be ours: until the etcd
// lease has ended by our clock. With no place yet, they are asked for 30 s, or for the TTL if that
// is longer. They are never asked beyond the deadline. If the deadline comes after a silence of
// less than a second, patience has run out: that says nothing about servers.
#include <algorithm>
#include <deque>
#include <utility>

#include "etcd/errors.hpp"
#include "etcd/session.hpp"

namespace lockbyfile::etcd {

namespace {

constexpr instant between_looks = seconds(3);
constexpr instant between_questions = milliseconds(100);
constexpr instant to_leave = milliseconds(100);
// When a signal ends a process, it gives us a second for all of these (cli/interruption.cpp).
constexpr instant to_answer = milliseconds(100);
constexpr instant to_revoke = milliseconds(500);
constexpr instant telling_silence = seconds(1);

std::int64_t wall_clock_ms() { return static_cast<std::int64_t>(wall_clock_us() / 1000); }

}  // namespace

class etcd_session::waiting {
 public:
  struct too_short_to_tell {};  // thrown when time was up before silence meant anything

  waiting(etcd_session& s, instant deadline, const std::stop_token& stop)
      : s_(s), deadline_(deadline), stop_(stop), begun_(now()), asked_(s.lease()) {}
  ~waiting() {
    end_watch();
    if (lease_ == 0) return;
    s_.give_up_lease(lease_);                              // (A4)
    if (is_cancelled()) s_.revoke_now(now() + to_revoke);  // the process may be about to end
  }
  waiting(const waiting&) = delete;
  waiting& operator=(const waiting&) = delete;

  std::optional<grant> once(std::error_code& ec);
  std::optional<grant> in_line(std::error_code& ec);
  [[nodiscard]] bool is_cancelled() const { return stop_.stop_requested() || has_given_up_; }

 private:
  enum class outcome { changed, due, out_of_patience, cancelled };

  void join();
  void look();
  bool is_worth_a_look();
  void take_away_expired();
  void watch_the_one_before();
  void end_watch() {
    const std::lock_guard guard(s_.mutex_);
    s_.leave_to_keeper(std::move(watch_));
  }
  outcome sleep(instant until);
  std::optional<grant> end(outcome why, std::error_code& ec);
  grant granted();
  void tell_how(grant& result) const;
  /// Whether to ask again, having asked since `since`; otherwise the failure is reported.
  [[nodiscard]] bool has_time(instant since, instant longest) const {
    return !is_cancelled() && now() < std::min(deadline_, since + longest);
  }
  [[noreturn]] void fail(const grpc::Status& status, instant since) const {
    if (is_transient(status)) tell_if_short(since);
    fail(status);
  }
  void tell_if_short(instant since) const {
    if (is_cancelled() || (now() - since < telling_silence && now() >= deadline_))
      throw too_short_to_tell();
  }
  /// Asked during calls that get no answer.
  bool should_end_call() {
    if (s_.gives_up_ && !has_given_up_) has_given_up_ = s_.gives_up_();
    if (!is_cancelled()) return false;
    if (cancelled_at_ == 0) cancelled_at_ = now();
    return now() >= cancelled_at_ + to_answer;
  }
  [[noreturn]] void fail(const grpc::Status& status) const {
    throw error_of(status, "cannot acquire", s_.where_);
  }
  entry granted_entry() {
    sent_ = now();
    entry e = s_.entry_for(asked_);
    e.is_granted = true;
    return e;
  }

  etcd_session& s_;
  const instant deadline_;
  const std::stop_token& stop_;
  const instant begun_;
  const std::chrono::nanoseconds asked_;

  bool has_given_up_ = false;  // gives_up said so
  instant cancelled_at_ = 0;
  const std::function<bool()> should_end_call_ = [this] { return should_end_call(); };

  std::int64_t lease_ = 0;  // 0: we certainly have no place
  instant sent_ = 0;        // before the Txn that may grant
  entry entry_;             // what it then writes, or the keeper (E6)
  standing found_;
  std::size_t ahead_ = 0;
  std::optional<place> before_;  // the place that we wait for, or waited for last
  bool is_before_first_ = false;

  // Under s_.mutex_. Shared with the watch, which the keeper may end when we have gone.
  std::shared_ptr<std::deque<watch_event>> events_;
  std::string watched_;
  std::unique_ptr<watch> watch_;
};

std::optional<grant> etcd_session::acquire(instant deadline, const std::stop_token& stop,
                                           std::error_code& ec) {
  ec.clear();
  bool is_over = false;
  {
    const std::lock_guard guard(mutex_);
    if (is_acquiring_ || is_good(now())) {
      ec = errc::would_deadlock;
      return std::nullopt;
    }
    is_acquiring_ = true;
    is_over = grant_.created != 0;
  }
  const struct alone {
    etcd_session& s;
    ~alone() {
      const std::lock_guard guard(s.mutex_);
      s.is_acquiring_ = false;
    }
  } us{*this};
  if (is_over) clear_old_grant();
  return acquire_alone(from_monotonic(deadline), stop, ec);
}

/// An old grant is lost, or has run out, and its place may be in our way. Servers that have been
/// silent for too long are not asked: the next lease in etcd brings another place.
void etcd_session::clear_old_grant() {
  std::unique_lock guard(mutex_);
  if (!grant_.is_lost && now() < lease_.good_until) {
    guard.unlock();
    return release_quietly(token());
  }
  const holding h = forget_grant();
  guard.unlock();
  if (!h.is_lost) give_up_lease(h.lease);
}

std::optional<grant> etcd_session::acquire_alone(instant deadline, const std::stop_token& stop,
                                                 std::error_code& ec) {
  waiting w(*this, deadline, stop);
  if (deadline <= now()) return w.once(ec);
  const std::stop_callback wake_up(stop, [this] {
    const std::lock_guard guard(mutex_);
    changed_.notify_all();
  });
  try {
    return w.in_line(ec);
  } catch (const waiting::too_short_to_tell&) {
    ec = w.is_cancelled() ? errc::cancelled : errc::timed_out;
    return std::nullopt;
  } catch (const lock_error&) {
    if (!w.is_cancelled()) throw;
    ec = errc::cancelled;  // the result of the call that we ended is no answer of etcd's
    return std::nullopt;
  }
}

std::optional<grant> etcd_session::waiting::once(std::error_code& ec) {
  for (int i = 0; i < 3; ++i) {
    const instant limit = call_limit(0);
    lease_ = s_.lease_for(asked_, limit);
    entry_ = granted_entry();
    const grpc::Status status = s_.line_.try_once(lease_, entry_, found_, limit);
    if (is_lease_not_found(status)) {
      s_.give_up_lease(std::exchange(lease_, 0));
      continue;
    }
    if (!status.ok()) fail(status);
    if (found_.is_granted) return granted();
    lease_ = 0;
    before_ = found_.before;
    is_before_first_ = found_.is_before_first;
    if (!before_ || !is_before_first_ || !before_->what.is_expired) break;
    take_away_expired();
  }
  ec = errc::timed_out;
  return std::nullopt;
}

std::optional<grant> etcd_session::waiting::in_line(std::error_code& ec) {
  join();
  ahead_ = found_.ahead;
  for (;;) {
    if (found_.is_granted) return granted();
    if (found_.created == 0) {  // (A1)
      join();
      continue;
    }
    if (found_.before) before_ = found_.before;
    is_before_first_ = found_.is_before_first;
    if (before_ && is_before_first_ && before_->what.is_expired) {
      take_away_expired();
      look();
      continue;
    }
    watch_the_one_before();
    outcome why = sleep(now() + some_of(between_looks));
    while (why == outcome::due && !is_worth_a_look()) {
      watch_the_one_before();
      why = sleep(now() + some_of(between_looks));
    }
    if (why == outcome::out_of_patience || why == outcome::cancelled) return end(why, ec);
#ifdef LOCKBYFILE_BROKEN_EVENT  // on purpose, to be found: torture/CMakeLists.txt
    found_.is_granted = why == outcome::changed;
    continue;
#endif
    look();
  }
}

void etcd_session::waiting::join() {
  const client::interruptible calls(should_end_call_);
  const instant since = now();
  for (;;) {
    const instant limit = call_limit(deadline_);
    grpc::Status status;
    try {
      lease_ = s_.lease_for(asked_, limit);
    } catch (const lock_error& e) {
      if (e.code() != errc::unreachable) throw;
      if (!has_time(since, s_.silence_at_start())) {
        tell_if_short(since);
        throw;
      }
      rest_between_tries();
      continue;
    }
    entry_ = granted_entry();
    if (std::exchange(s_.was_free_, false)) {  // (A5)
      status = s_.line_.try_once(lease_, entry_, found_, limit);
      if (status.ok() && found_.is_granted) return;
    }
    if (status.ok()) {
      entry in_line = entry_;
      in_line.is_granted = false;
      status = s_.line_.join(lease_, entry_, in_line, found_, limit);
      if (status.ok()) return;
    }
    if (is_lease_not_found(status)) {
      s_.give_up_lease(std::exchange(lease_, 0));
      continue;
    }
    if (!is_transient(status) || !has_time(since, s_.silence_at_start())) fail(status, since);
    rest_between_tries();
  }
}

void etcd_session::waiting::look() {
  const client::interruptible calls(should_end_call_);
  instant since = now();
  for (;;) {
    const place* const first = before_ && is_before_first_ ? &*before_ : nullptr;
    entry_ = granted_entry();
    const grpc::Status status = s_.line_.look(lease_, found_.created, first, found_,
                                              std::max(call_limit(deadline_), now() + to_leave));
    if (status.ok()) return;
    if (is_lease_not_found(status)) {
      found_.created = 0;
      return;
    }
    if (!is_transient(status) || !has_time(since, seconds(s_.where_.ttl))) fail(status, since);
    rest_between_tries();
  }
}

/// Called when there was no event for a while, or if something may have happened before the watch.
bool etcd_session::waiting::is_worth_a_look() {
  if (!before_) return true;
  const client::interruptible calls(should_end_call_);
  const bool is_worth_it =
      s_.line_.is_worth_a_look(lease_, found_.created, *before_, call_limit(deadline_));
  if (before_->what.is_granted) is_before_first_ = true;
  return is_worth_it || (is_before_first_ && before_->what.is_expired);
}

void etcd_session::waiting::take_away_expired() {
  bool done = false;  // if not, it was renewed or another session did it: the next look shows which
  const grpc::Status status = s_.line_.take_away(*before_, done, call_limit(deadline_));
  if (!status.ok() && !is_transient(status)) fail(status);
}

void etcd_session::waiting::watch_the_one_before() {
  if (!before_ || !found_.before) return;
  if (watch_ != nullptr && watched_ == before_->key && watch_->is_where_calls_go()) return;
  end_watch();
  events_ = std::make_shared<std::deque<watch_event>>();
  watched_ = before_->key;
  watch_ = std::make_unique<watch>(s_.client_, watched_, 0,
                                   [&s = s_, events = events_](const watch_event& e) {
                                     const std::lock_guard guard(s.mutex_);
                                     events->push_back(e);
                                     s.changed_.notify_all();
                                   });
}

/// Sleeps until an event makes a look worthwhile, or until `until`, when a look is due.
etcd_session::waiting::outcome etcd_session::waiting::sleep(instant until) {
  instant next_question = s_.gives_up_ ? now() + between_questions : never;
  std::unique_lock guard(s_.mutex_);
  for (;;) {
    while (events_ != nullptr && !events_->empty()) {
      const watch_event e = std::move(events_->front());
      events_->pop_front();
      if (e.what == watch_event::kind::deleted) return outcome::changed;
      if (e.what == watch_event::kind::broken) {  // (A2)
        s_.leave_to_keeper(std::move(watch_));
        guard.unlock();
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        return outcome::changed;
      }
      if (e.what == watch_event::kind::created) {
        if (e.revision > found_.revision) return outcome::due;  // (W1)
        continue;
      }
      before_->what = read_entry(e.value);
      before_->modified = e.revision;
      if (before_->what.is_granted) is_before_first_ = true;
      if (before_->what.is_expired && is_before_first_) return outcome::changed;
    }
    if (s_.lease_.id != lease_) return outcome::changed;
    if (stop_.stop_requested()) return outcome::cancelled;
    const instant t = now();
    if (t >= deadline_) return outcome::out_of_patience;
    if (t >= until) return outcome::due;
    if (t >= next_question) {
      guard.unlock();
      has_given_up_ = s_.gives_up_();
      next_question = now() + between_questions;
      guard.lock();
      if (has_given_up_) return outcome::cancelled;
      continue;
    }
    s_.changed_.wait_for(guard, between(t, std::min({until, deadline_, next_question})));
  }
}

std::optional<grant> etcd_session::waiting::end(outcome why, std::error_code& ec) {
  entry_ = granted_entry();
  const std::int64_t created = found_.created;
  const grpc::Status status = s_.line_.take_or_leave(lease_, created, found_, now() + to_leave);
  if (status.ok() && found_.is_granted) return granted();
  if (status.ok()) lease_ = 0;
  ec = why == outcome::cancelled ? errc::cancelled : errc::timed_out;
  return std::nullopt;
}

grant etcd_session::waiting::granted() {
  grant result;
  result.token = fencing_token(static_cast<std::uint64_t>(found_.revision));
  result.place = ahead_;
  tell_how(result);
  entry_.how = result.how;
  s_.take(found_, std::exchange(lease_, 0), asked_, entry_, sent_);
  result.waited = between(begun_, now());
  return result;
}

/// (A6)
void etcd_session::waiting::tell_how(grant& result) const {
  if (s_.where_.raw) return;  // there is no record
  const std::optional<record>& last = found_.last;
  // The record is of the grant that we waited for, or of a later one: we may have joined anew
  // since.
  const bool is_of_the_last =
      last && (!before_ || !is_before_first_ || last->created >= before_->created);
  if (is_of_the_last) {
    if (last->end == ending::broken && !last->is_told) {
      result.how = grant_kind::broken;
    } else if (last->end == ending::expired && before_ && last->created >= before_->created) {
      result.how = grant_kind::expired;
    }
    if (result.how != grant_kind::free) result.previous = last->holder.who();
    return;
  }
  if (!before_ || !before_->what.is_ours || !is_before_first_) return;  // or it gave up
  if (before_->what.is_expired) {  // without a record of that, we have taken it away
    result.how = grant_kind::expired;
  } else {
    const bool was_deleted =
        s_.line_.has_lease(before_->lease, now() + milliseconds(500)).value_or(false);
    result.how = was_deleted ? grant_kind::broken : grant_kind::abandoned;
  }
  result.previous = before_->what.who();
}

void etcd_session::take(const standing& found, std::int64_t lease, std::chrono::nanoseconds asked,
                        const entry& what, instant sent) {
  const std::lock_guard guard(mutex_);
  grant_ = {};
  grant_.created = found.created;
  grant_.lease = lease;
  grant_.what = what;
  grant_.since = now();
  grant_.deadline = after(sent, asked);
  grant_.is_shown = was_free_ = found.revision == found.created;
  if (found.last) {
    grant_.before = found.last->before;
    if (what.how == grant_kind::broken && found.last->end == ending::broken) {
      grant_.is_shown = false;  // the next holder must not get the same break reported
      grant_.to_tell = found.last;
      grant_.to_tell->is_told = true;
    }
  }
  lost_ = {};
  leaving_since_ = 0;
  token_ = static_cast<std::uint64_t>(found.revision);
  grant_.what.token = token_;
  const instant next = grant_.is_shown ? before_watching : before_showing;
  wake_keeper_for(std::min(grant_.deadline, grant_.since + next));
}

entry etcd_session::entry_for(std::chrono::nanoseconds lease) const {
  entry e = this_process(description_);
  e.since_ms = wall_clock_ms();
  e.lease_ns = lease == no_lease ? 0 : lease.count();
  return e;
}

/// An etcd lease that suits a grant with this lease (E2): the present one, or a new one.
std::int64_t etcd_session::lease_for(std::chrono::nanoseconds lease, instant deadline) {
  const auto whole = std::chrono::ceil<std::chrono::seconds>(
      std::min<std::chrono::nanoseconds>(lease, std::chrono::hours(1)));
  const unsigned wanted = std::clamp(static_cast<unsigned>(whole.count()), 1U, where_.ttl);
  {
    const std::lock_guard guard(mutex_);
    if (lease_.id != 0 && lease_.asked == wanted && now() < lease_.good_until) return lease_.id;
  }
  give_up_lease(0);
  wire::LeaseGrantRequest request;
  request.set_ttl(wanted);
  wire::LeaseGrantResponse answer;
  const instant sent = now();
  const grpc::Status status =
      client_.call("/etcdserverpb.Lease/LeaseGrant", request, answer, deadline);
  if (!status.ok()) throw error_of(status, "cannot open", where_);
  const std::lock_guard guard(mutex_);
  lease_.id = answer.id();
  lease_.asked = wanted;
  lease_.heard(sent, std::max<std::int64_t>(answer.ttl(), 1));
  start_keeper();
  keeper_wakes_.notify_all();
  return lease_.id;
}

/// 0: whichever we have. The keys that hang on it go with it.
void etcd_session::give_up_lease(std::int64_t lease) {
  const std::lock_guard guard(mutex_);
  if (lease_.id == 0 || (lease != 0 && lease_.id != lease)) return;
  revocations_.push_back({lease_.id});
  lease_ = {};
  keeper_wakes_.notify_all();
}

}  // namespace lockbyfile::etcd
