// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <lockbyfile/lockbyfile.hpp>
#include <string>
#include <thread>
#include <vector>

#include "dice.hpp"
#include "worker.hpp"

namespace lockbyfile::torture {

using namespace std::chrono_literals;

namespace {

class vandal {
 public:
  vandal(history& log, const plan& p, std::uint64_t seed) : log_(log), plan_(p), dice_(seed) {
    for (std::size_t i = 0; i < p.places.size(); ++i) {
      if (p.places[i].kind >= weather::operators) names_.push_back(static_cast<std::uint8_t>(i));
    }
  }

  void operate() {
    until_the_end([this](std::uint8_t name, weather) {
      if (dice_.one_in(2)) {
        break_it(name);
      } else if (dice_.one_in(4)) {
        prune_its_directory(name);
      } else {
        remove_it(name);
      }
    });
  }

  void play() {
    until_the_end([this](std::uint8_t name, weather kind) {
      if (kind >= weather::scribbles && dice_.one_in(2)) {
        scribble(name);
      } else if (kind >= weather::mischief) {
        play_with_the_file(name);
      }
    });
  }

 private:
  template <class F>
  void until_the_end(F&& misdeed) {
    while (now() < plan_.end) {
      std::this_thread::sleep_for(dice_.mostly_short(100ms * plan_.pace));
      if (names_.empty()) continue;
      const std::uint8_t name = names_[dice_.pick(0, names_.size() - 1)];
      misdeed(name, plan_.places[name].kind);
    }
  }

  [[nodiscard]] deed about(deed_kind kind, std::uint8_t name) const {
    deed d;
    d.kind = kind;
    d.name = name;
    d.process = static_cast<std::uint32_t>(::getpid());
    return d;
  }

  static outcome verdict(bool has_happened) {
    outcome r;
    r.error = has_happened ? 0 : untold;
    return r;
  }

  void break_it(std::uint8_t name) {
    const place& here = plan_.places[name];
    deed d = about(deed_kind::breaking, name);
    std::error_code ec;
    const auto seen = observe(here.lock_name(), here.options(), ec);
    const bool is_known = seen && seen->holder;
    if (is_known && !dice_.one_in(4)) d.token = seen->holder->token.value();
    auto breaking = log_.begin(d);
    break_lock(here.lock_name(), fencing_token(d.token), here.options(), ec);
    if (ec == errc::unreachable) return;  // perhaps the servers still do it
    breaking.finish(verdict(!ec));
  }

  void remove_it(std::uint8_t name) {
    const place& here = plan_.places[name];
    auto removing = log_.begin(about(deed_kind::removing, name));
    std::error_code ec;
    remove(here.lock_name(), here.options(), ec);
    if (ec == errc::unreachable) return;
    // After `stuck` and similar errors it is unknown whether the operation took effect.
    removing.finish(verdict(ec != errc::in_use && ec != errc::not_found));
  }

  void prune_its_directory(std::uint8_t name) {
    const std::string& directory = plan_.places[name].directory;
    std::vector<history::open_deed> prunings;
    for (const std::uint8_t n : names_) {
      if (plan_.places[n].directory == directory)
        prunings.push_back(log_.begin(about(deed_kind::removing, n)));
    }
    try {
      (void)prune(directory);
    } catch (const lock_error& e) {
      if (e.code() == errc::unreachable) return;
      throw;
    }
    for (auto& p : prunings) p.finish(verdict(true));
  }

  void play_with_the_file(std::uint8_t name) {
    const std::string path = plan_.places[name].path();
    deed d = about(deed_kind::mischief, name);
    const auto as = [&d](mischief_kind kind) { d.detail = static_cast<std::uint8_t>(kind); };
    const std::uint64_t n = dice_.pick(0, 6);
    as(n == 0 ? mischief_kind::chmod : n == 1 ? mischief_kind::foreign : mischief_kind::replaced);
    auto playing = log_.begin(d);
    switch (n) {
      case 0:
        ::chmod(path.c_str(), static_cast<mode_t>(dice_.pick(0, 0777)));
        std::this_thread::sleep_for(dice_.mostly_short(10ms));
        ::chmod(path.c_str(), 0600);
        break;
      case 1:
        put_in_place(path, "not a lockfile\n");
        std::this_thread::sleep_for(dice_.mostly_short(20ms));
        ::unlink(path.c_str());
        break;
      case 2: put_in_place(path, ""); break;
      case 3: (void)!::truncate(path.c_str(), 0); break;
      case 4: (void)!::truncate(path.c_str(), static_cast<off_t>(dice_.pick(1, 4095))); break;
      case 5: ::rename(path.c_str(), aside(path).c_str()); break;
      default: ::unlink(path.c_str()); break;
    }
    playing.finish({});
    if (n == 5) ::unlink(aside(path).c_str());
  }

  /// Overwrites some of it, and deletes it after a while.
  void scribble(std::uint8_t name) {
    const std::string path = plan_.places[name].path();
    deed d = about(deed_kind::mischief, name);
    d.detail = static_cast<std::uint8_t>(mischief_kind::scribbled);
    auto playing = log_.begin(d);
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) {
      std::array<std::uint64_t, 64> bytes{};
      for (auto& b : bytes) b = dice_.seed();
      const std::size_t size = dice_.pick(1, sizeof bytes);
      const auto where =
          static_cast<off_t>(dice_.one_in(2) ? dice_.pick(0, 1023) : dice_.pick(0, 4096 - size));
      (void)!::pwrite(fd, bytes.data(), size, where);
      ::close(fd);
      std::this_thread::sleep_for(dice_.mostly_short(100ms));
    }
    ::unlink(path.c_str());
    playing.finish({});
  }

  static std::string aside(const std::string& path) {
    return path + ".aside-" + std::to_string(::getpid());
  }
  static void put_in_place(const std::string& path, const char* content) {
    std::ofstream(aside(path)) << content;
    ::rename(aside(path).c_str(), path.c_str());
  }

  history& log_;
  const plan& plan_;
  dice dice_;
  std::vector<std::uint8_t> names_;
};

}  // namespace

void operate(history& log, const plan& p, std::uint64_t seed) {
  live(log, [&] { vandal(log, p, seed).operate(); });
}

void play_with_files(history& log, const plan& p, std::uint64_t seed) {
  live(log, [&] { vandal(log, p, seed).play(); });
}

}  // namespace lockbyfile::torture
