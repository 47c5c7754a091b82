// SPDX-License-Identifier: Apache-2.0
//
// The engine of etcd as a part of this program, in place of a module that is loaded.
#include "etcd/engine.hpp"

namespace lockbyfile {

const engine_table& etcd_engine(std::string_view /*name*/) { return etcd::engine(); }

}  // namespace lockbyfile
