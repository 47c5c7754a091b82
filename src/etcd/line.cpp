// SPDX-License-Identifier: Apache-2.0
#include "etcd/line.hpp"

#include <utility>

#include "etcd/errors.hpp"

namespace lockbyfile::etcd {

namespace {

using wire::Compare;
using wire::TxnRequest;

void require_created(TxnRequest& t, const std::string& key, std::int64_t revision) {
  Compare* c = t.add_compare();
  c->set_target(Compare::CREATE);
  c->set_key(key);
  c->set_create_revision(revision);
}

void require_modified(TxnRequest& t, const std::string& key, std::int64_t revision) {
  Compare* c = t.add_compare();
  c->set_target(Compare::MOD);
  c->set_key(key);
  c->set_mod_revision(revision);
}

void require_all(TxnRequest& t, const lock_keys& keys, Compare::Result result,
                 std::int64_t revision) {
  Compare* c = t.add_compare();
  c->set_target(Compare::CREATE);
  c->set_result(result);
  c->set_key(keys.prefix);
  c->set_range_end(keys.prefix_end);
  c->set_create_revision(revision);
}

void require_none(TxnRequest& t, const lock_keys& keys) { require_all(t, keys, Compare::EQUAL, 0); }

void put(wire::RequestOp* op, const std::string& key, std::string value, std::int64_t lease) {
  op->mutable_put()->set_key(key);
  op->mutable_put()->set_value(std::move(value));
  op->mutable_put()->set_lease(lease);
}

void get(wire::RequestOp* op, const std::string& key) { op->mutable_range()->set_key(key); }

void remove(wire::RequestOp* op, const std::string& key) {
  op->mutable_delete_range()->set_key(key);
}

/// The newest `limit` places, of those up to `newest` (0: of all).
void get_newest(wire::RequestOp* op, const lock_keys& keys, std::int64_t newest, int limit) {
  wire::RangeRequest* r = op->mutable_range();
  r->set_key(keys.prefix);
  r->set_range_end(keys.prefix_end);
  r->set_sort_target(wire::RangeRequest::CREATE);
  r->set_sort_order(wire::RangeRequest::DESCEND);
  r->set_max_create_revision(newest);
  r->set_limit(limit);
}

place place_in(const wire::KeyValue& kv) {
  return {kv.key(), kv.create_revision(), kv.mod_revision(), kv.lease(), read_entry(kv.value())};
}

std::optional<record> record_in(const wire::RangeResponse& r) {
  return r.kvs_size() == 0 ? std::nullopt : read_record(r.kvs(0).value());
}

void read_outcome(const wire::TxnResponse& answer, standing& found) {
  found = {};
  found.revision = answer.header().revision();
  found.is_granted = answer.succeeded();
}

/// Reads the answer of a Txn whose success is a grant and get_record.
void read_grant(const wire::TxnResponse& answer, std::int64_t created, standing& found) {
  read_outcome(answer, found);
  if (!found.is_granted) return;
  found.created = created;
  if (answer.responses_size() == 1) found.last = record_in(answer.responses(0).range());
}

/// Reads the answer of a Txn whose success is the put of our place and get_record.
void read_put(const wire::TxnResponse& answer, standing& found) {
  found.created = found.revision;
  if (answer.responses_size() == 2) found.last = record_in(answer.responses(1).range());
}

/// Takes over a place that an earlier try made, whose answer was lost. If a grant made the place,
/// its token is the one that the place shows (L2).
void take_up(const wire::KeyValue& us, standing& found) {
  if (found.is_granted && read_entry(us.value()).is_granted) found.revision = us.create_revision();
}

/// Nothing is before a place with create revision `created`, when this one is the only other.
void read_before(const wire::RangeResponse& r, int from, standing& found) {
  if (r.kvs_size() <= from) return;
  found.before = place_in(r.kvs(from));
  found.is_before_first = r.kvs_size() == from + 1;
}

}  // namespace

grpc::Status line::transact(const TxnRequest& request, wire::TxnResponse& answer,
                            instant deadline) {
  return on_.call("/etcdserverpb.KV/Txn", request, answer, deadline);
}

grpc::Status line::transact(const TxnRequest& request, bool& done, instant deadline) {
  wire::TxnResponse answer;
  grpc::Status status = transact(request, answer, deadline);
  done = answer.succeeded();
  return status;
}

void line::put_record(TxnRequest& request, const record& r) const {
  if (!keys_.record.empty()) put(request.add_success(), keys_.record, written(r), 0);
}

void line::get_record(TxnRequest& request) const {
  if (!keys_.record.empty()) get(request.add_success(), keys_.record);
}

grpc::Status line::try_once(std::int64_t lease, const entry& e, standing& found, instant deadline) {
  const std::string own = keys_.place(lease);
  TxnRequest t;
  require_none(t, keys_);
  put(t.add_success(), own, written(e), lease);
  get_record(t);
  get(t.add_failure(), own);
  get_newest(t.add_failure(), keys_, 0, 2);
  wire::TxnResponse answer;
  grpc::Status status = transact(t, answer, deadline);
  if (!status.ok()) return status;
  read_outcome(answer, found);
  if (found.is_granted) {
    read_put(answer, found);
  } else if (answer.responses_size() == 2) {
    const wire::RangeResponse& us = answer.responses(0).range();
    if (us.kvs_size() == 1) {
      grpc::Status again = take_or_leave(lease, us.kvs(0).create_revision(), found, deadline);
      take_up(us.kvs(0), found);
      if (!again.ok() || found.is_granted) return again;
    }
    read_before(answer.responses(1).range(), 0, found);
  }
  return status;
}

grpc::Status line::join(std::int64_t lease, const entry& granted, const entry& waiting,
                        standing& found, instant deadline) {
  const std::string own = keys_.place(lease);
  TxnRequest t;
  require_none(t, keys_);
  put(t.add_success(), own, written(granted), lease);
  get_record(t);
  TxnRequest* other = t.add_failure()->mutable_txn();
  require_created(*other, own, 0);
  put(other->add_success(), own, written(waiting), lease);
  get(other->add_failure(), own);
  get_newest(t.add_failure(), keys_, 0, 3);
  wire::TxnResponse answer;
  grpc::Status status = transact(t, answer, deadline);
  if (!status.ok()) return status;
  read_outcome(answer, found);
  found.created = found.revision;
  if (found.is_granted) read_put(answer, found);
  if (found.is_granted || answer.responses_size() != 2) return status;
  const wire::TxnResponse& joined = answer.responses(0).txn();
  if (joined.succeeded()) {
    const wire::RangeResponse& newest = answer.responses(1).range();
    read_before(newest, 1, found);
    found.ahead = static_cast<std::size_t>(newest.count() > 2 ? newest.count() - 2 : 0);
  } else if (joined.responses_size() == 1 && joined.responses(0).range().kvs_size() == 1) {
    const wire::KeyValue& us = joined.responses(0).range().kvs(0);
    grpc::Status again = look(lease, us.create_revision(), nullptr, found, deadline);
    take_up(us, found);
    return again;
  }
  return status;
}

grpc::Status line::look(std::int64_t lease, std::int64_t created, const place* first,
                        standing& found, instant deadline) {
  const std::string own = keys_.place(lease);
  TxnRequest t;
  require_created(t, own, created);
  if (first == nullptr) {
    require_all(t, keys_, Compare::GREATER, created - 1);
  } else {
    require_created(t, first->key, first->created);
    t.mutable_compare(1)->set_result(Compare::NOT_EQUAL);  // 0 if there is no such key
  }
  get_record(t);
  get(t.add_failure(), own);
  get_newest(t.add_failure(), keys_, created - 1, 2);
  wire::TxnResponse answer;
  grpc::Status status = transact(t, answer, deadline);
  if (!status.ok()) return status;
  read_grant(answer, created, found);
  if (!found.is_granted && answer.responses_size() == 2) {
    const wire::RangeResponse& us = answer.responses(0).range();
    if (us.kvs_size() == 1 && us.kvs(0).create_revision() == created) found.created = created;
    read_before(answer.responses(1).range(), 0, found);
  }
  return status;
}

bool line::is_worth_a_look(std::int64_t lease, std::int64_t created, place& before,
                           instant deadline) {
  TxnRequest t;
  get(t.add_success(), keys_.place(lease));
  get(t.add_success(), before.key);
  wire::TxnResponse answer;
  if (!transact(t, answer, deadline).ok() || answer.responses_size() != 2) return true;
  const wire::RangeResponse& us = answer.responses(0).range();
  const wire::RangeResponse& other = answer.responses(1).range();
  if (other.kvs_size() == 0 || other.kvs(0).create_revision() != before.created) return true;
  before = place_in(other.kvs(0));
  return us.kvs_size() == 0 || us.kvs(0).create_revision() != created;
}

grpc::Status line::take_or_leave(std::int64_t lease, std::int64_t created, standing& found,
                                 instant deadline) {
  const std::string own = keys_.place(lease);
  TxnRequest t;
  require_created(t, own, created);
  require_all(t, keys_, Compare::GREATER, created - 1);
  get_record(t);
  TxnRequest* other = t.add_failure()->mutable_txn();
  require_created(*other, own, created);
  remove(other->add_success(), own);
  wire::TxnResponse answer;
  grpc::Status status = transact(t, answer, deadline);
  if (status.ok()) read_grant(answer, created, found);
  return status;
}

grpc::Status line::show(std::int64_t lease, std::int64_t created, const entry& granted,
                        const record* told, instant deadline) {
  const std::string own = keys_.place(lease);
  TxnRequest t;
  require_modified(t, own, created);
  put(t.add_success(), own, written(granted), lease);
  if (told != nullptr) put_record(t, *told);
  bool done = false;
  return transact(t, done, deadline);
}

grpc::Status line::take_away(const place& expired, bool& done, instant deadline) {
  record r{expired.what, expired.created, ending::expired};
  if (!keys_.record.empty()) {
    TxnRequest ask;
    get_record(ask);
    wire::TxnResponse answer;
    grpc::Status status = transact(ask, answer, deadline);
    if (!status.ok()) return status;
    if (answer.responses_size() == 1) {
      if (auto last = record_in(answer.responses(0).range())) r.before = std::move(last->before);
    }
  }
  TxnRequest t;
  require_modified(t, expired.key, expired.modified);
  remove(t.add_success(), expired.key);
  put_record(t, r);
  return transact(t, done, deadline);
}

grpc::Status line::renew(std::int64_t lease, std::int64_t created, const entry& e, bool& done,
                         instant deadline) {
  const std::string own = keys_.place(lease);
  TxnRequest t;
  require_created(t, own, created);
  put(t.add_success(), own, written(e), lease);
  return transact(t, done, deadline);
}

grpc::Status line::end(std::int64_t lease, std::int64_t created, const record& r, bool& done,
                       instant deadline) {
  const std::string own = keys_.place(lease);
  TxnRequest t;
  require_created(t, own, created);
  remove(t.add_success(), own);
  put_record(t, r);
  if (!keys_.record.empty()) get(t.add_failure(), keys_.record);
  wire::TxnResponse answer;
  grpc::Status status = transact(t, answer, deadline);
  done = answer.succeeded();
  if (!done && answer.responses_size() == 1) {  // perhaps the answer to our first try was lost
    const auto last = record_in(answer.responses(0).range());
    done = last && last->created == created && last->end == r.end;
  }
  return status;
}

grpc::Status line::expire(std::int64_t lease, std::int64_t created, const entry& marked,
                          const record& r, bool& ended, bool& done, instant deadline) {
  const std::string own = keys_.place(lease);
  TxnRequest t;
  require_created(t, own, created);
  require_all(t, keys_, Compare::LESS, created + 1);
  put(t.add_success(), own, written(marked), lease);
  TxnRequest* other = t.add_failure()->mutable_txn();
  require_created(*other, own, created);
  remove(other->add_success(), own);
  put_record(*other, r);
  wire::TxnResponse answer;
  grpc::Status status = transact(t, answer, deadline);
  ended = false;
  done = answer.succeeded();
  if (!done && answer.responses_size() == 1) done = ended = answer.responses(0).txn().succeeded();
  return status;
}

grpc::Status line::read(std::vector<place>& places, std::optional<record>& last, bool& has_record,
                        instant deadline) {
  TxnRequest t;
  wire::RangeRequest* all = t.add_success()->mutable_range();
  all->set_key(keys_.prefix);
  all->set_range_end(keys_.prefix_end);
  all->set_sort_target(wire::RangeRequest::CREATE);
  all->set_sort_order(wire::RangeRequest::ASCEND);
  if (!keys_.record.empty()) get(t.add_success(), keys_.record);
  wire::TxnResponse answer;
  grpc::Status status = transact(t, answer, deadline);
  if (!status.ok()) return status;
  places.clear();
  if (answer.responses_size() > 0)
    for (const auto& kv : answer.responses(0).range().kvs()) places.push_back(place_in(kv));
  has_record = answer.responses_size() > 1 && answer.responses(1).range().kvs_size() != 0;
  if (has_record) last = record_in(answer.responses(1).range());
  return status;
}

grpc::Status line::break_open(const place& holder, const history& before, bool& done,
                              instant deadline) {
  TxnRequest t;
  require_modified(t, holder.key, holder.modified);
  remove(t.add_success(), holder.key);
  entry was = holder.what;
  was.token = holder.token();
  put_record(t, {was, holder.created, ending::broken, false, before});
  return transact(t, done, deadline);
}

std::optional<bool> line::has_lease(std::int64_t lease, instant deadline) {
  wire::LeaseTimeToLiveRequest request;
  request.set_id(lease);
  wire::LeaseTimeToLiveResponse answer;
  const grpc::Status status =
      on_.call("/etcdserverpb.Lease/LeaseTimeToLive", request, answer, deadline);
  if (is_lease_not_found(status)) return false;
  if (!status.ok()) return std::nullopt;
  return answer.ttl() > 0;
}

grpc::Status line::forget(bool& done, instant deadline) {
  TxnRequest t;
  require_none(t, keys_);
  remove(t.add_success(), keys_.record);
  return transact(t, done, deadline);
}

}  // namespace lockbyfile::etcd
