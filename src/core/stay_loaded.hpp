// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace lockbyfile {

/// Keeps the code of the library, and of the plugin that it may have been linked into, when the
/// program unloads it: signal handlers stay behind. The function is in the part of the library that
/// loads modules. It is null in a static program without that part, where nothing is unloaded.
[[gnu::weak]] void stay_loaded() noexcept;

}  // namespace lockbyfile
