// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <lockbyfile/options.hpp>
#include <string_view>

namespace lockbyfile {

/// Throws lock_error (invalid_option), naming the lock, for options that cannot be used.
void check_lease(std::chrono::nanoseconds lease, std::string_view name);
void check(const lock_options& options, std::string_view name);

}  // namespace lockbyfile
