// SPDX-License-Identifier: Apache-2.0
//
// The engine as a table of its functions. A program may have it linked in (cli/), or in a module
// that is loaded (module.cpp).
#include "etcd/engine.hpp"

#include "etcd/deeds.hpp"
#include "etcd/session.hpp"

namespace lockbyfile::etcd {

namespace {

std::unique_ptr<session> open(std::string_view url, const lock_options& options) {
  return std::make_unique<etcd_session>(parse_url(url), options);
}

}  // namespace

const engine_table& engine() {
  static constexpr engine_table table{engine_version, open,   observe, glance,
                                      break_lock,     remove, list,    prune};
  return table;
}

}  // namespace lockbyfile::etcd
