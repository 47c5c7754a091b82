// SPDX-License-Identifier: Apache-2.0
//
// The engine as a module: others see only one function of it. The module contains a second, hidden
// copy of the parts of the library that it needs. Except the error category: there must be one in
// the process, because error codes are compared by its address.
#include <lockbyfile/error.hpp>

#include "core/engines.hpp"
#include "etcd/engine.hpp"

namespace lockbyfile {
inline namespace v0 {

namespace {
const std::error_category* category_of_the_host = nullptr;
}

const std::error_category& lock_category() noexcept { return *category_of_the_host; }

}  // namespace v0
}  // namespace lockbyfile

extern "C" __attribute__((visibility("default"))) const lockbyfile::engine_table*
lockbyfile_engine_module(const lockbyfile::engine_host* host) {
  lockbyfile::category_of_the_host = host->category;
  return &lockbyfile::etcd::engine();
}
