// SPDX-License-Identifier: Apache-2.0
//
// The engine contract: what named_lock asks of whatever keeps the locks.
//
// An engine supplies sessions. A session is one open handle on one name; it has
// at most one grant at a time. Nothing above this line knows how an engine works,
// and an engine knows nothing of std::mutex idioms, patience or option parsing.
//
// Engines: the file engine (src/file), and the etcd engine (src/etcd), a module. Later ones join
// open_session(), and the suite that states this contract as claims (tests/conformance).
//
// Every engine keeps these claims, whatever happens to processes in between:
//   - at most one grant of a name is valid at an instant;
//   - a later grant has a larger token;
//   - an unexpired grant ends only by release, death of its holder, or break;
//   - a call for a grant that is no longer current changes nothing;
//   - acquire waits in the engine's own way, wakes when the lock opens, and leaves
//     nothing behind when it gives up; a grant that arrives together with the
//     deadline or the stop request is returned.
//
// Results (errc's first group) are set in `ec`; broken things are thrown as
// lock_error. Threads: acquire, renew, release and set_lease by one thread at a
// time, the const functions by any thread at any time. Two concurrent calls of
// acquire are refused (would_deadlock), not undefined.
#pragma once

#include <chrono>
#include <functional>
#include <lockbyfile/error.hpp>
#include <lockbyfile/grant.hpp>
#include <lockbyfile/options.hpp>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "core/instant.hpp"
#include "linux/uncancelled.hpp"

namespace lockbyfile {

class session {
 public:
  session() = default;
  virtual ~session() = default;
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  /// Waits until `deadline`, an instant; 0 tries once and does not wait.
  virtual std::optional<grant> acquire(instant deadline, const std::stop_token& stop,
                                       std::error_code& ec) = 0;
  /// Of the grant `of`. A later one, which another thread may have been given meanwhile, is not
  /// touched: lease_lost.
  virtual void renew(fencing_token of, std::error_code& ec) = 0;
  virtual void release(fencing_token of, std::error_code& ec) noexcept = 0;
  virtual void set_lease(std::chrono::nanoseconds lease) noexcept = 0;

  /// The fast way of acquire, for an engine that has one: the token of a grant that is `free`, or
  /// none with nothing changed, for whatever reason. Never waits. Not while a grant that was lost
  /// has not been given back.
  virtual fencing_token acquire_at_once() noexcept { return {}; }
  /// release, for who does not want to know whether the lease lasted.
  virtual void release_quietly(fencing_token of) noexcept {
    const uncancelled us;
    std::error_code ignored;
    release(of, ignored);
  }

  /// Has `tell` called whenever a grant is lost, by a thread of the engine that must not be kept;
  /// an empty one ends that, and none is called afterwards. For an engine whose servers tell. One
  /// that has to be asked does nothing.
  virtual void when_lost(std::function<void()> /*tell*/) {}  // NOLINT: others keep it

  /// named_lock::note_run.
  virtual void note_run(std::chrono::nanoseconds /*duration*/, int /*exit_code*/) noexcept {}

  /// Why the last grant of this session was lost, and who holds the lock now; asked after a call
  /// said lease_lost, before the next acquire. May look at the lock, and so wait for a server.
  struct loss {
    lost_cause cause = lost_cause::none;
    std::optional<party> holder = {};
  };
  [[nodiscard]] virtual loss why_lost() const { return {}; }

  /// Who holds the lock and how many others wait; asked after acquire ended without a grant, so
  /// that its error can say it. May look at the lock, and so wait for a server.
  struct surroundings {
    std::optional<party> holder = {};
    std::size_t waiters = 0;
  };
  [[nodiscard]] virtual surroundings look_around() const { return {}; }

  /// The same for less: by the thread whose acquire has just failed, before another thread of this
  /// process may acquire. None if the engine has no cheaper way.
  [[nodiscard]] virtual std::optional<surroundings> look_inside() const { return std::nullopt; }

  [[nodiscard]] virtual std::chrono::nanoseconds lease() const noexcept = 0;
  [[nodiscard]] virtual std::chrono::nanoseconds lease_remaining() const noexcept = 0;
  [[nodiscard]] virtual std::chrono::nanoseconds certain_for() const noexcept {
    return is_held() ? no_lease : std::chrono::nanoseconds(0);
  }
  [[nodiscard]] virtual bool is_held() const noexcept = 0;
  [[nodiscard]] virtual fencing_token token() const noexcept = 0;
  [[nodiscard]] virtual const std::string& path() const noexcept = 0;
  [[nodiscard]] virtual int lifeline() const noexcept { return -1; }
};

/// Opens a session on `name` with the engine that the name asks for.
std::unique_ptr<session> open_session(std::string_view name, const lock_options& options);

}  // namespace lockbyfile
