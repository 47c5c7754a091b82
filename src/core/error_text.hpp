// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <lockbyfile/error.hpp>

namespace lockbyfile {

/// What the code means, without the circumstances; null for a number that is no code.
const char* text_of(errc code) noexcept;

/// Makes `what` the last_failure() of this thread.
void remember(failure what) noexcept;

}  // namespace lockbyfile
