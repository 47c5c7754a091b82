// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

namespace lockbyfile::cli {

/// Does what a verb was asked to do, and returns the exit code.
using action = std::function<int()>;

}  // namespace lockbyfile::cli
