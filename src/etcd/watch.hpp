// SPDX-License-Identifier: Apache-2.0
//
// watch: tells what happens to one key from a revision on, until it is destroyed.
//
// (W1) It starts now, and says at which revision that was, as `created`: whoever has read the
//      key at an earlier one reads it once more. The simpler design, to start after the revision of
//      the read, misses nothing, but if anybody wrote anything since, etcd puts the watch among
//      those that lag behind, which it serves every 100 ms. Or it starts `from` a revision on,
//      where that does not matter.
// (W2) It may break at any time (the member dies, the revision is compacted away): then it says
//      so once, as `broken`, and says nothing more. An event is a hint to read again.
//
// `tell` is called by threads of the RPC library, one call at a time; it must not destroy the
// watch. The destructor waits for a call that is under way.
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
  /// Whether it is with the member that answers calls. Another may be silent, and tells nothing.
  [[nodiscard]] bool is_where_calls_go() const;
  watch(const watch&) = delete;
  watch& operator=(const watch&) = delete;

 private:
  class stream;
  std::unique_ptr<stream> stream_;
};

}  // namespace lockbyfile::etcd
