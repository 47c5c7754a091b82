// SPDX-License-Identifier: Apache-2.0
//
// break, remove, prune: an operator's transitions of the word.
//
// Removal. It happens under the maintenance lock, and only if the path leads to the file that we
// have open. The steps: word free -> tombstone, unlink, wake every waiter. A session that has the
// file open finds the tombstone at its next look and goes to the path again. A session that opened
// the file a moment ago finds the tombstone after claiming a slot (lockfile.hpp, F2). A grant is
// never removed: the compare-exchange is from a free word.
//
// A remover that dies between tombstone and unlink loses the maintenance lock, and the next opener
// revives the file. A remover that is stopped there keeps the lock, and openers fail with `stuck`
// after 2 seconds.
//
// The simpler design that fails: unlink a file that looks unused. Two processes that wait for the
// same lock then hold one each, of an old and a new file.
#include <unistd.h>

#include <cerrno>
#include <lockbyfile/maintain.hpp>
#include <lockbyfile/observe.hpp>

#include "core/engines.hpp"
#include "core/failures.hpp"
#include "core/name.hpp"
#include "file/line.hpp"
#include "file/lockfile.hpp"
#include "file/point.hpp"
#include "file/records.hpp"
#include "file/session.hpp"
#include "file/tokens.hpp"

namespace lockbyfile {
inline namespace v0 {

namespace {

using namespace file;

lock_error refused(errc code, const std::string& why, const std::string& path) {
  return {code, why + path, path};
}

constexpr unsigned most_tries = 3;  // with a mapping that becomes unusable again and again

/// The same, about a lock that somebody holds.
lock_error refused_for_holder(errc code, std::string why, const lockfile& file, word held) {
  failure f;
  f.code = code;
  f.path = file.path();
  const slot& s = file.get().slots[held.slot()];
  f.holder = described(s.pid, s.user, s.command, std::size(s.command));
  f.message = std::move(why) + "; " + text_of(*f.holder) + " holds the lock";
  return lock_error(std::move(f));
}

/// Opens an existing lockfile to change its state. The caller wakes the waiters.
void open_existing(lockfile& file) {
  if (!file.attach_without_slot(access::read_write)) file.throw_never_used();
  switch (file.examine()) {
    case condition::blank: file.throw_never_used();
    case condition::damaged: file.throw_damaged();
    default: break;
  }
}

/// The lock's tokens must stay below its successor's, also if they are ahead of the clock. So the
/// mark outlives the file.
void keep_tokens(const lockfile& file, word last) {
  (void)raise_ceiling(file.path(), file.fd(), last.counter() + 1);
}

void remove_file(lockfile& file) {
  const maintenance alone(file.fd(), file.path());
  if (!file.is_at_path()) throw refused(errc::not_found, "there is no lockfile ", file.path());
  header& h = file.get().header;
  condition found = file.examine();
  if (found == condition::other_clock) {
    file.prove_kernel();
    found = file.examine();
  }
  const word seen(h.word.load());
  // Except for its name, nothing shows that the file is ours.
  if (found == condition::blank && !file.path().ends_with(lockfile_suffix)) file.throw_never_used();
  if (found != condition::blank && seen.is_sane()) keep_tokens(file, seen);
  if (found == condition::ready || found == condition::tombstone) {
    const bool abandoned =
        seen.is_held() && seen.slot() < file.capacity() && !file.is_alive(seen.slot());
    if (seen.is_held() && !abandoned && seen.slot() < file.capacity()) {
      throw refused_for_holder(errc::in_use, "cannot remove " + file.path(), file, seen);
    }
    if (seen.is_held() && !abandoned) throw refused(errc::in_use, "somebody holds ", file.path());
    std::uint64_t expected = seen.bits();
    if (!seen.is_tombstone() && !h.word.compare_exchange_strong(expected, seen.entombed().bits())) {
      file.throw_if_unusable();
      throw refused(errc::in_use, "somebody has just acquired ", file.path());
    }
  } else if (try_hold(file.fd(), all_lifelines) != try_result::taken) {  // until it is closed
    throw refused(errc::in_use, "somebody has open ", file.path());
  }
  reach(point::word_entombed);
  if (sys.unlink(file.path().c_str()) != 0) {
    const int error = errno;
    const word w(h.word.load());
    std::uint64_t expected = w.bits();
    if (w.is_tombstone()) h.word.compare_exchange_strong(expected, w.freed().bits());
    throw lock_error({error, std::system_category()}, "cannot remove " + file.path(), file.path());
  }
  reach(point::file_unlinked);
  remove_passed_mark(file.path());
  if (found == condition::ready) line(file).wake_all();
}

void force_open(std::string_view name, fencing_token expected, const lock_options& options) {
  const std::string full = full_name(name, options.directory);
  if (const engine_table* other = other_engine(full))
    return other->break_lock(full, expected, options);
  lockfile file(resolve(full, options.directory), options);
  open_existing(file);
  header& h = file.get().header;
  unsigned tries = 0;
  for (;;) {
    const word seen(h.word.load());
    const auto mismatch = [&](const std::string& why) {
      return lock_error(errc::token_mismatch, file.path() + why, file.path());
    };
    if (!seen.is_held() && file.is_unusable() && tries++ < most_tries) {
      file.throw_if_unusable();
      continue;
    }
    if (!seen.is_held()) throw mismatch(" is not held by anybody");
    if (seen.slot() >= file.capacity()) file.throw_damaged();
    const fencing_token token(file.get().slots[seen.slot()].token.load());
    std::uint64_t bits = h.word.load();
    if (bits != seen.bits()) continue;  // the token may be another grant's
    if (expected && token != expected) {
      throw refused_for_holder(errc::token_mismatch,
                               "nothing was broken, since " + file.path() +
                                   " is held under token " + std::to_string(token.value()),
                               file, seen);
    }
    reach(point::holder_read);
    const word broken = seen.broken();
    line::note_opening(h, broken, now());
    if (!h.word.compare_exchange_strong(bits, broken.bits())) continue;
    reach(point::word_broken);
    write_break(h, {token, this_party(options.description), std::chrono::system_clock::now()});
    break;
  }
  reach(point::break_recorded);
  line(file).wake_head();
}

void remove_lock(std::string_view name, const lock_options& options) {
  const std::string full = full_name(name, options.directory);
  if (const engine_table* other = other_engine(full)) return other->remove(full, options);
  lockfile file(resolve(full, options.directory), options);
  if (!file.attach_without_slot(access::read_write)) file.throw_never_used();
  remove_file(file);
}

}  // namespace

void break_lock(std::string_view name, fencing_token expected, const lock_options& options) {
  told([&] { force_open(name, expected, options); });
}

void break_lock(std::string_view name, fencing_token expected, const lock_options& options,
                std::error_code& ec) {
  caught(ec, [&] { force_open(name, expected, options); });
}

void remove(std::string_view name, const lock_options& options) {
  told([&] { remove_lock(name, options); });
}

void remove(std::string_view name, const lock_options& options, std::error_code& ec) {
  caught(ec, [&] { remove_lock(name, options); });
}

namespace {

/// What prune would do about one lockfile, as far as that shows without doing it.
bool is_prunable(const std::string& path) {
  lockfile file(resolve(path.find('/') == std::string::npos ? "./" + path : path, {}), {});
  if (!file.attach_without_slot(access::read_write)) return false;
  if (is_held_elsewhere(file.fd(), all_lifelines)) return false;
  if (file.examine() == condition::blank && !file.path().ends_with(lockfile_suffix)) return false;
  const std::string directory = file.path().substr(0, file.path().rfind('/') + 1);
  return ::access(directory.c_str(), W_OK | X_OK) == 0;
}

}  // namespace

std::vector<std::string> prunable(const std::string& directory) {
  return prunable(directory, which_names::with_suffix);
}

std::vector<std::string> prunable(const std::string& directory, which_names which) {
  const engine_table* const other = other_engine(directory);
  std::vector<std::string> found;
  for (const std::string& path : list(directory, which)) {
    try {
      if (other == nullptr ? !is_prunable(path) : bool(other->observe(path, {}).holder)) continue;
      found.push_back(path);
    } catch (const std::system_error&) {  // skipped
    }
  }
  return found;
}

std::vector<std::string> prune(const std::string& directory) {
  return prune(directory, which_names::with_suffix);
}

std::vector<std::string> prune(const std::string& directory, which_names which) {
  if (const engine_table* other = other_engine(directory)) return other->prune(directory);
  std::vector<std::string> removed;
  for (const std::string& path : list(directory, which)) {
    try {
      lockfile file(resolve(path.find('/') == std::string::npos ? "./" + path : path, {}), {});
      if (!file.attach_without_slot(access::read_write)) continue;
      if (is_held_elsewhere(file.fd(), all_lifelines)) continue;
      remove_file(file);
      removed.push_back(path);
    } catch (const std::system_error&) {  // skipped
    }
  }
  remove_passed_marks(directory.empty() ? "." : directory);
  return removed;
}

}  // namespace v0
}  // namespace lockbyfile
