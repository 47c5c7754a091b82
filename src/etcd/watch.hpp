// SPDX-License-Identifier: Apache-2.0
//
// watch: reports the changes of one key from a revision on, until it is destroyed.
//
// (W1) It starts now, and reports at which revision that was, as `created`. A caller that has read
//      the key at an earlier revision reads it once more. The simpler design is to start after the
//      revision of the read. It misses nothing. But if anybody has written anything since, etcd
//      puts the watch among those that lag behind, which it serves every 100 ms. Where that does
//      not matter, a watch may start `from` a revision on.
// (W2) It may break at any time (the member dies, the revision is compacted away). Then it reports
//      that once, as `broken`, and reports nothing more. An event is a hint to read again.
//
// Threads of the RPC library call `tell`, one call at a time. It must not destroy the watch. The
// destructor waits for a call that is under way.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "etcd/client.hpp"

namespace lockbyfile::etcd {

struct watch_event {
  enum class kind { created, put, deleted, broken };
  kind what = kind::broken;
  std::string value;          // put
  std::int64_t revision = 0;  // of the store when it was created; of the change
};

class watch {
 public:
  /// `from` 0: now.
  watch(client& on, const std::string& key, std::int64_t from,
        std::function<void(const watch_event&)> tell);
  ~watch();
  /// Whether it is with the member that answers calls. Another member may be silent, and report
  /// nothing.
  [[nodiscard]] bool is_where_calls_go() const;
  watch(const watch&) = delete;
  watch& operator=(const watch&) = delete;

 private:
  class stream;
  std::unique_ptr<stream> stream_;
};

}  // namespace lockbyfile::etcd
