// SPDX-License-Identifier: Apache-2.0
//
// How a grant was lost, found out afterwards by looking at the lock.
#pragma once

#include <lockbyfile/named_lock.hpp>
#include <string>

namespace lockbyfile::cli {

/// Why `lock`, which held a grant, holds it no longer: "it was broken, and make (pid
/// 12, bob) has it now". To be shown only: the lock may have moved on since.
[[nodiscard]] std::string why_lost(const named_lock& lock);

}  // namespace lockbyfile::cli
