// SPDX-License-Identifier: Apache-2.0
#include "etcd/client.hpp"

#include <grpc/support/log.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>

#include "etcd/bytes.hpp"
#include "etcd/errors.hpp"
#include "etcd/no_signals.hpp"

namespace lockbyfile::etcd {

namespace {

constexpr instant longest_share = milliseconds(1500);

gpr_timespec as_timespec(instant ours) {
  const instant t = to_monotonic(ours);
  gpr_timespec result{};
  result.clock_type = GPR_CLOCK_MONOTONIC;
  result.tv_sec = static_cast<std::int64_t>(t / 1'000'000'000);
  result.tv_nsec = static_cast<std::int32_t>(t % 1'000'000'000);
  return result;
}

std::shared_ptr<grpc::ChannelCredentials> channel_credentials(const address& where,
                                                              const credentials& who) {
  if (!where.tls) return grpc::InsecureChannelCredentials();
  return grpc::SslCredentials(
      {.pem_root_certs = who.ca, .pem_private_key = who.key, .pem_cert_chain = who.certificate});
}

grpc::ChannelArguments channel_arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // Also the limit of a try. A machine on which hundreds connect at once is slow; if they gave up
  // and connected anew, it would never finish. With a longer limit, a server that is back after a
  // silence of the network would be noticed late.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 10'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);  // a dead machine sends nothing
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3'000);
  return arguments;
}

constexpr instant between_questions = milliseconds(100);

thread_local const std::function<bool()>* should_end_call = nullptr;
thread_local bool is_call_ended = false;

/// Waits for the one operation in flight; cancels the call when it should end.
bool completes(grpc::CompletionQueue& queue, grpc::ClientContext& context) {
  void* tag = nullptr;
  bool ok = false;
  if (should_end_call == nullptr) return queue.Next(&tag, &ok) && ok;
  for (;;) {
    const auto next = queue.AsyncNext(&tag, &ok, as_timespec(now() + between_questions));
    if (next != grpc::CompletionQueue::TIMEOUT)
      return next == grpc::CompletionQueue::GOT_EVENT && ok;
    if (is_call_ended || !(*should_end_call)()) continue;
    is_call_ended = true;
    context.TryCancel();
  }
}

void drain(grpc::CompletionQueue& queue) {
  queue.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) {
  }
}

}  // namespace

client::interruptible::interruptible(const std::function<bool()>& should_end) {
  should_end_call = &should_end;
  is_call_ended = false;
}

client::interruptible::~interruptible() {
  should_end_call = nullptr;
  is_call_ended = false;
}

client::client(const address& where, const etcd_access& access)
    : where_(where), who_(where, access) {
  const no_signals guard;
  gpr_set_log_function([](gpr_log_func_args*) {});  // we report the errors ourselves
  const auto credentials = channel_credentials(where_, who_);
  for (const std::string& endpoint : where_.endpoints) {
    channels_.push_back(
        grpc::CreateCustomChannel("dns:///" + endpoint, credentials, channel_arguments()));
  }
}

std::shared_ptr<grpc::Channel> client::channel() const { return channels_[current_.load()]; }

void client::move_on() { current_.store((current_.load() + 1) % channels_.size()); }

void client::prepare(grpc::ClientContext& context) {
  const std::lock_guard guard(mutex_);
  if (!token_.empty()) context.AddMetadata("token", token_);
}

instant client::share_of(instant deadline) const {
  if (channels_.size() == 1) return deadline;
  const instant begun = now();
  const auto left = static_cast<instant>(between(begun, deadline).count());
  return std::min(deadline,
                  begun + std::clamp(left / channels_.size(), milliseconds(50), longest_share));
}

grpc::Status client::try_once(std::size_t endpoint, const char* method, const std::string& request,
                              std::string& reply, instant deadline) {
  const no_signals guard;
  grpc::ClientContext context;
  context.set_deadline(as_timespec(deadline));
  prepare(context);
  grpc::GenericStub stub(channels_[endpoint]);
  grpc::CompletionQueue queue;
  const auto pending = stub.PrepareUnaryCall(&context, method, buffer_of(request), &queue);
  pending->StartCall();
  grpc::ByteBuffer answer;
  grpc::Status status;
  pending->Finish(&answer, &status, nullptr);
  completes(queue, context);
  drain(queue);
  if (status.ok()) reply = bytes_of(answer);
  return status;
}

grpc::Status client::try_each(const char* method, const std::string& request, std::string& reply,
                              instant deadline) {
  const std::size_t first = current_.load();
  grpc::Status told;  // by the endpoints that could not serve us
  for (std::size_t i = 0; i < channels_.size(); ++i) {
    const std::size_t endpoint = (first + i) % channels_.size();
    grpc::Status status = try_once(endpoint, method, request, reply, share_of(deadline));
    if (!is_transient(status)) {
      current_.store(endpoint);
      return status;
    }
    told = more_telling(std::move(told), std::move(status));
    if (now() >= deadline || is_call_ended) break;
  }
  move_on();
  return told;
}

grpc::Status client::exchange(const char* method, const std::string& request, std::string& reply,
                              instant deadline) {
  bool has_authenticated = false;
  if (!who_.user.empty()) {
    std::unique_lock guard(mutex_);
    const bool has_token = needs_none_ || !token_.empty();
    guard.unlock();
    if (!has_token) {
      has_authenticated = true;
      grpc::Status known = authenticate(deadline);
      if (!known.ok()) return known;
    }
  }
  grpc::Status status = try_each(method, request, reply, deadline);
  if (!wants_authentication(status) || who_.user.empty() || has_authenticated) return status;
  grpc::Status known = authenticate(deadline);
  if (!known.ok()) return known;
  return try_each(method, request, reply, deadline);
}

grpc::Status client::authenticate(instant deadline) {
  wire::AuthenticateRequest request;
  request.set_name(who_.user);
  request.set_password(who_.password);
  {
    const std::lock_guard guard(mutex_);
    token_.clear();
  }
  std::string reply;
  grpc::Status status =
      try_each("/etcdserverpb.Auth/Authenticate", request.SerializeAsString(), reply, deadline);
  if (status.ok()) {
    wire::AuthenticateResponse answer;
    if (!answer.ParseFromString(reply)) return nonsense();
    const std::lock_guard guard(mutex_);
    token_ = answer.token();
    return status;
  }
  if (!needs_no_authentication(status)) return status;
  const std::lock_guard guard(mutex_);
  needs_none_ = true;
  return grpc::Status::OK;
}

grpc::Status client::checked(std::uint64_t cluster) {
  std::uint64_t known = 0;
  if (cluster_.compare_exchange_strong(known, cluster) || known == cluster) return grpc::Status::OK;
  return {grpc::StatusCode::FAILED_PRECONDITION, wrong_cluster_text};
}

grpc::Status client::nonsense() {
  return {grpc::StatusCode::UNIMPLEMENTED, "its answer is none of etcd's v3 API"};
}

grpc::Status client::revoke(std::int64_t lease, instant deadline) {
  wire::LeaseRevokeRequest request;
  request.set_id(lease);
  wire::LeaseRevokeResponse answer;
  return call("/etcdserverpb.Lease/LeaseRevoke", request, answer, deadline);
}

grpc::Status client::keep_alive(std::int64_t lease, std::int64_t& ttl, instant deadline) {
  wire::LeaseKeepAliveRequest request;
  request.set_id(lease);
  const grpc::ByteBuffer asked = buffer_of(request.SerializeAsString());
  grpc::Status status;
  for (std::size_t i = 0; i < channels_.size() && now() < deadline && !is_call_ended; ++i) {
    const no_signals guard;
    grpc::ClientContext context;
    context.set_deadline(as_timespec(share_of(deadline)));
    context.AddMetadata("hasleader", "true");
    prepare(context);
    grpc::GenericStub stub(channel());
    grpc::CompletionQueue queue;
    const auto stream = stub.PrepareCall(&context, "/etcdserverpb.Lease/LeaseKeepAlive", &queue);
    stream->StartCall(nullptr);
    grpc::ByteBuffer reply;
    bool answered = completes(queue, context);
    if (answered) {
      stream->Write(asked, nullptr);
      answered = completes(queue, context);
    }
    if (answered) {
      stream->Read(&reply, nullptr);
      answered = completes(queue, context);
    }
    if (answered) {
      context.TryCancel();
    }
    stream->Finish(&status, nullptr);
    completes(queue, context);
    drain(queue);
    wire::LeaseKeepAliveResponse answer;
    if (answered) {
      if (!answer.ParseFromString(bytes_of(reply))) return nonsense();
      ttl = answer.ttl();
      return checked(answer.header().cluster_id());
    }
    if (wants_authentication(status) && !who_.user.empty()) (void)authenticate(deadline);
    move_on();
  }
  return status;
}

}  // namespace lockbyfile::etcd
