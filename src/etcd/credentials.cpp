// SPDX-License-Identifier: Apache-2.0
#include "etcd/credentials.hpp"

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <lockbyfile/error.hpp>

namespace lockbyfile::etcd {

namespace {

constexpr const char* system_ca = "/etc/ssl/certs/ca-certificates.crt";

/// secure_getenv: the user of a setuid program must not choose where it reads.
std::string or_environment(const std::string& given, const char* variable) {
  if (!given.empty()) return given;
  const char* found = ::secure_getenv(variable);
  return found == nullptr ? "" : found;
}

std::string content(const std::string& path, const char* what, const std::string& lock) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file && !file.bad()) return text;
  const int error = errno != 0 ? errno : EIO;
  throw lock_error({error, std::system_category()},
                   std::string("cannot read the ") + what + " " + path + " for " + lock, path);
}

std::string content_if(const std::string& path, const char* what, const std::string& lock) {
  return path.empty() ? "" : content(path, what, lock);
}

[[noreturn]] void refuse(const std::string& why, const std::string& lock) {
  throw lock_error(errc::invalid_option, why + ": " + lock, lock);
}

}  // namespace

credentials::credentials(const address& where, const etcd_access& given)
    : user(or_environment(given.user.empty() ? where.user : given.user, "LOCKBYFILE_ETCD_USER")),
      password(given.password) {
  const std::string lock = where.text();
  if (password.empty() && !user.empty()) {
    const auto file = or_environment(given.password_file, "LOCKBYFILE_ETCD_PASSWORD_FILE");
    password = content_if(file, "password file", lock);
    password.resize(std::min(password.size(), password.find_first_of("\r\n")));
    if (password.empty()) refuse("there is a user for etcd but no password (file)", lock);
  }
  if (!where.tls) return;
  const auto ca_file = or_environment(given.ca_file, "LOCKBYFILE_ETCD_CACERT");
  const auto cert_file = or_environment(given.cert_file, "LOCKBYFILE_ETCD_CERT");
  const auto key_file = or_environment(given.key_file, "LOCKBYFILE_ETCD_KEY");
  if (cert_file.empty() != key_file.empty())
    refuse("a client certificate for etcd needs its key, and the other way round", lock);
  ca = content(ca_file.empty() ? system_ca : ca_file, "certificate authority", lock);
  certificate = content_if(cert_file, "client certificate", lock);
  key = content_if(key_file, "key of the client certificate", lock);
}

}  // namespace lockbyfile::etcd
