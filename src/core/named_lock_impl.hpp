// SPDX-License-Identifier: Apache-2.0
//
// What a named_lock and the keep_alive that renews it share.
//
// A session is made for one thread that acquires and releases. Threads that share an object take
// turns (turns.hpp), and so does a keep_alive. Until a second one comes there are no turns and no
// cost. An acquisition may wait for long, so it is not made under the mutex of the turns. A
// keep_alive renews one grant, by its token, and leaves every other grant alone.
//
// Whose grant it is. `owner_` is the thread that acquired the grant, and `owned_` is its token.
// They are written in this order and read in the reverse order. So a thread that reads the token of
// the current grant also reads the thread that acquired it, never an earlier owner (O1). Only that
// thread deadlocks when it acquires again.
//
// Without turns, a thread first reads the token of its grant, then looks for turns, and then
// releases or renews exactly that grant. Another thread may be granted the lock in between, however
// long that takes. Its grant then has another token (O2). A thread that reads another thread's
// token also sees turns.
#pragma once

#include <atomic>
#include <cstdint>
#include <lockbyfile/named_lock.hpp>
#include <mutex>

#include "core/engine.hpp"
#include "core/failures.hpp"
#include "core/hidden.hpp"
#include "core/turns.hpp"
#include "linux/process_epoch.hpp"

namespace lockbyfile {

class LOCKBYFILE_HIDDEN named_lock::impl {
 public:
  impl(std::unique_ptr<lockbyfile::session> s, const lock_options& options)
      : session(std::move(s)), patience(options.patience), gives_up_(options.gives_up) {}
  ~impl() {
    turns* const t = mine();  // another process's may be locked forever
    if (t != nullptr && t->has_asked()) session->when_lost({});
    delete t;
  }
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  /// On failure `how` has the reason; failure_of() has the circumstances.
  std::optional<grant> acquire(std::chrono::nanoseconds p, const std::stop_token& stop,
                               refusal& how);
  /// True with the lock held. False: the caller has to use acquire.
  bool acquire_at_once() noexcept {
    if (!has_no_turns()) return false;
    const fencing_token token = session->acquire_at_once();
    if (!token) return false;
    own(token);
    return true;
  }
  void release_quietly() noexcept {
    const fencing_token of = owned();  // (O2)
    if (has_no_turns()) {
      owner_.store(0, std::memory_order_relaxed);
      session->release_quietly(of);
      if (turns_.load() == nullptr) return;  // (T1)
      return wake_others();
    }
    std::error_code ignored;
    lost_cause unused{};
    release(ignored, unused);
  }
  /// `known` is why the grant was lost, if another thread's grant has replaced it since.
  void renew(std::error_code& ec, lost_cause& known) noexcept;
  /// Acts only on the grant `token`; not_holder if it is over and was released.
  void renew_for(fencing_token token, std::error_code& ec) noexcept;
  void release(std::error_code& ec, lost_cause& known) noexcept;

  /// For renew_for: the token of the grant that is held now.
  fencing_token keep_alive_from_now() {
    const std::lock_guard guard(shared().use);
    return session->token();
  }

  /// Makes an engine that notices losses by itself report them, until unsubscribe.
  turns::subscription subscribe(std::function<void()> tell) {
    turns& t = shared();
    const auto made = t.subscribe(std::move(tell));
    if (t.first_to_ask()) session->when_lost([&t] { t.tell_of_loss(); });
    return made;
  }
  void unsubscribe(turns::subscription which) noexcept { shared().unsubscribe(which); }

  const std::unique_ptr<lockbyfile::session> session;
  const std::chrono::nanoseconds patience;

 private:
  std::optional<grant> in_turn(instant deadline, const std::stop_token& stop, std::error_code& ec,
                               refusal& how);
  /// A thread of this process; in the child of a fork it differs.
  [[nodiscard]] static std::uint64_t asking_mark() noexcept {
    return this_thread() ^ process_epoch() << 48;
  }
  [[nodiscard]] static bool is_of_this_process(std::uint64_t mark) noexcept {
    return mark != 0 && mark >> 48 == (process_epoch() & 0xffff);
  }
  std::optional<grant> ask_session(turns* t, instant deadline, const std::stop_token& stop,
                                   std::error_code& ec, refusal& how);
  [[nodiscard]] bool is_asked_by_another() const noexcept;
  void own(fencing_token token) noexcept {
    owner_.store(this_thread(), std::memory_order_release);
    owned_.store(token.value(), std::memory_order_release);
  }
  /// The token of the grant that was not released, if there is one, lost or not (O1).
  [[nodiscard]] thread_mark owner() const noexcept {
    const std::uint64_t owned = owned_.load(std::memory_order_acquire);
    const thread_mark who = owner_.load(std::memory_order_acquire);
    return owned != 0 && session->token().value() == owned ? who : 0;
  }

  [[nodiscard]] fencing_token owned() const noexcept {
    return fencing_token(owned_.load(std::memory_order_acquire));
  }

  [[nodiscard]] bool has_no_turns() const noexcept {
    return turns_.load(std::memory_order_relaxed) == nullptr;
  }
  [[nodiscard]] turns* mine() const noexcept {
    turns* const t = turns_.load();
    return t != nullptr && t->process == process_epoch() ? t : nullptr;
  }
  turns& shared();
  void wake_others() const noexcept {
    if (turns* const t = mine()) t->have_changed();
  }

  std::atomic<turns*> turns_{nullptr};
  std::atomic<thread_mark> owner_{0};     // 0: released
  std::atomic<std::uint64_t> owned_{0};   // token
  std::atomic<std::uint64_t> asking_{0};  // mark of the thread that uses the session, and may wait
  const std::function<bool()> gives_up_;
};

}  // namespace lockbyfile
