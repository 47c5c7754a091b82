// SPDX-License-Identifier: Apache-2.0
#include "user.hpp"

#include <unistd.h>

#include <thread>

namespace lockbyfile::torture {

using namespace std::chrono_literals;

namespace {

/// The library's own code of the error, or other_error.
int code_of(std::error_code ec) {
  return !ec || ec.category() == lock_category() ? ec.value() : other_error;
}

/// Requests a stop after a while, and records when it did.
class stopper {
 public:
  explicit stopper(std::chrono::nanoseconds delay)
      : thread_([this, delay] {
          std::this_thread::sleep_for(delay);
          from_ = now();
          source_.request_stop();
          to_ = now();
        }) {}

  [[nodiscard]] std::stop_token token() const { return source_.get_token(); }
  void describe(outcome& r) {
    thread_.join();
    r.from = from_;
    r.to = to_;
  }

 private:
  std::stop_source source_;
  instant from_ = 0;
  instant to_ = 0;
  std::jthread thread_;
};

}  // namespace

user::user(history& log, const plan& p, std::uint8_t name, std::uint64_t seed)
    : log_(log),
      plan_(p),
      name_(name),
      dice_(seed),
      delay_(std::make_unique<run_delay>()),
      process_(static_cast<std::uint32_t>(::getpid())) {}

user::~user() { close(); }

deed user::about(deed_kind kind) const {
  deed d;
  d.kind = kind;
  d.name = name_;
  d.process = process_;
  d.session = session_;
  return d;
}

void user::wrong(wrong_kind what) {
  deed d = about(deed_kind::wrong);
  d.detail = static_cast<std::uint8_t>(what);
  log_.note(d);
}

std::chrono::nanoseconds user::mostly_short(std::chrono::nanoseconds longest) {
  return dice_.mostly_short(longest * plan_.pace);
}

void user::note_end() { log_.note(about(deed_kind::end)); }

bool user::open() {
  close();
  session_ = log_.new_session();
  looked_ = now();
  const place& here = plan_.places[name_];
  deed d = about(deed_kind::acquire);
  d.begin = now();
  std::error_code ec;
  lock_ = named_lock::open(here.lock_name(), here.options(), ec);
  if (lock_) return true;
  if (ec == errc::unreachable) {  // which the checker judges
    outcome r;
    r.error = code_of(ec);
    auto opening = log_.begin(d);
    opening.finish(r);
  } else if (here.kind < weather::mischief && ec != errc::stuck) {
    // Stuck: the process that set the file up may have been stopped, which is not the lock's fault.
    wrong(wrong_kind::exception);
  }
  std::this_thread::sleep_for(1ms);
  return false;
}

void user::close() {
  if (!lock_) return;
  auto closing = log_.begin(about(deed_kind::release));  // what is held is released
  lock_.reset();
  outcome r;
  r.error = untold;
  closing.finish(r);
}

void user::choose_lease() {
  const bool is_short = plan_.places[name_].kind >= weather::leases && dice_.one_in(2);
  lock_->set_lease(is_short ? 50us + mostly_short(50ms) : dice_.one_in(4) ? 1h : no_lease);
}

bool user::acquire() {
  if ((!lock_ || dice_.one_in(20)) && !open()) return false;
  choose_lease();
  const std::uint64_t n = dice_.pick(1, 20);
  return n <= 2    ? acquire(0ns, false)
         : n <= 6  ? acquire(mostly_short(20ms), false)
         : n == 7  ? acquire(forever, true)
         : n <= 12 ? acquire(2s, false)
                   : acquire(forever, false);
}

bool user::acquire(std::chrono::nanoseconds patience, bool is_to_be_stopped) {
  std::optional<stopper> stopping;
  if (is_to_be_stopped) stopping.emplace(mostly_short(20ms));

  deed d = about(deed_kind::acquire);
  d.looked = looked_;
  d.lease = lock_->lease();
  d.patience = patience;
  const instant delay_before = delay_->read();
  auto waiting = log_.begin(d);
  std::error_code ec;
  const auto granted =
      lock_->acquire(patience, stopping ? stopping->token() : std::stop_token(), ec);
  outcome r;
  r.end = now();
  r.error = code_of(ec);
  if (granted) {
    describe_lease(r);
    r.how = granted->how;
    r.token = granted->token.value();
    if (granted->waited > 0ns) r.taken = after(waiting.get().begin, granted->waited);
  }
  r.delay = delay_->read() - delay_before;
  if (ec == errc::cancelled) stopping->describe(r);
  waiting.finish(r);
  looked_ = waiting.get().begin;
  if (ec && ec != errc::timed_out && ec != errc::cancelled) {
    looked_ = 0;
    std::this_thread::sleep_for(1ms);
  }
  return granted.has_value();
}

void user::describe_lease(outcome& r) const {
  const instant before = now();
  const std::chrono::nanoseconds left = lock_->lease_remaining();
  const bool is_remote = plan_.places[name_].is_remote();
  const std::chrono::nanoseconds sure = is_remote ? std::min(left, lock_->certain_for()) : left;
  const instant looked = now();
  r.to = after(looked, left);
  r.from = sure > 0ns ? after(before, sure) : 0;  // 0: it ended at some time before
}

void user::ask() {
  auto asking = log_.begin(about(deed_kind::ask));
  outcome r;
  const bool is_held = lock_->is_held();
  r.end = now();
  r.error = is_held ? 0 : static_cast<int>(errc::lease_lost);
  if (is_held) describe_lease(r);
  asking.finish(r);
}

void user::renew() {
  if (dice_.one_in(2)) choose_lease();
  deed d = about(deed_kind::renew);
  d.lease = lock_->lease();
  auto renewing = log_.begin(d);
  std::error_code ec;
  lock_->renew(ec);
  outcome r;
  r.end = now();
  r.error = code_of(ec);
  if (!ec) describe_lease(r);
  renewing.finish(r);
}

void user::keep_alive_for(std::chrono::nanoseconds duration) {
  log_.note(about(deed_kind::keep));
  auto asking = log_.begin(about(deed_kind::ask));
  outcome r;
  try {
    const keep_alive renewing(*lock_, [this](std::error_code ec) {
      auto telling = log_.begin(about(deed_kind::ask));
      outcome lost;
      lost.error = code_of(ec);
      telling.finish(lost);
    });
    asking.finish(r);
    std::this_thread::sleep_for(duration);
    ask();
  } catch (const lock_error& e) {
    r.error = e.code() == errc::not_holder ? static_cast<int>(errc::lease_lost) : other_error;
    asking.finish(r);
  }
}

void user::hold() {
  for (std::uint64_t acts = dice_.pick(0, 3); acts > 0; --acts) {
    switch (dice_.pick(0, 7)) {
      case 0:
      case 1: std::this_thread::sleep_for(mostly_short(5ms)); break;
      case 2: std::this_thread::yield(); break;
      case 3:
      case 4: ask(); break;
      case 5:
      case 6: renew(); break;
      default:
        if (dice_.one_in(4)) keep_alive_for(mostly_short(30ms));
        break;
    }
  }
}

void user::change() {
  registers* const protects = plan_.protects;
  if (protects == nullptr) return;
  deed d = about(deed_kind::change);
  d.begin = now();
  d.token = lock_->token().value();
  const auto value = protects->read(name_, d.token);
  if (!value) note_fenced_off();
  if (!value || !lock_->is_held()) return;
  std::this_thread::sleep_for(mostly_short(4ms));  // and here it may be stopped for long
  d.read = *value;
  d.written = log_.new_session();
  auto changing = log_.begin(d);
  const bool is_done = protects->write(name_, d.token, static_cast<std::uint32_t>(d.written));
  outcome r;
  r.end = now();
  r.error = is_done ? 0 : refused_change;
  changing.finish(r);
  if (!is_done) note_fenced_off();
}

/// The register has seen a larger token. This must not happen to a current holder, except after a
/// break of which the holder has not yet heard.
void user::note_fenced_off() {
  if (plan_.places[name_].kind < weather::operators && lock_->is_held())
    wrong(wrong_kind::fenced_off);
}

void user::let_go() {
  const std::uint64_t n = dice_.pick(1, 10);
  if (n == 1) return close();
  outcome r;
  auto releasing = log_.begin(about(deed_kind::release));
  if (n <= 3) {
    lock_->unlock();
    r.error = untold;
  } else {
    std::error_code ec;
    lock_->release(ec);
    r.error = code_of(ec);
  }
  releasing.finish(r);
}

void user::use_once() {
  if (!acquire()) return;
  change();
  hold();
  let_go();
}

bool user::pass_through() {
  if (!open()) return false;
  if (!acquire(plan_.pace > 1 ? 10s : 1s, false)) return false;
  if (plan_.protects != nullptr) {
    deed d = about(deed_kind::change);
    d.begin = now();
    d.token = lock_->token().value();
    const auto value = plan_.protects->read(name_, d.token);
    if (!value) wrong(wrong_kind::fenced_off);
    d.read = value.value_or(0);
    if (value) log_.note(d);
  }
  close();
  return true;
}

void user::wake_up_as_a_child() {
  process_ = static_cast<std::uint32_t>(::getpid());
  session_ = log_.new_session();
  delay_ = std::make_unique<run_delay>();
  looked_ = 0;
  if (!lock_) return;
  std::error_code renewed;
  std::error_code released;
  const bool holds = lock_->is_held() || lock_->token();
  lock_->renew(renewed);
  lock_->release(released);
  if (holds || renewed != errc::not_holder || released != errc::not_holder)
    wrong(wrong_kind::child_holds);
}

}  // namespace lockbyfile::torture
