// SPDX-License-Identifier: Apache-2.0
#include "linearisable.hpp"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace lockbyfile::torture {

namespace {

std::string shown(const deed& d) {
  return "the change " + std::to_string(d.read) + " -> " + std::to_string(d.written) +
         " of process " + std::to_string(d.process) + " with token " + std::to_string(d.token) +
         " (at " + std::to_string(d.begin) + ')';
}

}  // namespace

std::vector<std::string> faults_of_register(const std::vector<const deed*>& changes,
                                            const timeline& time) {
  std::vector<std::string> faults;
  std::unordered_set<std::uint64_t> read;
  for (const deed* d : changes) read.insert(d->read);
  const auto has_happened = [&](const deed& d) {
    return d.written != 0 && (d.is_finished() ? d.succeeded() : read.contains(d.written));
  };

  std::unordered_map<std::uint64_t, const deed*> next;  // by what it read
  std::unordered_map<std::uint64_t, std::size_t> place{{0, 0}};
  for (const deed* d : changes) {
    if (!has_happened(*d)) continue;
    const auto [other, is_first] = next.emplace(d->read, d);
    if (!is_first)
      faults.push_back("a lost update: " + shown(*d) + " and " + shown(*other->second));
  }

  std::vector<const deed*> chain;
  for (auto d = next.find(0); d != next.end(); d = next.find(d->second->written)) {
    if (chain.size() == next.size()) break;  // a ring
    chain.push_back(d->second);
    place.emplace(d->second->written, chain.size());
  }
  for (const auto& [value, d] : next) {
    if (!place.contains(d->written)) faults.push_back("outside the chain: " + shown(*d));
  }

  // An operation that only read x, or was refused after reading it, comes between two changes: the
  // one that wrote x and the one that replaced x.
  struct step {
    std::size_t at;
    bool is_read;
    const deed* what;
  };
  std::vector<step> order;
  for (std::size_t i = 0; i < chain.size(); ++i) order.push_back({i + 1, false, chain[i]});
  for (const deed* d : changes) {
    if (has_happened(*d)) continue;
    const auto found = place.find(d->read);
    if (found == place.end()) {
      faults.push_back("a value from nowhere: " + shown(*d));
    } else if (d->is_finished()) {
      order.push_back({found->second, true, d});
    }
  }
  std::ranges::sort(order, [](const step& a, const step& b) {
    if (a.at != b.at) return a.at < b.at;
    return a.is_read != b.is_read ? b.is_read : a.what->begin < b.what->begin;
  });
  const deed* latest = nullptr;  // the one before that began last
  for (const step& s : order) {
    if (latest != nullptr && time.end_of(*s.what) < latest->begin)
      faults.push_back("against time: " + shown(*s.what) + " after " + shown(*latest));
    if (latest == nullptr || s.what->begin > latest->begin) latest = s.what;
  }
  return faults;
}

}  // namespace lockbyfile::torture
