// SPDX-License-Identifier: Apache-2.0
#include "storm.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <sstream>
#include <system_error>
#include <thread>

#include "witnesses.hpp"
#include "worker.hpp"

namespace lockbyfile::torture {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t deeds_per_round = 2'000'000;
constexpr std::chrono::nanoseconds grace = 10s;
constexpr unsigned pace_of_etcd = 50;
constexpr unsigned weathers_of_etcd = 3;  // it has no file to play with

}  // namespace

storm::storm(const storm_options& options)
    : options_(options), dice_(options.seed), log_(deeds_per_round), registers_(options.is_fenced) {
  // What prune may remove is in a directory of its own.
  const std::string base = options.over != nullptr ? options.over->url() : options.directory;
  const std::string calm = base + "/calm";
  const std::string rough = base + "/rough";
  if (options.over != nullptr) {
    plan_.pace = pace_of_etcd;
    plan_.protects = &registers_;
    outages_.emplace(*options.over, log_, dice_.seed());
  } else {
    std::filesystem::create_directory(calm);
    std::filesystem::create_directory(rough);
  }
  for (unsigned i = 0; i < options.names; ++i) {
    const auto kind =
        static_cast<weather>(i % (options.over != nullptr ? weathers_of_etcd : weathers));
    plan_.places.push_back(
        {kind < weather::operators ? calm : rough, "name" + std::to_string(i), kind});
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // of the children that outlive their parents
}

/// Random bytes leave counters far ahead of the clock. Then each new file of that name adds a line
/// to its mark (src/file/tokens.hpp), which is read at each first acquire. To keep the mark short,
/// a scribbled name lives for one round only.
void storm::rename_scribbled() {
  ++round_;
  for (std::size_t i = 0; i < plan_.places.size(); ++i) {
    place& p = plan_.places[i];
    if (p.kind != weather::scribbles) continue;
    p.name = "name" + std::to_string(i) + "-" + std::to_string(round_);
    last_token_.erase(static_cast<std::uint8_t>(i));
  }
}

report storm::play(std::chrono::nanoseconds duration) {
  rename_scribbled();
  registers_.reset();
  plan_.end = after(now(), duration);
  const instant calm = options_.over != nullptr ? after(now(), duration * 6 / 10) : plan_.end;
  {
    std::optional<witnesses> watching(std::in_place, log_);
    for (unsigned i = 0; i < options_.processes; ++i) start(work, workers_);
    for (int i = 0; i < 2; ++i) start(torture::operate, operators_);
    if (options_.over == nullptr) start(play_with_files, players_);
    while (now() < plan_.end && !log_.is_nearly_full() && !options_.is_over()) {
      befall(now() < calm);
      reap();
      resume(now());
      std::this_thread::sleep_for(300us);
    }
    end_round();
  }
  close_round();

  std::vector<deed> deeds = log_.take();
  std::ranges::sort(deeds, {}, &deed::begin);
  for (const deed& d : deeds) ++done_.at(static_cast<std::size_t>(d.kind));
  report r = check(deeds, last_token_, options_.over != nullptr ? engine::etcd : engine::files);
  last_token_ = r.last_token;
  if (!r.violations.empty() && !options_.keep.empty()) {
    std::ofstream file(options_.keep, std::ios::app);
    for (const deed& d : deeds) file << described(d) << '\n';
  }
  return r;
}

void storm::note(deed_kind kind, pid_t process) {
  deed d;
  d.kind = kind;
  d.process = static_cast<std::uint32_t>(process);
  log_.note(d);
}

void storm::start(life what, std::set<pid_t>& group) {
  const std::uint64_t seed = dice_.seed();
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::system_category(), "fork");
  if (child == 0) what(log_, plan_, seed);
  group.insert(child);
}

pid_t storm::any_of(const std::set<pid_t>& group) {
  if (group.empty()) return 0;
  return *std::next(group.begin(), static_cast<std::ptrdiff_t>(dice_.pick(0, group.size() - 1)));
}

void storm::befall(bool is_rough) {
  if (is_rough && dice_.one_in(60 * plan_.pace)) kill_some();
  if (is_rough && dice_.one_in((outages_ ? 20U : 40U) * plan_.pace)) stop_one();
  if (is_rough && dice_.one_in(40 * plan_.pace)) signal_some();
  if (outages_) {
    if (is_rough) outages_->befall(true);
    if (!is_rough) outages_->end_all();
    if (options_.over->look_after())
      std::printf("a member ended by itself, and was started again\n");
  }
  while (workers_.size() < options_.processes) start(work, workers_);
  while (operators_.size() < 2) start(torture::operate, operators_);
}

void storm::kill_some() {
  std::set<pid_t> victims;
  for (std::uint64_t n = dice_.one_in(10) ? 5 : 1; n > 0; --n)
    victims.insert(any_of(dice_.one_in(10) ? operators_ : workers_));
  victims.erase(0);
  for (const pid_t v : victims) {
    note(deed_kind::kill, v);
    ::kill(v, SIGKILL);
  }
  for (const pid_t v : victims) {
    while (::waitpid(v, nullptr, 0) < 0 && errno == EINTR) {
    }
    gone(v);
  }
}

void storm::stop_one() {
  const pid_t victim = any_of(dice_.one_in(10) ? operators_ : workers_);
  const bool is_stopped =
      std::ranges::any_of(stopped_, [&](const stopped& s) { return s.process == victim; });
  if (victim == 0 || is_stopped) return;
  deed d;
  d.kind = deed_kind::stop;
  d.process = static_cast<std::uint32_t>(victim);
  stopped s{victim, 0, 0, log_.begin(d)};
  ::kill(victim, SIGSTOP);
  int status = 0;
  while (::waitpid(victim, &status, WUNTRACED) < 0 && errno == EINTR) {
  }
  s.since = now();
  // Now and then beyond a TTL, if there is one.
  const bool is_long = options_.over != nullptr && dice_.one_in(3);
  s.until = after(s.since, is_long ? 2200ms + dice_.mostly_short(2s)
                                   : dice_.mostly_short(200ms * (plan_.pace > 1 ? 5 : 1)));
  stopped_.push_back(s);
  if (!WIFSTOPPED(status)) gone(victim);
}

void storm::resume(instant until) {
  std::erase_if(stopped_, [&](stopped& s) {
    if (s.until > until) return false;
    outcome r;
    r.from = s.since;
    r.to = now();
    ::kill(s.process, SIGCONT);
    s.deed.finish(r);
    return true;
  });
}

void storm::signal_some() {
  const pid_t target = any_of(workers_);
  for (std::uint64_t n = dice_.pick(1, 20); n > 0 && target != 0; --n) ::kill(target, SIGUSR1);
}

void storm::reap() {
  for (pid_t child = 0; (child = ::waitpid(0, nullptr, WNOHANG)) > 0;) gone(child);
}

void storm::gone(pid_t process) {
  note(deed_kind::gone, process);
  for (auto* group : {&workers_, &operators_, &players_}) group->erase(process);
  // Its pid may belong to another process now, so nothing signals it any more.
  std::erase_if(stopped_, [&](stopped& s) {
    if (s.process != process) return false;
    outcome r;
    r.from = s.since;
    r.to = s.deed.get().begin;
    s.deed.finish(r);
    return true;
  });
}

void storm::end_round() {
  resume(never);
  if (outages_) {
    outages_->end_all();
    options_.over->wait_until_well();
  }
  end_processes();
}

void storm::end_processes() {
  const instant deadline = after(now(), options_.over != nullptr ? 2 * grace : grace);
  for (;;) {
    const pid_t child = ::waitpid(0, nullptr, WNOHANG);
    if (child > 0) gone(child);
    if (child < 0 && errno == ECHILD) return;
    if (child == 0 && now() > deadline) break;
    if (child == 0) std::this_thread::sleep_for(1ms);
  }
  for (auto* group : {&workers_, &operators_, &players_}) {
    while (!group->empty()) {
      const pid_t stuck = *group->begin();
      deed d;
      d.kind = deed_kind::wrong;
      d.process = static_cast<std::uint32_t>(stuck);
      d.detail = static_cast<std::uint8_t>(wrong_kind::stuck);
      log_.note(d);
      ::kill(stuck, SIGKILL);
      while (::waitpid(stuck, nullptr, 0) < 0 && errno == EINTR) {
      }
      gone(stuck);
    }
  }
}

/// No process is left: each lock must be open at once, whatever happened to its file.
void storm::close_round() {
  start(pass_through, workers_);
  end_processes();
}

report storm::look_for_remains() {
  report r;
  if (options_.over == nullptr) return r;
  const instant deadline = after(now(), std::chrono::seconds(2 * cluster::ttl) + 4s);
  std::string places;
  std::string leases;
  do {
    places.clear();
    std::istringstream keys(options_.over->keys(""));
    for (std::string key; std::getline(keys, key);)
      if (key.find(":lock/") != std::string::npos) places += ' ' + key;
    leases = options_.over->leases();
    if (places.empty() && leases.find("found 0 leases") != std::string::npos) return r;
    std::this_thread::sleep_for(100ms);
  } while (now() < deadline);
  r.add("left behind in etcd: places" + places + ", leases: " + leases);
  return r;
}

}  // namespace lockbyfile::torture
