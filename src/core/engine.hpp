// SPDX-License-Identifier: Apache-2.0
//
// The engine contract: what named_lock asks of the code that keeps the locks.
//
// An engine supplies sessions. A session is one open handle on one name; it has at most one grant
// at a time. Code above this interface does not know how an engine works. An engine knows nothing
// of std::mutex idioms, patience or option parsing.
//
// Engines: the file engine (src/file), and the etcd engine (src/etcd), a module. A later engine
// joins open_session(), and the suite that states this contract as claims (tests/conformance).
//
// Every engine keeps these claims, whatever happens to processes in between:
//   - At most one grant of a name is valid at an instant.
//   - A later grant has a larger token.
//   - An unexpired grant ends only by release, death of its holder, or break.
//   - A call for a grant that is no longer current changes nothing.
//   - Acquire waits in the engine's own way, and wakes when the lock opens. It leaves nothing
//     behind when it gives up. A grant that arrives together with the deadline or the stop request
//     is returned.
//
// Results (errc's first group) are set in `ec`; broken things are thrown as lock_error. Threads:
// acquire, renew, release and set_lease by one thread at a time, the const functions by any thread
// at any time. Two concurrent calls of acquire are refused (would_deadlock), not undefined.
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
  /// Acts on the grant `of`. Another thread may have been given a later grant meanwhile; that one
  /// is not touched, and the result is lease_lost.
  virtual void renew(fencing_token of, std::error_code& ec) = 0;
  virtual void release(fencing_token of, std::error_code& ec) noexcept = 0;
  virtual void set_lease(std::chrono::nanoseconds lease) noexcept = 0;

  /// The fast path of acquire, for an engine that has one. Returns the token of a grant that is
  /// `free`, or none with nothing changed, whatever the reason. Never waits. Must not be called
  /// while a lost grant has not been released.
  virtual fencing_token acquire_at_once() noexcept { return {}; }
  /// release, for a caller that does not need to know whether the lease lasted.
  virtual void release_quietly(fencing_token of) noexcept {
    const uncancelled us;
    std::error_code ignored;
    release(of, ignored);
  }

  /// Sets `tell`, which is called whenever a grant is lost. A thread of the engine calls it and
  /// must not be kept. An empty function ends that, and none is called afterwards. For an engine
  /// whose servers report losses; an engine that has to be asked does nothing.
  virtual void when_lost(std::function<void()> /*tell*/) {}  // NOLINT: others keep it

  /// named_lock::note_run.
  virtual void note_run(std::chrono::nanoseconds /*duration*/, int /*exit_code*/) noexcept {}

  /// Why the last grant of this session was lost, and who holds the lock now. Asked after a call
  /// returned lease_lost, before the next acquire. May look at the lock, and so wait for a server.
  struct loss {
    lost_cause cause = lost_cause::none;
    std::optional<party> holder = {};
  };
  [[nodiscard]] virtual loss why_lost() const { return {}; }

  /// Who holds the lock and how many others wait. Asked after acquire ended without a grant, for
  /// its error. May look at the lock, and so wait for a server.
  struct surroundings {
    std::optional<party> holder = {};
    std::size_t waiters = 0;
  };
  [[nodiscard]] virtual surroundings look_around() const { return {}; }

  /// The same at a lower price. The thread whose acquire has just failed calls it before another
  /// thread of this process may acquire. None if the engine has no cheaper way.
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
