// SPDX-License-Identifier: Apache-2.0
//
// For bindings that hold a lock of their interpreter: the part of acquire that never waits.
#pragma once

#include "core/named_lock_impl.hpp"

namespace lockbyfile {

inline namespace v0 {

struct at_once {
  /// True with the lock held, if nobody held it before. False with nothing changed, whatever the
  /// reason; named_lock::acquire then gives the answer.
  static bool acquire(named_lock& lock) noexcept { return lock.impl_->acquire_at_once(); }
};

}  // namespace v0

}  // namespace lockbyfile
