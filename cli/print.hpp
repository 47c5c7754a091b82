// SPDX-License-Identifier: Apache-2.0
//
// Results, on stdout.
#pragma once

#include <string>

namespace lockbyfile::cli {

/// Writes `text` to stdout. Throws std::runtime_error if that fails, as on a full disk.
void print(const std::string& text);

}  // namespace lockbyfile::cli
