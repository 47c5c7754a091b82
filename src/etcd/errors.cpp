// SPDX-License-Identifier: Apache-2.0
#include "etcd/errors.hpp"

#include <cerrno>
#include <string_view>

namespace lockbyfile::etcd {

namespace {

using grpc::StatusCode;

bool says(const grpc::Status& status, std::string_view text) {
  return status.error_message().find(text) != std::string::npos;
}

/// The handshake of TLS failed: the code is the same as of a dead server, only the words differ.
bool is_about_certificates(const grpc::Status& status) {
  return says(status, "andshake") || says(status, "certificate") || says(status, "SSL") ||
         says(status, "ssl") || says(status, "Peer name");
}

std::error_code system(int error) { return {error, std::system_category()}; }

/// A member that cannot reach the others may report it without a code of its own.
bool is_without_leader(const grpc::Status& status) {
  switch (status.error_code()) {
    case StatusCode::UNAVAILABLE:
      return says(status, "no leader") || says(status, "request timed out") ||
             says(status, "leader changed");
    case StatusCode::UNKNOWN:
      return says(status, "context deadline exceeded") || says(status, "context canceled") ||
             says(status, "proposal dropped") || says(status, "raft: stopped");
    default: return false;
  }
}

struct meaning {
  std::error_code code;
  std::string text;
};

meaning meaning_of(const grpc::Status& status, const address& where) {
  const std::string words = " (" + status.error_message() + ")";
  if (is_without_leader(status))
    return {errc::unreachable, "etcd has no leader now: half of its members may be down" + words};
  switch (status.error_code()) {
    case StatusCode::UNAVAILABLE:
      if (where.tls && is_about_certificates(status))
        return {system(EACCES), "the certificates do not fit" + words};
      if (where.tls && (says(status, "Socket closed") || says(status, "reset") ||
                        says(status, "Endpoint read failed")))
        return {system(EACCES),
                "the server ended the connection: it may want a client certificate" + words};
      return {errc::unreachable, "no server answers" + words};
    case StatusCode::CANCELLED: return {errc::unreachable, "the call was cut off" + words};
    case StatusCode::DEADLINE_EXCEEDED:
      return {errc::unreachable,
              "no answer in time: half of its members may be down, or the "
              "network" +
                  words};
    case StatusCode::PERMISSION_DENIED:
      return {system(EACCES), "etcd grants this user no permission for its keys" + words};
    case StatusCode::UNAUTHENTICATED:
      return {system(EACCES), "etcd does not know this user" + words};
    case StatusCode::INVALID_ARGUMENT:
      if (says(status, "authentication failed"))
        return {system(EACCES), "user or password are wrong" + words};
      if (says(status, "user name is empty"))
        return {system(EACCES), "etcd wants a user and password, and none is given" + words};
      break;
    case StatusCode::RESOURCE_EXHAUSTED:
      if (says(status, "space exceeded"))
        return {system(ENOSPC), "etcd's database is full (alarm NOSPACE)" + words};
      break;
    case StatusCode::FAILED_PRECONDITION:
      if (says(status, wrong_cluster_text)) return {errc::wrong_engine, wrong_cluster_text};
      break;
    case StatusCode::UNIMPLEMENTED:
      return {errc::wrong_engine, "this is no etcd with the v3 API" + words};
    case StatusCode::NOT_FOUND:
      if (is_lease_not_found(status))
        return {errc::lease_lost, "its lease in etcd is gone" + words};
      break;
    default: break;
  }
  return {system(EPROTO), "etcd says: " + status.error_message()};
}

}  // namespace

bool is_transient(const grpc::Status& status) {
  switch (status.error_code()) {
    case StatusCode::UNAVAILABLE:
    case StatusCode::DEADLINE_EXCEEDED:
    case StatusCode::CANCELLED: return true;
    case StatusCode::RESOURCE_EXHAUSTED: return says(status, "too many requests");
    default: return is_without_leader(status);
  }
}

grpc::Status more_telling(grpc::Status one, grpc::Status next) {
  const bool is_nobody_there = next.error_code() == StatusCode::UNAVAILABLE &&
                               !is_without_leader(next) && !is_about_certificates(next);
  return is_nobody_there && !one.ok() ? std::move(one) : std::move(next);
}

bool wants_authentication(const grpc::Status& status) {
  return status.error_code() == StatusCode::UNAUTHENTICATED ||
         (status.error_code() == StatusCode::INVALID_ARGUMENT &&
          (says(status, "revision of auth store is old") || says(status, "user name is empty")));
}

bool needs_no_authentication(const grpc::Status& status) {
  return status.error_code() == StatusCode::FAILED_PRECONDITION && says(status, "not enabled");
}

bool is_lease_not_found(const grpc::Status& status) {
  return status.error_code() == StatusCode::NOT_FOUND && says(status, "lease not found");
}

bool is_nobody_there(const lock_error& e) {
  const std::string_view text = e.what();
  for (const char* const words :
       {"onnection refused", "DNS resolution failed", "omain name not found", "o route to host"}) {
    if (text.find(words) != std::string_view::npos) return true;
  }
  return false;
}

lock_error error_of(const grpc::Status& status, const std::string& what, const address& where) {
  const meaning m = meaning_of(status, where);
  const std::string path = where.text();
  return {m.code, what + ' ' + path + ": " + m.text, path};
}

}  // namespace lockbyfile::etcd
