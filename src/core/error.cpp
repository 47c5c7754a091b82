// SPDX-License-Identifier: Apache-2.0
#include "core/error_text.hpp"

namespace lockbyfile {

const char* text_of(errc code) noexcept {
  switch (code) {
    case errc::timed_out: return "patience ran out";
    case errc::cancelled: return "the wait was cancelled";
    case errc::would_deadlock: return "this thread holds the lock with this object already";
    case errc::not_holder: return "this lock object holds no grant";
    case errc::lease_lost: return "the grant was lost";
    case errc::in_use: return "the lock is held";
    case errc::token_mismatch: return "nothing was broken";
    case errc::not_found: return "no such lock";
    case errc::invalid_name: return "not a lock's name";
    case errc::invalid_option: return "not a usable option";
    case errc::wrong_engine: return "not a lockfile of this engine and format";
    case errc::damaged: return "the lockfile is damaged";
    case errc::too_many_sessions: return "too many sessions have the lock open";
    case errc::clock_mismatch: return "instants of two clocks cannot be compared";
    case errc::network_filesystem: return "a network filesystem cannot carry this lock";
    case errc::unreachable: return "the servers that keep the lock cannot be reached";
    case errc::stuck: return "another process stopped while it set up the lockfile";
  }
  return nullptr;
}

namespace {

class category final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "lockbyfile"; }

  [[nodiscard]] std::string message(int value) const override {
    const char* const text = text_of(static_cast<errc>(value));
    return text != nullptr ? text : "unknown error " + std::to_string(value);
  }

  [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
    switch (static_cast<errc>(value)) {
      case errc::timed_out: return std::errc::timed_out;
      case errc::cancelled: return std::errc::operation_canceled;
      case errc::would_deadlock: return std::errc::resource_deadlock_would_occur;
      case errc::invalid_name:
      case errc::invalid_option: return std::errc::invalid_argument;
      case errc::not_found: return std::errc::no_such_file_or_directory;
      case errc::in_use: return std::errc::device_or_resource_busy;
      default: return {value, *this};
    }
  }
};

/// Never destroyed, because codes of ours may outlive it. Not a guarded static: a child that is
/// forked while a thread makes it would wait for that thread forever.
union immortal {
  category instance;
  constexpr immortal() noexcept : instance() {}
  ~immortal() {}
};
constinit const immortal the_category;

}  // namespace

const std::error_category& v0::lock_category() noexcept { return the_category.instance; }

namespace {

failure& failure_of_this_thread() noexcept {
  thread_local failure last;
  return last;
}

}  // namespace

const failure& v0::last_failure() noexcept { return failure_of_this_thread(); }

void remember(failure what) noexcept { failure_of_this_thread() = std::move(what); }

}  // namespace lockbyfile
