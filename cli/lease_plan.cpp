// SPDX-License-Identifier: Apache-2.0
#include "lease_plan.hpp"

#include <algorithm>

namespace lockbyfile::cli {

lease_plan plan_for(std::chrono::nanoseconds lease,
                    std::optional<std::chrono::nanoseconds> kill_after) noexcept {
  using std::chrono::nanoseconds;
  const nanoseconds margin = std::min<nanoseconds>(std::chrono::milliseconds(100), lease / 20);
  const nanoseconds grace =
      kill_after.value_or(std::min<nanoseconds>(std::chrono::seconds(5), lease / 10));
  return {std::max(grace, margin), margin};
}

}  // namespace lockbyfile::cli
