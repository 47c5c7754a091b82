// SPDX-License-Identifier: Apache-2.0
//
// Why a grant was lost, in words.
#pragma once

#include <chrono>
#include <lockbyfile/error.hpp>
#include <string>

namespace lockbyfile::cli {

/// The cause that a failed call of the library reports: "it was broken, and make (pid 12, bob) has
/// it now". Empty if the library does not know the cause.
[[nodiscard]] std::string loss_text(const failure& what);

/// The same, found by observing the lock `path`, whose grant `token` was lost. `lease_left` is
/// lease_remaining() from before the release. May take long. Only for messages: the state of the
/// lock may have changed since.
[[nodiscard]] std::string why_lost(const std::string& path, fencing_token token,
                                   std::chrono::nanoseconds lease_left);

}  // namespace lockbyfile::cli
