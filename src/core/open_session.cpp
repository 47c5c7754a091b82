// SPDX-License-Identifier: Apache-2.0
#include "core/engine.hpp"
#include "core/engines.hpp"
#include "core/module_session.hpp"
#include "core/name.hpp"
#include "core/options.hpp"
#include "file/session.hpp"

namespace lockbyfile {

std::unique_ptr<session> open_session(std::string_view name, const lock_options& options) {
  check(options, name);
  const std::string full = full_name(name, options.directory);
  if (is_for_etcd(full)) return std::make_unique<module_session>(full, options);
  return std::make_unique<file::file_session>(resolve(full, options.directory), options);
}

}  // namespace lockbyfile
