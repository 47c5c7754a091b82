// SPDX-License-Identifier: Apache-2.0
//
// What etcd's answers mean, in one place.
//
//   what happened                          error
//   no server answered; no leader; half
//   of the members are down                errc::unreachable
//   password, certificate, permission      EACCES
//   the database is full (alarm NOSPACE)   ENOSPC
//   endpoints of two clusters, no etcd     errc::wrong_engine
//   anything else                          EPROTO, with etcd's words
#pragma once

#include <grpcpp/support/status.h>

#include <lockbyfile/error.hpp>
#include <string>

#include "etcd/url.hpp"

namespace lockbyfile::etcd {

inline constexpr const char* wrong_cluster_text = "the endpoints belong to different clusters";

/// May go away by itself: worth another endpoint, or another try.
bool is_transient(const grpc::Status& status);
/// What to tell where two endpoints failed: not that nobody is at the next one, if the one before
/// said more.
grpc::Status more_telling(grpc::Status one, grpc::Status next);
/// The token has expired, or was never asked for.
bool wants_authentication(const grpc::Status& status);
/// Users and passwords are not switched on there: everybody may do everything.
bool needs_no_authentication(const grpc::Status& status);
bool is_lease_not_found(const grpc::Status& status);
/// No process listens there, or there is no such host: to ask again will not help soon.
bool is_nobody_there(const lock_error& e);

/// The error for `what` ("cannot acquire"), of the lock at `where`.
lock_error error_of(const grpc::Status& status, const std::string& what, const address& where);

}  // namespace lockbyfile::etcd
