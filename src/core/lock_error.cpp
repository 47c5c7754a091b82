// SPDX-License-Identifier: Apache-2.0
//
// lock_error is in a file of its own because the module of an engine has a second copy of it. Of
// the error category there must be only one in a process (etcd/module.cpp).
#include <lockbyfile/error.hpp>
#include <utility>

namespace lockbyfile {

lock_error::lock_error(std::error_code code, const std::string& what, std::string path)
    : std::system_error(code, what) {
  failure f;
  f.code = code;
  f.message = std::system_error::what();
  f.path = std::move(path);
  failure_ = std::make_shared<const failure>(std::move(f));
}

lock_error::lock_error(failure what)
    : std::system_error(what.code, what.message),
      failure_(std::make_shared<const failure>(std::move(what))) {}

}  // namespace lockbyfile
