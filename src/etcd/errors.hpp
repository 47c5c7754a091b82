// SPDX-License-Identifier: Apache-2.0
//
// The meaning of etcd's answers, in one place.
//
//   | what happened                         | error
//   | --------------------------------------+-----------------------------
//   | no server answered; no leader; half   | errc::unreachable
//   | of the members are down               |
//   | password, certificate, permission     | EACCES
//   | the database is full (alarm NOSPACE)  | ENOSPC
//   | endpoints of two clusters, no etcd    | errc::wrong_engine
//   | anything else                         | EPROTO, with etcd's words
#pragma once

#include <grpcpp/support/status.h>

#include <lockbyfile/error.hpp>
#include <string>

#include "etcd/url.hpp"

namespace lockbyfile::etcd {

inline constexpr const char* wrong_cluster_text = "the endpoints belong to different clusters";

/// May pass by itself: worth another endpoint, or another try.
bool is_transient(const grpc::Status& status);
/// The error to report where two endpoints failed. "Nobody listens at the next one" loses against a
/// more specific error of the one before.
grpc::Status more_telling(grpc::Status one, grpc::Status next);
/// The token has expired, or was never asked for.
bool wants_authentication(const grpc::Status& status);
/// Users and passwords are not switched on there: every client may do everything.
bool needs_no_authentication(const grpc::Status& status);
bool is_lease_not_found(const grpc::Status& status);
/// No process listens there, or there is no such host: asking again will not help soon.
bool is_nobody_there(const lock_error& e);

/// The error for `what` ("cannot acquire"), of the lock at `where`.
lock_error error_of(const grpc::Status& status, const std::string& what, const address& where);

}  // namespace lockbyfile::etcd
