// SPDX-License-Identifier: Apache-2.0
//
// Locks in etcd with the interface of contenders.hpp: made in a directory, acquire and release. The
// name of the directory becomes the name of the lock. Nothing is opened before the first acquire,
// since the library underneath must not be carried over a fork.
//
// All use the same gRPC client (src/etcd/client.hpp). They differ in their messages:
//
//   ours             named_lock with a lease of 10 s
//   two transactions The least that changes hands: put a key if it is absent, delete it if it is
//                    ours. It never waits. Value and lease are as large as ours.
//   clientv3's way   Like clientv3's concurrency.Mutex, and so `etcdctl lock`, up to version 3.6.
//                    It puts its own key if absent and gets the first key. It waits for the
//                    deletion of the last key before its own, with a watch that starts at the
//                    revision of the read itself. It deletes its own key. The session's lease is
//                    reused. `etcdctl lock` itself takes a process for each grant, and cannot be
//                    timed from inside.
#pragma once

#include <chrono>
#include <cstdint>
#include <lockbyfile/named_lock.hpp>
#include <memory>
#include <string>

namespace lockbyfile::etcd {
class client;
}

namespace bench {

class ours_in_etcd {
 public:
  static constexpr const char* name = "lockbyfile (etcd)";
  explicit ours_in_etcd(const std::string& directory,
                        std::chrono::nanoseconds lease = std::chrono::seconds(10));
  void acquire();
  void release() { lock_->unlock(); }
  /// Opens it without acquiring.
  void open();

 private:
  std::string url_;
  std::chrono::nanoseconds lease_;
  std::unique_ptr<lockbyfile::named_lock> lock_;
};

/// A client and a lease that is granted when it is opened, and not kept alive: it is long enough.
class etcd_speaker {
 public:
  explicit etcd_speaker(const std::string& directory);
  ~etcd_speaker();
  etcd_speaker(const etcd_speaker&) = delete;
  etcd_speaker& operator=(const etcd_speaker&) = delete;

  void open();

 protected:
  /// Asks and throws if that fails. `method` is like "/etcdserverpb.KV/Txn".
  template <class Answer, class Request>
  Answer ask(const char* method, const Request& request);

  std::string prefix_;  // of the lock's keys
  std::string key_;     // ours
  std::int64_t lease_ = 0;
  std::int64_t created_ = 0;  // our key's create revision
  std::unique_ptr<lockbyfile::etcd::client> client_;
};

class two_transactions : public etcd_speaker {
 public:
  static constexpr const char* name = "two transactions";
  using etcd_speaker::etcd_speaker;
  void acquire();
  void release();
};

class clientv3_mutex : public etcd_speaker {
 public:
  static constexpr const char* name = "clientv3's way";
  using etcd_speaker::etcd_speaker;
  void acquire();
  void release();

 private:
  void wait_for_those_before();
};

}  // namespace bench
