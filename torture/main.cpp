// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile_torture: a storm over real processes, and a checker that knows the promises.
// docs/guarantees.md, "Torture", says what it does and what it proves.
#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <random>
#include <string>

#include "cluster.hpp"
#include "storm.hpp"
#include "support/temporary_directory.hpp"
#include "worker.hpp"

namespace lockbyfile::torture {

namespace {

constexpr double round_seconds = 10;
constexpr double round_over_etcd = 15;  // and 10 more for its end
constexpr std::size_t shown_violations = 20;

constexpr int exit_clean = 0;
constexpr int exit_violations = 1;
constexpr int exit_nothing_happened = 2;
constexpr int exit_failed = 3;
constexpr int exit_skipped = 77;

volatile std::sig_atomic_t is_interrupted = 0;

unsigned long long shown(std::uint64_t n) { return n; }

std::uint64_t done(const storm& s, deed_kind kind) {
  return s.done().at(static_cast<std::size_t>(kind));
}

void show_progress(const storm& s, const report& total, double seconds) {
  const auto& [free, expired, abandoned, broken] = total.grants;
  std::printf(
      "%6.0f s  %llu grants (%llu free, %llu expired, %llu abandoned, %llu broken)  %llu kills  "
      "%llu stops  %zu violations\n",
      seconds, shown(free + expired + abandoned + broken), shown(free), shown(expired),
      shown(abandoned), shown(broken), shown(done(s, deed_kind::kill)),
      shown(done(s, deed_kind::stop)), total.violations.size());
  std::fflush(stdout);
}

/// The first ones only. `seen`: how many there were the last time.
void show_new_violations(const report& total, std::size_t& seen) {
  for (; seen < total.violations.size(); ++seen)
    if (seen < shown_violations) std::printf("VIOLATION %s\n", total.violations[seen].c_str());
}

void show_outages(const outages& o, const report& total) {
  std::printf("members:");
  for (std::size_t i = 0; i < outage_kinds; ++i)
    std::printf(" %llu %s,", shown(o.counts().at(i)), outage_names.at(i));
  std::printf(" of these %llu led; %llu times two or three at once\n", shown(o.of_leaders()),
              shown(o.of_majorities()));
  std::printf("registers: %llu changes, %llu refused by the fence\n", shown(total.changes),
              shown(total.refused));
}

void show_summary(const storm& s, const report& total) {
  std::printf(
      "\n%llu breaks, %llu removals tried, %llu mischiefs with files, "
      "%llu processes that ended themselves\n",
      shown(done(s, deed_kind::breaking)), shown(done(s, deed_kind::removing)),
      shown(done(s, deed_kind::mischief)), shown(done(s, deed_kind::end)));
  if (s.of_members() != nullptr) show_outages(*s.of_members(), total);
  std::printf("%-10s %12s %18s %24s %17s\n", "bound", "judged", "within it", "latest beyond it",
              "beyond allowance");
  for (std::size_t i = 0; i < bounds; ++i) {
    const tally& t = total.tallies.at(i);
    const double part =
        t.judged == 0 ? 100 : 100.0 * static_cast<double>(t.within) / static_cast<double>(t.judged);
    std::printf("%-10s %12llu %16.3f %% %21.3f ms %17llu\n", bound_names.at(i), shown(t.judged),
                part, static_cast<double>(t.worst) / 1e6, shown(t.broken));
  }
}

/// A storm in which nothing happens proves nothing.
bool has_enough_happened(const storm& s, const report& total, double seconds) {
  const auto& [free, expired, abandoned, broken] = total.grants;
  const double scale = seconds / static_cast<double>(s.pace());
  return static_cast<double>(free) > scale * 10 &&

         static_cast<double>(abandoned) > scale / 2 &&
         static_cast<double>(done(s, deed_kind::kill)) > scale &&
         static_cast<double>(done(s, deed_kind::stop)) > scale;
}

int run(const storm_options& options, double seconds) {
  std::printf("seed %llu, %u processes, %u names, %.0f s\n", shown(options.seed), options.processes,
              options.names, seconds);
  std::fflush(stdout);
  storm s(options);
  report total;
  std::size_t seen = 0;  // violations
  const double longest = options.over != nullptr ? round_over_etcd : round_seconds;
  for (double played = 0; played < seconds && is_interrupted == 0;) {
    const double round = std::min(longest, seconds - played);
    const report r = s.play(std::chrono::nanoseconds(static_cast<std::int64_t>(round * 1e9)));
    total.add(r);
    show_new_violations(total, seen);
    played += round;
    show_progress(s, total, played);
  }
  if (is_interrupted != 0) {
    std::printf("interrupted\n");
    return exit_failed;
  }
  total.add(s.look_for_remains());
  total.settle();
  show_new_violations(total, seen);
  show_summary(s, total);
  if (!total.violations.empty()) {
    std::printf("%zu violations (--seed %llu)\n", total.violations.size(), shown(options.seed));
    return exit_violations;
  }
  if (!has_enough_happened(s, total, seconds)) {
    std::printf("no violation, but too little happened to prove anything\n");
    return exit_nothing_happened;
  }
  std::printf("no violation\n");
  return exit_clean;
}

std::unique_ptr<network> network_if_possible(bool is_wanted) {
  if (!is_wanted) return nullptr;
  try {
    return std::make_unique<network>();
  } catch (const std::exception& e) {
    std::printf("no partitions: network namespaces are not to be had here (%s)\n", e.what());
    return nullptr;
  }
}

/// The members and all that belongs to them are gone when it returns, even after SIGINT or SIGTERM.
int run_over_etcd(storm_options options, double seconds, bool has_partitions) {
  if (const std::string why = cluster::missing(); !why.empty()) {
    std::printf("skipped: %s\n", why.c_str());
    return exit_skipped;
  }
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    std::signal(signal, [](int) { is_interrupted = 1; });
  cluster members(options.directory, network_if_possible(has_partitions));
  options.over = &members;
  return run(options, seconds);
}

int torture_main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == executed_option)
    return live_on_after_exec(std::stoi(argv[2]));

  storm_options options;
  options.is_over = [] { return is_interrupted != 0; };
  options.seed = std::random_device{}();
  options.directory = std::filesystem::temp_directory_path().string();
  double minutes = 1;
  double seconds = 0;
  CLI::App app("A storm over locks, and a check of every promise.");
  app.add_option("--minutes", minutes, "how long")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seconds", seconds, "how long")
      ->check(CLI::PositiveNumber)
      ->excludes("--minutes");
  app.add_option("--seed", options.seed, "of the dice; timing stays as random as it is");
  app.add_option("--processes", options.processes, "that use locks")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  app.add_option("--names", options.names, "of locks, in turn of each weather")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--directory", options.directory, "in which to make a scratch directory")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  std::string engine = "file";
  bool is_unfenced = false;
  bool has_partitions = true;
  app.add_option("--engine", engine, "that keeps the locks")
      ->check(CLI::IsMember({"file", "etcd"}))
      ->capture_default_str();
  app.add_flag("--unfenced", is_unfenced, "over etcd: the registers refuse nothing, and it shows");
  app.add_flag("!--no-partitions", has_partitions, "over etcd: all members on 127.0.0.1");
  app.add_option("--keep", options.keep, "a file to append the history of bad rounds to");
  CLI11_PARSE(app, argc, argv);

  const temporary_directory scratch(options.directory);
  options.directory = scratch.path();
  options.is_fenced = !is_unfenced;
  if (engine == "etcd") {
    if (app.count("--processes") == 0) options.processes = 8;
    if (app.count("--names") == 0) options.names = 3;
    return run_over_etcd(options, seconds > 0 ? seconds : minutes * 60, has_partitions);
  }
  return run(options, seconds > 0 ? seconds : minutes * 60);
}

}  // namespace

}  // namespace lockbyfile::torture

int main(int argc, char** argv) {
  try {
    return lockbyfile::torture::torture_main(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "lockbyfile_torture: %s\n", e.what());
    return lockbyfile::torture::exit_failed;
  }
}
