// SPDX-License-Identifier: Apache-2.0
//
// For bindings that hold a lock of their interpreter: the part of acquire that never waits.
#pragma once

#include "core/named_lock_impl.hpp"

namespace lockbyfile {

inline namespace v0 {

struct at_once {
  /// True with the lock held, which nobody held before; false with nothing changed, for whatever
  /// reason: then named_lock::acquire has the answer.
  static bool acquire(named_lock& lock) noexcept { return lock.impl_->acquire_at_once(); }
};

}  // namespace v0

}  // namespace lockbyfile
