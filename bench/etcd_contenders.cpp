// SPDX-License-Identifier: Apache-2.0
#include "etcd_contenders.hpp"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stdexcept>

#include "etcd/client.hpp"
#include "etcd/key.hpp"
#include "etcd/url.hpp"
#include "etcd/watch.hpp"
#include "etcd_metrics.hpp"

namespace bench {

namespace etcd = lockbyfile::etcd;
namespace wire = lockbyfile::etcd::wire;

namespace {

constexpr const char* txn = "/etcdserverpb.KV/Txn";
constexpr lockbyfile::instant longest_call = lockbyfile::milliseconds(5000);

std::string url_of(const std::string& directory) {
  return "etcd://" + etcd_endpoint() + "/bench" + directory.substr(directory.rfind('/'));
}

/// As long as what ours writes.
const std::string value(140, 'v');

void require_created(wire::TxnRequest& t, const std::string& key, std::int64_t revision) {
  wire::Compare* c = t.add_compare();
  c->set_target(wire::Compare::CREATE);
  c->set_key(key);
  c->set_create_revision(revision);
}

void put(wire::RequestOp* op, const std::string& key, std::int64_t lease) {
  op->mutable_put()->set_key(key);
  op->mutable_put()->set_value(value);
  op->mutable_put()->set_lease(lease);
}

/// The first or the last key by create revision; `newest` as in etcd, 0: of all.
void get_by_age(wire::RangeRequest* r, const etcd::lock_keys& keys, wire::RangeRequest::Order order,
                std::int64_t newest) {
  r->set_key(keys.prefix);
  r->set_range_end(keys.prefix_end);
  r->set_sort_target(wire::RangeRequest::CREATE);
  r->set_sort_order(order);
  r->set_limit(1);
  r->set_max_create_revision(newest);
}

}  // namespace

ours_in_etcd::ours_in_etcd(const std::string& directory, std::chrono::nanoseconds lease)
    : url_(url_of(directory)), lease_(lease) {}

void ours_in_etcd::open() {
  lock_ = std::make_unique<lockbyfile::named_lock>(url_, lockbyfile::lock_options{.lease = lease_});
}

void ours_in_etcd::acquire() {
  if (!lock_) open();
  lock_->lock();
}

etcd_speaker::etcd_speaker(const std::string& directory)
    : prefix_("bench" + directory.substr(directory.rfind('/'))) {}

etcd_speaker::~etcd_speaker() {
  if (client_) (void)client_->revoke(lease_, etcd::now() + longest_call);
}

template <class Answer, class Request>
Answer etcd_speaker::ask(const char* method, const Request& request) {
  Answer answer;
  const grpc::Status status = client_->call(method, request, answer, etcd::now() + longest_call);
  if (!status.ok()) throw std::runtime_error(status.error_message());
  return answer;
}

void etcd_speaker::open() {
  if (client_) return;
  const etcd::address where = etcd::parse_url("etcd://" + etcd_endpoint() + "/" + prefix_);
  client_ = std::make_unique<etcd::client>(where, lockbyfile::etcd_access{});
  wire::LeaseGrantRequest request;
  request.set_ttl(600);
  lease_ = ask<wire::LeaseGrantResponse>("/etcdserverpb.Lease/LeaseGrant", request).id();
  key_ = etcd::lock_keys(prefix_, true).place(lease_);
}

void two_transactions::acquire() {
  open();
  wire::TxnRequest t;
  require_created(t, key_, 0);
  put(t.add_success(), key_, lease_);
  const auto answer = ask<wire::TxnResponse>(txn, t);
  if (!answer.succeeded()) throw std::runtime_error("the key is there already");
  created_ = answer.header().revision();
}

void two_transactions::release() {
  wire::TxnRequest t;
  require_created(t, key_, created_);
  t.add_success()->mutable_delete_range()->set_key(key_);
  if (!ask<wire::TxnResponse>(txn, t).succeeded()) throw std::runtime_error("the key is gone");
}

void clientv3_mutex::acquire() {
  open();
  const etcd::lock_keys keys(prefix_, true);
  wire::TxnRequest t;
  require_created(t, key_, 0);
  put(t.add_success(), key_, lease_);
  get_by_age(t.add_success()->mutable_range(), keys, wire::RangeRequest::ASCEND, 0);
  t.add_failure()->mutable_range()->set_key(key_);
  get_by_age(t.add_failure()->mutable_range(), keys, wire::RangeRequest::ASCEND, 0);
  const auto answer = ask<wire::TxnResponse>(txn, t);
  if (!answer.succeeded()) throw std::runtime_error("the key is there already");
  created_ = answer.header().revision();
  const auto& first = answer.responses(1).range();
  if (first.kvs_size() == 1 && first.kvs(0).create_revision() != created_) wait_for_those_before();
}

void clientv3_mutex::wait_for_those_before() {
  const etcd::lock_keys keys(prefix_, true);
  for (;;) {
    wire::RangeRequest request;
    get_by_age(&request, keys, wire::RangeRequest::DESCEND, created_ - 1);
    const auto before = ask<wire::RangeResponse>("/etcdserverpb.KV/Range", request);
    if (before.kvs_size() == 0) return;
    std::mutex mutex;
    std::condition_variable changed;
    bool is_gone = false;
    const etcd::watch watch(*client_, before.kvs(0).key(), before.header().revision(),
                            [&](const etcd::watch_event& e) {
                              using kind = etcd::watch_event::kind;
                              if (e.what != kind::deleted && e.what != kind::broken) return;
                              const std::lock_guard guard(mutex);
                              is_gone = true;
                              changed.notify_all();
                            });
    std::unique_lock guard(mutex);
    changed.wait(guard, [&] { return is_gone; });
  }
}

void clientv3_mutex::release() {
  wire::DeleteRangeRequest request;
  request.set_key(key_);
  (void)ask<wire::DeleteRangeResponse>("/etcdserverpb.KV/DeleteRange", request);
}

}  // namespace bench
