// SPDX-License-Identifier: Apache-2.0
//
// client: calls of etcd's API, on an endpoint that answers.
//
// Every call has a deadline. It is tried on the endpoint that answered last, then on each of the
// others once. Each endpoint gets a share of the time. So an endpoint that takes connections and
// answers nothing (a stopped member) leaves time for the next. A call may therefore have been
// carried out although it failed: the caller must be able to repeat it.
//
// If a token has expired, it is renewed and the call repeated, once. Endpoints of two clusters are
// noticed by the cluster's id and refused: they would be two locks.
//
// Threads: any number may call at once. fork: a child must neither touch nor destroy a client. The
// RPC library shares its descriptors with the parent (core/engines.hpp has the way out).
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "etcd.pb.h"
#include "etcd/clock.hpp"
#include "etcd/credentials.hpp"
#include "etcd/url.hpp"

namespace lockbyfile::etcd {

class client {
 public:
  client(const address& where, const etcd_access& access);

  /// `method` is like "/etcdserverpb.KV/Txn". Fills `answer` if the status is OK.
  template <class Request, class Response>
  grpc::Status call(const char* method, const Request& request, Response& answer,
                    instant deadline) {
    std::string reply;
    grpc::Status status = exchange(method, request.SerializeAsString(), reply, deadline);
    if (!status.ok()) return status;
    if (!answer.ParseFromString(reply)) return nonsense();
    return checked(answer.header().cluster_id());
  }

  /// Ends the lease, and with it the keys that hang on it.
  grpc::Status revoke(std::int64_t lease, instant deadline);

  /// Keeps the lease alive once. `ttl` gets its new time to live in seconds: zero or less if there
  /// is no such lease.
  grpc::Status keep_alive(std::int64_t lease, std::int64_t& ttl, instant deadline);

  /// For streams: the channel that answered last, and the metadata that a call has to carry.
  [[nodiscard]] std::shared_ptr<grpc::Channel> channel() const;
  void prepare(grpc::ClientContext& context);
  /// A stream on it broke: the next one goes elsewhere.
  void move_on();

  /// Calls of this thread that wait for long ask `should_end` ten times a second. If it returns
  /// true, the call is given up as cancelled.
  class interruptible {
   public:
    explicit interruptible(const std::function<bool()>& should_end);
    ~interruptible();
    interruptible(const interruptible&) = delete;
    interruptible& operator=(const interruptible&) = delete;
  };

  [[nodiscard]] const address& where() const noexcept { return where_; }

 private:
  /// The first answer of an endpoint that can serve us, from the current one on; or what to report.
  grpc::Status try_each(const char* method, const std::string& request, std::string& reply,
                        instant deadline);
  grpc::Status exchange(const char* method, const std::string& request, std::string& reply,
                        instant deadline);
  grpc::Status try_once(std::size_t endpoint, const char* method, const std::string& request,
                        std::string& reply, instant deadline);
  grpc::Status authenticate(instant deadline);
  grpc::Status checked(std::uint64_t cluster);
  static grpc::Status nonsense();
  [[nodiscard]] instant share_of(instant deadline) const;

  const address where_;
  const credentials who_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::atomic<std::size_t> current_{0};
  std::atomic<std::uint64_t> cluster_{0};
  std::mutex mutex_;   // of token_
  std::string token_;  // empty: none yet, or none needed
  bool needs_none_ = false;
};

}  // namespace lockbyfile::etcd
