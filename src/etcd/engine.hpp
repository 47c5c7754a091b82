// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/engines.hpp"

namespace lockbyfile::etcd {

const engine_table& engine();

}  // namespace lockbyfile::etcd
