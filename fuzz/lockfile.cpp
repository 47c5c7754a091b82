// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a lockfile. They are written before, between or after the operations of two sessions
// and an onlooker (lockfile_input.hpp). Checks promise P10, and these rules, which always hold:
//
//   - Nothing crashes, hangs, or takes longer than its patience. A failure is reported with an
//     error of ours that names the path.
//   - There are never two holders. Only a holder's own operations, or a break, end its grant.
//   - Tokens grow from grant to grant after the bytes were written. For each session they also
//     grow across that write.
//   - observe() changes nothing, and opening a foreign file does not change it. (A session that
//     had the file open when another program wrote over it does not notice at once.)
//   - The observed state is possible, can be shown on a terminal, and as JSON reads back unchanged.
//   - When no session has it open any more, it is a working lock for the next two, or foreign.
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <list>
#include <lockbyfile/lockbyfile.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "describe.hpp"
#include "duration.hpp"
#include "file/layout.hpp"
#include "json.hpp"
#include "lockfile_input.hpp"
#include "support.hpp"
#include "support/temporary_directory.hpp"
#include "users.hpp"
#include "virtual_system.hpp"

/// Replaces the command's function, which would read files for every party that is shown.
std::optional<std::string> lockbyfile::cli::user_name(unsigned uid) {
  if (uid == 0) return "root";
  return {};
}

namespace lockbyfile::fuzz {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

const std::string& home() {
  static const temporary_directory root{memory()};
  static const virtual_system in_effect(root.path());
  static const std::string locks = root.path() + "/locks";
  std::filesystem::create_directory(locks);
  return locks;
}

/// One input, played to its end.
class play {
 public:
  play(const std::uint8_t* data, std::size_t size);
  ~play();

  void run();

 private:
  using sessions = std::array<std::optional<named_lock>, 2>;

  [[nodiscard]] std::string content() const { return content_of(path_); }
  [[nodiscard]] static std::string content_of(const std::string& path);
  void write_bytes();
  void write_patches(int fd) const;
  void write_at(int fd, std::string_view bytes, std::size_t offset) const;

  template <class Deed>
  std::error_code attempt(Deed commit, nanoseconds patience = 0ns);
  template <class Deed>
  std::error_code attempt_by_name(Deed commit);
  void step(std::uint8_t what);
  void open(std::size_t s);
  void acquire(std::size_t s, nanoseconds patience, unsigned detail);
  template <class Deed>
  void leaving_the_other_alone(std::size_t s, Deed commit);
  void look();
  void break_open(bool whoever_holds_it);
  void remove_it();
  void crowd();
  [[nodiscard]] bool are_tokens_used_up() const;
  void expect_one_holder_at_most();
  void expect_no_holder();
  void expect_a_working_lock();

  std::string_view script_;
  std::string_view bytes_;
  const std::string path_ = home() + "/bed.lockfile";
  sessions session_;
  std::array<fencing_token, 2> last_of_session_;
  fencing_token last_;
};

play::play(const std::uint8_t* data, std::size_t size)
    : script_(text_of(data, size).substr(0, script_size)),
      bytes_(text_of(data, size).substr(script_size)) {
  virtual_system::restart();
}

play::~play() {
  for (auto& s : session_) s.reset();
  ::unlink(path_.c_str());
  ::unlink((path_ + ".tokens").c_str());
}

void play::run() {
  const auto arrival = static_cast<std::size_t>(script_[0] & 15);
  for (std::size_t i = 0; i < steps; ++i) {
    if (i == arrival) write_bytes();
    step(static_cast<std::uint8_t>(script_[i + 1]));
    expect_one_holder_at_most();
  }
  if (arrival == steps) write_bytes();
  for (auto& s : session_) s.reset();
  expect_a_working_lock();
}

// --- the file ---------------------------------------------------------------------------

std::string play::content_of(const std::string& path) {
  std::string bytes;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat s {};
  if (fd < 0 || ::fstat(fd, &s) != 0) return "there is none";
  bytes.resize(static_cast<std::size_t>(s.st_size));
  require(::pread(fd, bytes.data(), bytes.size(), 0) == s.st_size, "the target reads the file");
  ::close(fd);
  return bytes;
}

void play::write_at(int fd, std::string_view bytes, std::size_t offset) const {
  const auto written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
  require(written == static_cast<ssize_t>(bytes.size()), "the target writes the file");
}

void play::write_patches(int fd) const {
  std::string_view rest = bytes_;
  const auto number = [&rest](std::size_t i) { return static_cast<std::uint8_t>(rest[i]); };
  while (rest.size() > patch_head) {
    const std::size_t offset = number(0) + 256U * number(1);
    const std::string_view patch = rest.substr(patch_head, number(2));
    write_at(fd, patch, offset);
    rest.remove_prefix(patch_head + patch.size());
  }
}

void play::write_bytes() {
  const auto flags = static_cast<std::uint8_t>(script_[0]);
  const writing how = writing_of(flags);
  const bool cuts = how == writing::over_the_file || how == writing::cut_and_patches;
  if (how == writing::as_a_new_file) ::unlink(path_.c_str());
  const int fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | (cuts ? O_TRUNC : 0), 0600);
  require(fd >= 0, "the target opens the file");
  if (has_patches(flags)) {
    write_patches(fd);
  } else {
    write_at(fd, bytes_, 0);
    const off_t least = flags >> 6 == 0 ? 0 : off_t{2048} << (flags >> 6);
    if (static_cast<off_t>(bytes_.size()) < least) {
      require(::ftruncate(fd, least) == 0, "the target resizes the file");
    }
  }
  ::close(fd);
  virtual_system::advance(milliseconds(5));  // a tick, after which it must be noticed
  last_ = {};
}

// --- what is done -----------------------------------------------------------------------

template <class Deed>
std::error_code play::attempt(Deed commit, nanoseconds patience) {
  const instant begun = now();
  std::error_code ec;
  try {
    commit();
  } catch (const lock_error& error) {
    ec = error.code();
    const std::string_view what = error.what();
    require(ec.category() == lock_category(), "an error is one of ours", what);
    require(ec != errc::stuck, "nobody is in the way", what);
    require(what.find(path_) != std::string_view::npos, "an error names the path", what);
  }
  require(between(begun, now()) < patience + 20ms, "patience is kept");
  return ec;
}

template <class Deed>
std::error_code play::attempt_by_name(Deed commit) {
  const std::string before = content();
  const std::error_code ec = attempt(commit);
  require(ec != errc::wrong_engine || content() == before, "a foreign file is not changed");
  return ec;
}

void play::step(std::uint8_t what) {
  const std::size_t s = what >> 4 & 1;
  const unsigned detail = what >> 5;
  auto& own = session_[s];
  std::error_code ec;
  switch (static_cast<deed>(what & 15)) {
    case deed::open: return open(s);
    case deed::close: return leaving_the_other_alone(s, [&] { own.reset(); });
    case deed::try_to_acquire: return acquire(s, 0ns, detail);
    case deed::acquire: return acquire(s, 30ms, detail);
    case deed::renew:
      return leaving_the_other_alone(s, [&] {
        if (own) own->renew(ec);
        require(!ec || ec == errc::not_holder || ec == errc::lease_lost, "renew", ec.message());
      });
    case deed::release:
      return leaving_the_other_alone(s, [&] {
        if (own) own->release(ec);
        require(!ec || ec == errc::not_holder || ec == errc::lease_lost, "release", ec.message());
        require(!own || !own->is_held(), "who released holds nothing");
      });
    case deed::observe: return look();
    case deed::break_it: return break_open(detail == 0);
    case deed::remove: return remove_it();
    case deed::list: return (void)list(home());
    case deed::prune: return (void)prune(home());
    case deed::let_time_pass: return virtual_system::advance(milliseconds(1) << (2 * detail));
    case deed::crowd: return detail == 7 ? crowd() : void();  // seldom, because it takes long
    default: return;
  }
}

void play::open(std::size_t s) {
  if (session_[s]) return;
  attempt_by_name([&] { session_[s].emplace(path_); });
  last_of_session_[s] = {};
}

void play::acquire(std::size_t s, nanoseconds patience, unsigned detail) {
  constexpr std::array leases{no_lease, nanoseconds(1ms), nanoseconds(50ms), nanoseconds(1h)};
  auto& own = session_[s];
  if (!own) return;
  own->set_lease(leases[detail % leases.size()]);
  const std::error_code ec = attempt(
      [&] {
        const grant got = own->acquire(patience);
        require(got.token == own->token(), "the grant is the session's");
        require(got.token > last_ && got.token > last_of_session_[s], "tokens grow");
        require(got.token.value() < std::uint64_t{1} << 52, "tokens have 52 bits");
        last_ = last_of_session_[s] = got.token;
      },
      patience);
  require(ec != errc::not_holder && ec != errc::lease_lost && ec != errc::in_use, "acquire",
          ec.message());
}

template <class Deed>
void play::leaving_the_other_alone(std::size_t s, Deed commit) {
  const auto& other = session_[1 - s];
  const bool held = other && other->is_held();
  commit();
  require(!held || other->is_held() || other->lease_remaining() == 0ns,
          "a holder is not disturbed by the other's deeds");
}

/// As `status` and `status --json` do.
void play::look() {
  const std::string before = content();
  cli::observed_lock seen{cli::name_of(path_), {}, {}};
  seen.error = attempt([&] { seen.state = observe(path_); });
  require(content() == before, "looking changes nothing");

  using json = nlohmann::json;
  const json shown = json::parse(cli::json_text(seen));
  const auto same_token = [](const json& party, fencing_token token) {
    require(token.value() < std::uint64_t{1} << 52, "a token is exact in JSON");
    require(party.at("token") == token.value(), "a token reads back as it is");
  };
  const auto shows_well = [](const party& who) {
    require(has_no_controls(cli::party_text(who)), "a party is fit for a terminal");
    require(who.command.size() <= 48, "a command has 48 bytes at most");
  };
  if (const auto& holder = seen.state.holder) {
    same_token(shown.at("holder"), holder->token);
    shows_well(holder->who);
    require(holder->lease >= 0ns && holder->lease_left >= 0ns, "a lease is not negative");
    require(!cli::time_text(holder->since).empty() && !cli::ago_text(holder->since).empty() &&
                !cli::duration_text(holder->lease).empty(),
            "there is a text for everything");
  }
  require(shown.at("waiters").size() == seen.state.waiters.size(), "all waiters are shown");
  for (const waiter_info& waiter : seen.state.waiters) {
    shows_well(waiter.who);
    require(waiter.waiting >= 0ns, "nobody has waited for less than nothing");
  }
  const auto& grants = seen.state.grants;
  require(shown.at("grants").size() == grants.size(), "all grants are shown");
  for (std::size_t i = 0; i < grants.size(); ++i) {
    same_token(shown.at("grants")[i], grants[i].token);
    shows_well(grants[i].who);
  }
}

void play::break_open(bool whoever_holds_it) {
  fencing_token expected;
  std::error_code ec;
  const auto state = observe(path_, {}, ec);
  if (!whoever_holds_it && state && state->holder) expected = state->holder->token;
  ec = attempt_by_name([&] { break_lock(path_, expected); });
  require(!ec || ec == errc::not_found || ec == errc::token_mismatch || ec == errc::damaged ||
              ec == errc::wrong_engine,
          "break", ec.message());
  if (!ec) expect_no_holder();
}

void play::remove_it() {
  const std::error_code ec = attempt_by_name([&] { remove(path_); });
  require(!ec || ec == errc::not_found || ec == errc::in_use || ec == errc::wrong_engine, "remove",
          ec.message());
  if (!ec) expect_no_holder();
  if (!ec) require(::access(path_.c_str(), F_OK) != 0, "what is removed is gone");
}

void play::crowd() {
  std::list<named_lock> all;
  for (std::uint32_t i = 0; i <= file::first_capacity; ++i) {
    if (attempt_by_name([&] { all.emplace_back(path_); })) return;
  }
}

// --- what must hold ---------------------------------------------------------------------

void play::expect_one_holder_at_most() {
  const auto both_hold = [&] {
    return session_[0] && session_[1] && session_[0]->is_held() && session_[1]->is_held();
  };
  if (!both_hold()) return;
  virtual_system::advance(milliseconds(5));  // until each has to look at the path again
  require(!both_hold(), "there is one holder");
}

void play::expect_no_holder() {
  virtual_system::advance(milliseconds(5));
  for (const auto& s : session_) require(!s || !s->is_held(), "nobody holds it");
}

/// Whether the input wrote a counter near its end. Then there are no tokens until an operator
/// removes both files, and the error says so (damaged).
bool play::are_tokens_used_up() const {
  constexpr std::uint64_t last = file::word::counter_end - (std::uint64_t{1} << 31);
  const std::string bytes = content();
  std::uint64_t word = 0;
  constexpr std::size_t at = offsetof(file::header, word);
  if (bytes.size() >= at + sizeof word) std::memcpy(&word, bytes.data() + at, sizeof word);
  const std::string marks = content_of(path_ + ".tokens");
  return file::word(word).counter() > last ||
         (marks.size() >= 17 && marks.substr(marks.size() - 17) > std::to_string(last));
}

/// For a file that no session has open.
void play::expect_a_working_lock() {
  look();
  std::optional<named_lock> first;
  std::optional<named_lock> second;
  if (const auto ec = attempt_by_name([&] { first.emplace(path_); })) {
    require(ec == errc::wrong_engine || (ec == errc::damaged && are_tokens_used_up()),
            "it is mended or foreign", ec.message());
    return;
  }
  if (are_tokens_used_up()) return;
  attempt([&] { second.emplace(path_); });
  require(second.has_value(), "who comes next can use it as well");
  attempt([&] { first->acquire(100ms); }, 100ms);
  require(first->is_held(), "it can be acquired");
  require(first->token() > last_, "tokens grow");
  require(!second->try_lock() && first->is_held(), "by one at a time");
  std::error_code ec;
  first->release(ec);
  require(!ec, "the holder can release it", ec.message());
  attempt([&] { second->acquire(100ms); }, 100ms);
  require(second->is_held() && second->token() > first->token(), "then it is the next one's");
}

}  // namespace
}  // namespace lockbyfile::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size >= lockbyfile::fuzz::script_size) lockbyfile::fuzz::play(data, size).run();
  return 0;
}
