// SPDX-License-Identifier: Apache-2.0
//
// How a grant was lost, found out afterwards by looking at the lock.
#pragma once

#include <chrono>
#include <lockbyfile/named_lock.hpp>
#include <string>

namespace lockbyfile::cli {

/// Why `lock`, which held a grant, holds it no longer: "it was broken, and make (pid
/// 12, bob) has it now". `lease_left` is lease_remaining() before it was released. To be
/// shown only: the lock may have moved on since.
[[nodiscard]] std::string why_lost(const named_lock& lock, std::chrono::nanoseconds lease_left);

}  // namespace lockbyfile::cli
