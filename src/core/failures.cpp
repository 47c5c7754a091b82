// SPDX-License-Identifier: Apache-2.0
#include "core/failures.hpp"

#include <array>
#include <cstdio>

namespace lockbyfile {

namespace {

std::string text_of(std::chrono::nanoseconds d) {
  std::array<char, 32> text{};
  const double s = std::chrono::duration<double>(d).count();
  if (s < 1) {
    std::snprintf(text.data(), text.size(), "%.3g ms", s * 1e3);
  } else {
    std::snprintf(text.data(), text.size(), "%.*f s", s < 100 ? 1 : 0, s);
  }
  return text.data();
}

/// "; make (pid 7) holds the lock, and 2 others wait", as far as that is known.
std::string text_of_surroundings(const failure& f) {
  const std::string others = std::to_string(f.waiters) + (f.waiters == 1 ? " other" : " others");
  std::string text;
  if (f.holder) text += "; " + text_of(*f.holder) + " holds the lock";
  if (f.waiters != 0) {
    text += (f.holder ? ", and " : "; ") + others + (f.waiters == 1 ? " waits" : " wait");
  }
  return text;
}

std::string text_of(lost_cause cause, bool is_file) {
  switch (cause) {
    case lost_cause::none: return "";
    case lost_cause::expired: return ", since its lease ran out";
    case lost_cause::broken: return ", since somebody broke the lock";
    case lost_cause::deleted:
      return is_file ? ", since its lockfile was deleted or replaced"
                     : ", since its key was deleted";
    case lost_cause::unreachable: return ", since no server that keeps the lock answered in time";
    case lost_cause::lifeline_closed:
      return ", since this process closed the descriptor that keeps the lock alive";
  }
  return "";
}

std::string message_of(const failure& f, const char* tried) {
  std::string text = std::string(tried) + " " + f.path + ": ";
  const bool is_file = f.path.find("://") == std::string::npos;
  if (f.code == errc::timed_out || f.code == errc::cancelled) {
    const bool waited = f.waited > std::chrono::nanoseconds(0);
    text += f.code.message() + (waited ? " after " + text_of(f.waited) : "");
    return text + text_of_surroundings(f);
  }
  if (f.code == errc::lease_lost) {
    return text + "the grant was lost" + text_of(f.cause, is_file) + text_of_surroundings(f);
  }
  return text + f.code.message();
}

}  // namespace

std::string text_of(const party& who) {
  std::string text;
  for (const char c : who.command) {
    const bool is_control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    text += is_control ? '?' : c;
  }
  text += (text.empty() ? "process " : " (pid ") + std::to_string(who.pid);
  if (!who.host.empty()) text += " on " + who.host;
  if (!who.command.empty()) text += ')';
  return text;
}

failure failure_of(const session& s, std::error_code code, const char* tried,
                   lost_cause known) noexcept {
  const uncancelled us;
  failure f;
  f.code = code;
  f.cause = known;
  try {
    f.path = s.path();
    try {
      if (code == errc::lease_lost && known == lost_cause::none) {
        session::loss lost = s.why_lost();
        f.cause = lost.cause;
        f.holder = std::move(lost.holder);
      } else if (code == errc::lease_lost) {
        f.holder = s.look_around().holder;
      }
    } catch (const std::system_error&) {  // extra information only; the call has failed anyway
    }
    f.message = message_of(f, tried);
  } catch (...) {  // too little memory: the code alone has to do
  }
  return f;
}

failure failure_of(const session& s, const refusal& how) noexcept {
  const uncancelled us;
  failure f;
  f.code = how.code;
  const bool is_deadlock = how.code == errc::would_deadlock;
  if (!is_deadlock) f.waited = how.waited;
  try {
    f.path = s.path();
    try {
      session::surroundings found = how.seen ? *how.seen : s.look_around();
      f.holder = std::move(found.holder);
      if (!is_deadlock) f.waiters = found.waiters + how.in_process;
    } catch (const std::system_error&) {  // as above
      f.waiters = how.in_process;
    }
    f.message = message_of(f, "cannot acquire");
  } catch (...) {
  }
  return f;
}

void remember(const std::system_error& e) noexcept {
  try {
    if (const auto* ours = dynamic_cast<const lock_error*>(&e)) return remember(ours->details());
    failure f;
    f.code = e.code();
    f.message = e.what();
    remember(std::move(f));
  } catch (...) {
    failure f;
    f.code = e.code();
    remember(std::move(f));
  }
}

}  // namespace lockbyfile
