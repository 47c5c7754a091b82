// SPDX-License-Identifier: Apache-2.0
//
// Why a grant was lost, in words.
#pragma once

#include <chrono>
#include <lockbyfile/error.hpp>
#include <string>

namespace lockbyfile::cli {

/// What a failed call of the library says of it: "it was broken, and make (pid 12, bob) has it
/// now". Empty if the library does not know the cause.
[[nodiscard]] std::string loss_text(const failure& what);

/// The same, found out by looking at the lock `path`, whose grant `token` was lost. `lease_left` is
/// lease_remaining() before it was released. May take long. To be shown only: the lock may
/// have moved on since.
[[nodiscard]] std::string why_lost(const std::string& path, fencing_token token,
                                   std::chrono::nanoseconds lease_left);

}  // namespace lockbyfile::cli
