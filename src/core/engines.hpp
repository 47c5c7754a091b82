// SPDX-License-Identifier: Apache-2.0
//
// Engines that are not part of the library: which names ask for one, and how it comes into the
// process. Such an engine is a module, loaded when the first name asks for it. So the library and
// the command do not depend on the libraries that the engine needs.
//
// The module is searched in two places, in this order. The first is the directory of the file that
// contains this code (the program or the shared library). The second is the directory that the
// build names (LOCKBYFILE_MODULE_DIRECTORY). Neither the current directory nor the environment
// counts. A setuid program looks only in the second place: a user might have made a link to the
// program in a directory of his own.
//
// fork: a module may have threads and descriptors that a child must not touch. The first name that
// asks for the module in the child gets a second instance. It is loaded from a copy of the file in
// memory, because the dynamic linker knows a file by its inode. So the parent's instance is left
// alone.
//
// A module and the library share C++ types, so both must be of the same build. The version checks
// that.
#pragma once

#include <lockbyfile/maintain.hpp>
#include <lockbyfile/observe.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "core/engine.hpp"

namespace lockbyfile {

inline constexpr const char* engine_version = "lockbyfile engine 2, C++ by " __VERSION__;

/// The functions of a module.
struct engine_table {
  const char* version;
  std::unique_ptr<session> (*open)(std::string_view name, const lock_options& options);
  lock_state (*observe)(std::string_view name, const lock_options& options);
  lock_state (*glance)(std::string_view name, const lock_options& options);  // for 100 ms at most
  void (*break_lock)(std::string_view name, fencing_token expected, const lock_options& options);
  void (*remove)(std::string_view name, const lock_options& options);
  std::vector<std::string> (*list)(std::string_view folder);
  std::vector<std::string> (*prune)(std::string_view folder);
};

/// What the library passes to a module.
struct engine_host {
  const std::error_category* category;
};

/// The one symbol of a module, `lockbyfile_engine_module`.
using engine_entry = const engine_table*(const engine_host*);

inline bool is_for_etcd(std::string_view name) noexcept {
  return name.starts_with("etcd://") || name.starts_with("etcds://");
}

/// Why there is no engine for `name`: `why` continues "..., and". `engine_needs` says what it takes
/// to build the engine.
inline lock_error no_engine(std::string_view name, const std::string& why) {
  const std::string scheme = std::string(name.substr(0, name.find("://"))) + "://";
  return {errc::wrong_engine,
          "lock name \"" + scheme + "...\" asks for the etcd engine, and " + why, scheme};
}
inline constexpr const char* engine_needs =
    "(it needs libgrpc++-dev, libprotobuf-dev and protobuf-compiler), or install the package "
    "lockbyfile-etcd";

/// The engine of this process for names that ask for etcd. Throws lock_error (wrong_engine) if the
/// module is missing or of another build; the error says what to install. A program may define this
/// function itself, instead of loading a module (cli/).
const engine_table& etcd_engine(std::string_view name);

/// The engine that `name` asks for, or null if that is the file engine.
inline const engine_table* other_engine(std::string_view name) {
  return is_for_etcd(name) ? &etcd_engine(name) : nullptr;
}

}  // namespace lockbyfile
