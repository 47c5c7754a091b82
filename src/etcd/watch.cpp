// SPDX-License-Identifier: Apache-2.0
//
// The stream deletes nothing itself: OnDone is its last call, and the destructor waits for it.
#include "etcd/watch.hpp"

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <condition_variable>
#include <mutex>

#include "etcd/bytes.hpp"
#include "etcd/no_signals.hpp"

namespace lockbyfile::etcd {

class watch::stream final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  stream(client& on, const std::string& key, std::int64_t from,
         std::function<void(const watch_event&)> tell)
      : client_(on), channel_(on.channel()), stub_(channel_), tell_(std::move(tell)) {
    wire::WatchRequest request;
    request.mutable_create_request()->set_key(key);
    request.mutable_create_request()->set_start_revision(from);
    asked_ = buffer_of(request.SerializeAsString());
    context_.AddMetadata("hasleader", "true");
    on.prepare(context_);
    stub_.PrepareBidiStreamingCall(&context_, "/etcdserverpb.Watch/Watch", {}, this);
    StartWrite(&asked_);
    StartRead(&answer_);
    StartCall();
  }

  void end() {
    context_.TryCancel();
    std::unique_lock guard(mutex_);
    done_.wait(guard, [this] { return is_done_; });
  }

  [[nodiscard]] bool is_where_calls_go() const { return channel_ == client_.channel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    wire::WatchResponse response;
    if (!response.ParseFromString(bytes_of(answer_)) || response.canceled() ||
        response.compact_revision() != 0) {
      context_.TryCancel();
      return;
    }
    if (response.created()) tell_({watch_event::kind::created, "", response.header().revision()});
    for (const wire::Event& e : response.events()) {
      tell_({e.type() == wire::Event::DELETE ? watch_event::kind::deleted : watch_event::kind::put,
             e.kv().value(), e.kv().mod_revision()});
    }
    StartRead(&answer_);
  }

  void OnDone(const grpc::Status& status) override {
    if (status.error_code() == grpc::StatusCode::UNAVAILABLE) client_.move_on();
    tell_({});
    const std::lock_guard guard(mutex_);
    is_done_ = true;
    done_.notify_all();  // under the mutex: we are gone as soon as it is free
  }

 private:
  client& client_;
  const std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
  std::function<void(const watch_event&)> tell_;
  grpc::ClientContext context_;
  grpc::ByteBuffer asked_;
  grpc::ByteBuffer answer_;
  std::mutex mutex_;
  std::condition_variable done_;
  bool is_done_ = false;
};

watch::watch(client& on, const std::string& key, std::int64_t from,
             std::function<void(const watch_event&)> tell) {
  const no_signals guard;
  stream_ = std::make_unique<stream>(on, key, from, std::move(tell));
}

bool watch::is_where_calls_go() const { return stream_->is_where_calls_go(); }

watch::~watch() {
  const no_signals guard;
  stream_->end();
}

}  // namespace lockbyfile::etcd
