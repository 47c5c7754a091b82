// SPDX-License-Identifier: Apache-2.0
#include "file/session.hpp"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <lockbyfile/observe.hpp>

#include "file/point.hpp"
#include "file/records.hpp"
#include "file/tokens.hpp"
#include "linux/process_epoch.hpp"
#include "linux/single_threaded.hpp"

namespace lockbyfile::file {

namespace {

/// Shorter leases are counted on the exact clock (options.hpp).
constexpr std::chrono::nanoseconds coarse_from = std::chrono::seconds(1);

constexpr unsigned most_cures = 3;  // of a mapping that becomes unusable again and again

}  // namespace

file_session::file_session(const std::string& path, const lock_options& options)
    : file_(path, options),
      line_(file_),
      lease_(options.lease),
      gives_up_(options.gives_up),
      as_observer_{.on_truncation = options.on_truncation,
                   .any_filesystem = options.any_filesystem} {
  const std::string shown = this_party(options.description).command;
  char text[sizeof command_] = {};
  shown.copy(text, sizeof text - 1);
  std::memcpy(command_.data(), text, sizeof text);
  attach();
}

file_session::~file_session() {
  std::error_code ignored;
  release(token(), ignored);
  // A process with a share of the lifeline need not keep the slot from now on. Not in a child,
  // whose share is the parent's.
  if (is_this_process()) file_.give_up_slot();
}

void file_session::attach(const std::optional<break_info>& deletion) {
  const instant begun = now_coarse();
  current_.store(0);
  file_.attach();
  epoch_.store(process_epoch());
  begin_above(deletion);
  floor_ = std::max({floor_, highest_seen_, file_.tokens_before()});
  highest_seen_ = 1;  // no word has less
  slot& own = file_.own();
  own.last_grant.store(0, std::memory_order_release);  // another session's
  session_ = static_cast<std::uint32_t>(own.session.load(std::memory_order_relaxed) + now() + 1);
  own.session.store(session_, std::memory_order_relaxed);
  own.pid.store(static_cast<std::uint32_t>(::getpid()), std::memory_order_relaxed);
  own.user.store(::geteuid(), std::memory_order_relaxed);
  for (std::size_t i = 0; i < command_.size(); ++i) {
    own.command[i].store(command_[i], std::memory_order_relaxed);
  }
  file_.throw_if_unusable();
  next_check_.store(begun + path_check_interval, std::memory_order_relaxed);
}

/// Carries over to this file what is known of the path's last file: the tokens (S5), and that it
/// was deleted while the lock was held (S8). Does nothing if somebody holds the lock here.
void file_session::begin_above(const std::optional<break_info>& deletion) noexcept {
  header& h = file_.get().header;
  const word found(h.word.load());
  if (!found.is_sane() || !found.is_free()) return;
  const bool is_new = found.counter() == h.first_counter.load(std::memory_order_relaxed);
  const bool marks = deletion && is_new && !found.was_broken();
  if (!marks && found.counter() >= highest_seen_) return;
  const std::uint64_t counter = std::max(found.counter(), highest_seen_) + 1;
  const word above =
      marks || found.was_broken() ? word::broken_at(counter) : word::free_at(counter);
  std::uint64_t expected = found.bits();
  if (h.word.compare_exchange_strong(expected, above.bits()) && marks && deletion->token) {
    write_break(h, *deletion);
  }
}

/// What is known of a grant that ended when somebody deleted our file (S8).
std::optional<break_info> file_session::broken_by_deletion() const {
  if (!is_this_process() || !file_.was_replaced() || !file_.is_signed()) return std::nullopt;
  const word left(file_.get().header.word.load());
  if (left.was_broken()) return read_break(file_.get().header).value_or(break_info{});
  if (!left.is_held() || left.slot() >= file_.capacity()) return std::nullopt;
  const slot& holder = file_.get().slots[left.slot()];
  const bool alive = left.slot() == file_.own_slot() ? is_ours(left) : file_.is_alive(left.slot());
  if (!alive || holder.lease_deadline.load() <= now()) return std::nullopt;
  return break_info{fencing_token(std::min(holder.token.load(), left.counter())), party{},
                    std::chrono::system_clock::now()};
}

/// Keeps a second thread out of acquire. Without a second thread nothing is atomic here: then only
/// a signal handler can come in between, and it has ended when we go on.
class file_session::acquiring {
 public:
  acquiring(std::atomic<std::uint64_t>& by, std::uint64_t process) noexcept : by_(by) {
    std::uint64_t at_it = by.load(std::memory_order_relaxed);
    if (at_it == process) return;  // any other number is from before a fork
    if (is_single_threaded()) {
      by.store(process, std::memory_order_relaxed);
      is_alone_ = true;
    } else {
      is_alone_ = by.compare_exchange_strong(at_it, process, std::memory_order_acquire);
    }
  }
  ~acquiring() {
    if (is_alone_) by_.store(0, std::memory_order_release);
  }
  acquiring(const acquiring&) = delete;
  acquiring& operator=(const acquiring&) = delete;
  [[nodiscard]] bool is_alone() const noexcept { return is_alone_; }

 private:
  std::atomic<std::uint64_t>& by_;
  bool is_alone_ = false;
};

// All of it is inline, and the clock comes first. So it calls nothing in between, and has no values
// to keep over a call.
[[gnu::flatten]] fencing_token file_session::acquire_at_once() noexcept {
  if (!thread_is_prepared) [[unlikely]]
    return {};
  const instant start = now_coarse();
  if (file_.get().header.last_to_join.load(std::memory_order_relaxed) != 0) {
    return go_first(start) ? token() : fencing_token();
  }
  const std::uint64_t process = process_epoch();
  const acquiring us(acquiring_, process);
  if (!us.is_alone() || !take_at_once(process, start, start)) return {};
  return fencing_token(token_.load(std::memory_order_relaxed));
}

/// Takes the lock before the waiters, if a newcomer may.
[[gnu::noinline]] bool file_session::go_first(instant coarse_now) noexcept {
  const instant exact = now();
  const std::uint64_t process = process_epoch();
  const acquiring us(acquiring_, process);
  if (!line_.may_barge(exact) || !us.is_alone() || !take_at_once(process, coarse_now, exact)) {
    return false;
  }
  exact_begin_ = exact;
  went_first_ = true;
  return true;
}

bool file_session::take_at_once(std::uint64_t process, instant coarse_now, instant start) noexcept {
  const word seen = word_to_take(process);
  const std::chrono::nanoseconds lease = lease_.load(std::memory_order_relaxed);
  return seen != word() && current_.load(std::memory_order_relaxed) == 0 &&
         last_before(seen) < ceiling_ && lease >= coarse_from &&
         coarse_now < next_check_.load(std::memory_order_relaxed) &&
         take(seen, start, lease, grant_kind::free);
}

std::optional<grant> file_session::acquire(instant deadline, const std::stop_token& stop,
                                           std::error_code& ec) {
  ec.clear();
  file_.prepare_thread();
  const std::uint64_t process = process_epoch();
  const acquiring us(acquiring_, process);
  if (!us.is_alone() || (current_.load(std::memory_order_relaxed) != 0 && is_held())) {
    ec = errc::would_deadlock;
    return std::nullopt;
  }
  // The ceiling is raised here and not in a look. A look takes longer than the clock needs to catch
  // up with a counter that is about to overtake it, so each acquire would cost a look.
  const word seen = word_to_take(process);
  if (seen.is_sane() && now_coarse() < next_check_.load(std::memory_order_relaxed) &&
      may_go_first() && has_token_after(seen) &&
      take(seen, now_coarse(), lease(), grant_kind::free)) {
    grant result;
    result.token = token();
    return result;
  }
  return acquire_slowly(deadline, stop, ec);
}

word file_session::word_to_take(std::uint64_t process) const noexcept {
  if (epoch_.load(std::memory_order_relaxed) != process) return {};
  const word seen(file_.get().header.word.load(std::memory_order_acquire));
  const bool is_plainly_free = seen.is_free() && !seen.was_broken();
  return is_plainly_free && seen.counter() >= highest_seen_ && owns_slot() ? seen : word();
}

bool file_session::may_go_first() const noexcept {
  return file_.get().header.last_to_join.load(std::memory_order_relaxed) == 0 ||
         line_.may_barge(now());
}

std::uint64_t file_session::last_before(word seen) const noexcept {
  return std::max(seen.counter(), floor_);  // (S5)
}

bool file_session::has_token_after(word seen) {
  const std::uint64_t token = last_before(seen) + 1;
  if (token <= ceiling_) return true;
  const std::uint64_t ceiling = raise_ceiling(file_.path(), file_.fd(), token);
  const bool is_by_mark = ceiling > wall_clock_us();
  if (is_by_mark && !file_.is_current()) return false;  // (S7)
  ceiling_ = ceiling;
  return true;
}

bool file_session::take(word seen, instant start, std::chrono::nanoseconds lease,
                        grant_kind how) noexcept {
  const word granted = word::free_at(last_before(seen)).granted_to(file_.own_slot());
  const std::uint64_t token = granted.counter();
  const instant deadline = after(lease < coarse_from ? now() : start, lease);
  slot& own = file_.own();
  own.lease_deadline.store(deadline, std::memory_order_relaxed);
  own.token.store(token, std::memory_order_relaxed);
  own.since.store(start, std::memory_order_release);  // a reader that sees it also sees the token
  own.lease.store(static_cast<std::uint64_t>(lease.count()), std::memory_order_relaxed);

  reach(point::deadline_written);
#ifdef LOCKBYFILE_BROKEN_TAKEOVER  // on purpose, to be found: torture/CMakeLists.txt
  file_.get().header.word.store(granted.bits());
#else
  std::uint64_t expected = seen.bits();
  // seq_cst: releases the stores above to any reader of the word, and takes part in (L3).
  if (!file_.get().header.word.compare_exchange_strong(expected, granted.bits())) return false;
#endif
  reach(point::word_granted);

  deadline_.store(deadline, std::memory_order_relaxed);
  token_.store(token, std::memory_order_relaxed);
  current_.store(granted.bits(), std::memory_order_release);  // after the token (S11)
  lost_by_.store(lost_by::none, std::memory_order_relaxed);
  highest_seen_ = token;
  own.last_grant.store(grant_mark(token, static_cast<std::uint64_t>(how)),
                       std::memory_order_release);
  return true;
}

void file_session::renew(fencing_token of, std::error_code& ec) {
  ec.clear();
  file_.prepare_thread();
  if (!holds()) {
    ec = errc::not_holder;
    return;
  }
  // Alone with the slot: another thread that acquires meanwhile would find its deadline replaced by
  // an earlier one. That thread can only be trying in vain, or our grant is lost.
  const std::uint64_t process = process_epoch();
  std::optional<acquiring> us(std::in_place, acquiring_, process);
  while (!us->is_alone()) {
    if (!is_held()) return lose(lost_by::none, ec);
    const std::uint32_t nobody_wakes = 0;
    const auto soon = to_timespec(now() + 20'000);
    sys.futex_wait(&nobody_wakes, 0, &soon);
    us.emplace(acquiring_, process);
  }
  if (token_.load() != of.value()) {  // (S11)
    ec = errc::lease_lost;
    return;
  }
  int error = 0;
  for (unsigned tries = 0; tries < most_cures; ++tries) {  // (S10)
    error = file_.cure();
    if (error != 0) break;
    renew_once(ec);
    if (!file_.is_unusable()) return;
    lost_by_.store(lost_by::none, std::memory_order_relaxed);
    error = EIO;
  }
  ec = {error, std::system_category()};
}

void file_session::renew_once(std::error_code& ec) noexcept {
  ec.clear();
  header& h = file_.get().header;
  slot& own = file_.own();
  word held(h.word.load());
  if (!file_.is_current()) return lose(is_ours(held) ? lost_by::path : lost_by::word, ec);
  const std::chrono::nanoseconds lease = lease_.load(std::memory_order_relaxed);
  const instant deadline = after(now(), lease);
  word renewed;
  do {
    if (!is_ours(held)) return lose(lost_by::word, ec);
    own.lease_deadline.store(deadline, std::memory_order_relaxed);  // (S2)
    own.lease.store(static_cast<std::uint64_t>(lease.count()), std::memory_order_relaxed);
    reach(point::deadline_renewed);
    renewed = held.renewed();
    std::uint64_t expected = held.bits();
    if (h.word.compare_exchange_strong(expected, renewed.bits())) break;
    held = word(expected);
  } while (true);
  reach(point::word_renewed);
  const bool is_shorter = deadline < deadline_.exchange(deadline, std::memory_order_relaxed);
  // If another thread releases meanwhile, it frees whichever word is ours (S9).
  std::uint64_t known = current_.load(std::memory_order_relaxed);
  if (known != 0)
    current_.compare_exchange_strong(known, renewed.bits(), std::memory_order_relaxed);
  if (is_shorter) line_.wake_head();  // it sleeps until the old deadline
}

void file_session::lose(lost_by how, std::error_code& ec) noexcept {
  // Another thread has released it.
  ec = current_.load(std::memory_order_relaxed) == 0 ? errc::not_holder : errc::lease_lost;
  lost_by_.store(how, std::memory_order_relaxed);
}

void file_session::release(fencing_token of, std::error_code& ec) noexcept {
  ec.clear();
  file_.prepare_thread();
  if (!holds()) {
    ec = errc::not_holder;
    return;
  }
  const bool in_time = is_in_time();
  const bool at_path = path_is_current(now_coarse());
  const bool is_deleted = !at_path && file_.was_replaced();
  const bool is_there = is_named();
  const bool freed =
      free_and_wake(of.value(), is_deleted ? ending::broken : ending::released) && is_there;
  if (is_deleted) file_.note_departure();
  if (freed && at_path && in_time) return;
  ec = errc::lease_lost;
  if (token_.load() != of.value()) return;  // (S11)
  lost_by_.store(!freed    ? lost_by::word
                 : at_path ? lost_by::time
                           : lost_by::path,
                 std::memory_order_relaxed);
}

[[gnu::flatten]] void file_session::release_quietly(fencing_token of) noexcept {
  if (holds()) free_and_wake(of.value(), ending::released);
}

/// Forgets the grant `token`, of which `held` is a word. False if it is another grant by now (S11).
/// Without a second thread nothing is atomic, as in acquire.
bool file_session::forget(std::uint64_t token, std::uint64_t& held) noexcept {
  if (is_single_threaded()) {
    if (token_.load(std::memory_order_relaxed) != token) return false;
    current_.store(0, std::memory_order_relaxed);
    return true;
  }
  do {
    if (held == 0 || token_.load(std::memory_order_relaxed) != token) return false;
  } while (!current_.compare_exchange_weak(held, 0));
  return true;
}

bool file_session::free_and_wake(std::uint64_t token, ending how) noexcept {
  std::uint64_t known = current_.load(std::memory_order_acquire);
  header& h = file_.get().header;
  // An old holder must not note it: it would hide since when its successor's lock is free.
  if (h.last_to_join.load(std::memory_order_relaxed) != 0) note_release(word(known));
  reach(point::release_begun);
  if (!forget(token, known)) return false;
  word held(known);
  reach(point::release_decided);
  const auto freed = [&] { return how == ending::broken ? held.broken() : held.freed(); };
  std::uint64_t expected = held.bits();
  while (!h.word.compare_exchange_strong(expected, freed().bits())) {
    held = word(expected);
    if (!is_ours(held, token)) return release_unusable(token);  // otherwise it was renewed (S9)
  }
  reach(point::word_freed);
  if (how == ending::broken) note_deletion();  // (S8)
#ifndef LOCKBYFILE_BROKEN_WAKE                 // on purpose, to be found: torture/CMakeLists.txt
  if (h.last_to_join.load() != 0) line_.pass_on();  // (L3)
#endif
  return true;
}

/// (S10) A release that failed. It is tried once more if its mapping had become unusable and no
/// longer is. Otherwise the lifeline is given up.
[[gnu::noinline]] bool file_session::release_unusable(std::uint64_t token) noexcept {
  if (!file_.is_unusable() || token_.load() != token) return false;
  for (unsigned tries = 0; tries < most_cures && file_.cure() == 0; ++tries) {
    shared<std::uint64_t>& held = file_.get().header.word;
    std::uint64_t seen = held.load();
    while (is_ours(word(seen), token)) {
      if (!held.compare_exchange_strong(seen, word(seen).freed().bits())) continue;
      line_.wake_head();
      return true;
    }
    if (!file_.is_unusable()) return false;
  }
  const bool was_ours = file_.names_us(token) && file_.is_current();
  file_.give_up_slot();
  file_.detach();
  return was_ours;
}

[[gnu::noinline]] void file_session::note_deletion() noexcept {
  write_break(file_.get().header, {token(), party{}, std::chrono::system_clock::now()});
}

[[gnu::noinline]] void file_session::note_release(word held) noexcept {
  header& h = file_.get().header;
  if (h.word.load() != held.bits()) return;
  const instant since = file_.own().since.load(std::memory_order_relaxed);
  const bool is_exact = since == exact_begin_;
  // Newcomers that go first are many, and hold the lock for no time. An instant that is up to a
  // tick early is good enough: waiters may only use it 20 ms later, after calling the waiters
  // before them.
  if (is_exact && went_first_ && line::holds_are_very_short(h) && now_coarse() <= since) {
    return line::note_opening(h, held.freed(), since);
  }
  const instant freed_at = now();
  line::note_opening(h, held.freed(), freed_at);
  if (is_exact) line::note_hold(h, freed_at - since);
}

bool file_session::holds() const noexcept {
  return current_.load(std::memory_order_relaxed) != 0 && is_this_process();
}

bool file_session::owns_slot() const noexcept {
  return file_.own().session.load(std::memory_order_relaxed) == session_;
}

bool file_session::is_in_time() const noexcept {
  const instant deadline = deadline_.load(std::memory_order_relaxed);
  // The exact clock is asked only where the coarse one could be wrong.
  return deadline == never || now_coarse() + longest_lag < deadline || now() < deadline;
}

/// Whether a word belongs to our grant `token` (S9).
bool file_session::is_ours(word seen, std::uint64_t token) const noexcept {
  return seen.is_held() && seen.is_held_by(file_.own_slot()) &&
         file_.own().token.load(std::memory_order_relaxed) == token;
}

bool file_session::is_held() const noexcept {
  file_.prepare_thread();
  return holds() && is_named() && is_in_time() && path_is_current(now_coarse());
}

/// Whether the word belongs to our grant. Also reads it past a mapping that is unusable (S10).
bool file_session::is_named() const noexcept {
  return is_ours(word(file_.get().header.word.load())) ||
         (file_.is_unusable() && file_.names_us(token_.load()));
}

bool file_session::path_is_current(instant coarse_now) const noexcept {
  if (coarse_now < next_check_.load(std::memory_order_relaxed)) return true;
  if (!file_.is_current()) return false;
  next_check_.store(coarse_now + path_check_interval, std::memory_order_relaxed);
  return true;
}

void file_session::note_run(std::chrono::nanoseconds duration, int exit_code) noexcept {
  if (!holds() || !file_.is_signed()) return;  // it may be other data by now (acquire.cpp, A5)
  write_run(file_.get().header, {token(), duration, exit_code, std::chrono::system_clock::now()});
}

session::loss file_session::why_lost() const {
  loss l;
  if (!is_this_process() || !token()) return l;
  const instant deadline = deadline_.load(std::memory_order_relaxed);
  const word left(file_.get().header.word.load());
  lost_by by = lost_by_.load(std::memory_order_relaxed);
  if (by == lost_by::none && current_.load(std::memory_order_relaxed) != 0) {
    by = !is_named() ? lost_by::word : !file_.is_current() ? lost_by::path : lost_by::time;
    if (by == lost_by::time && is_in_time()) return l;  // it is not lost
  }
  const auto last_break = read_break(file_.get().header);
  const bool was_broken = last_break && last_break->token == token() && last_break->by.pid != 0;
  if (by == lost_by::none) return l;
  if (was_broken) {
    l.cause = lost_cause::broken;
  } else if (!file_.has_lifeline()) {
    l.cause = lost_cause::lifeline_closed;
  } else if (by == lost_by::path || file_.was_truncated()) {
    l.cause = lost_cause::deleted;
  } else if (by == lost_by::time || deadline <= now()) {
    l.cause = lost_cause::expired;
  } else if (!file_.is_current()) {
    l.cause = lost_cause::deleted;
  } else {
    l.cause = lost_cause::broken;  // only a break ends a live grant in time; no record says whose
  }
  if (!is_ours(word(file_.get().header.word.load()))) l.holder = look_around().holder;
  return l;
}

// It uses a mapping of its own: another thread may be opening the file anew in ours.
session::surroundings file_session::look_around() const {
  surroundings found;
  if (!is_this_process()) return found;
  std::error_code ec;
  const auto observed = observe(path(), as_observer_, ec);
  if (!observed) return found;
  const lock_state& seen = *observed;
  if (seen.holder) found.holder = seen.holder->who;
  found.waiters = seen.waiters.size();
  return found;
}

// Not for any thread at any time: a thread that acquires may be making the mapping anew.
std::optional<session::surroundings> file_session::look_inside() const {
  if (!is_this_process() || !file_.is_current())
    return std::nullopt;  // the path may have another file
  surroundings found;
  const image& f = file_.get();
  const std::uint32_t slots = file_.capacity();
  const std::uint32_t own = file_.own_slot();
  const word seen(f.header.word.load());
  if (seen.is_held() && seen.slot() < slots) {
    const slot& s = f.slots[seen.slot()];
    found.holder = described(s.pid, s.user, s.command, std::size(s.command));
  }
  if (f.header.last_to_join.load() == 0) return found;
  for (std::uint32_t i = 0; i < slots; ++i) {
    const bool waits = i != own && f.slots[i].ticket.load() != 0 && file_.is_alive(i);
    found.waiters += waits ? 1 : 0;
  }
  return found;
}

void file_session::set_lease(std::chrono::nanoseconds lease) noexcept { lease_.store(lease); }

std::chrono::nanoseconds file_session::lease() const noexcept { return lease_.load(); }

std::chrono::nanoseconds file_session::lease_remaining() const noexcept {
  if (!holds()) return std::chrono::nanoseconds(0);
  return between(now(), deadline_.load(std::memory_order_relaxed));
}

fencing_token file_session::token() const noexcept {
  return fencing_token(is_this_process() ? token_.load(std::memory_order_relaxed) : 0);
}

int file_session::lifeline() const noexcept { return is_this_process() ? file_.fd() : -1; }

party described(const shared<std::uint32_t>& pid, const shared<std::uint32_t>& user,
                const shared<std::uint64_t>* command, std::size_t words) {
  party p;
  p.pid = pid.load(std::memory_order_acquire);
  p.user = user.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < words; ++i) {
    const std::uint64_t bytes = command[i].load(std::memory_order_acquire);
    char text[sizeof bytes];
    std::memcpy(text, &bytes, sizeof bytes);
    p.command.append(text, sizeof text);
  }
  p.command.resize(std::strlen(p.command.c_str()));
  return p;
}

}  // namespace lockbyfile::file
