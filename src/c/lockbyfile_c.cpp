// SPDX-License-Identifier: Apache-2.0
//
// The C API (lockbyfile.h): passes arguments to named_lock, and returns errors as numbers. No rule
// of the lock is here.
//
// A caller's struct may be shorter or longer than ours. Options that it lacks get our default, and
// options that we lack must be zero. Of results, the common part is filled in.
#include <lockbyfile.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <lockbyfile/lockbyfile.hpp>
#include <new>
#include <string>

#include "core/error_text.hpp"
#include "core/failures.hpp"

struct lockbyfile_lock {
  lockbyfile::named_lock lock;
};

namespace {

using std::chrono::nanoseconds;

static_assert(LOCKBYFILE_FOREVER == lockbyfile::forever.count());
static_assert(LOCKBYFILE_FOREVER == lockbyfile::no_lease.count());

constexpr int first_of_ours = -1000;
static_assert(LOCKBYFILE_TIMED_OUT ==
              first_of_ours - static_cast<int>(lockbyfile::errc::timed_out));
static_assert(LOCKBYFILE_UNREACHABLE ==
              first_of_ours - static_cast<int>(lockbyfile::errc::unreachable));

// One for each thread, and of a fixed size: reporting too little memory needs no memory.
thread_local char message[1024];

int failed(int number, const char* why) noexcept {
  const std::size_t length = std::min(std::strlen(why), sizeof message - 1);
  std::memmove(message, why, length);
  message[length] = '\0';
  return number;
}

int number_of(const std::error_code& code) noexcept {
  if (code.category() == lockbyfile::lock_category()) return first_of_ours - code.value();
  if (code.category() == std::system_category() || code.category() == std::generic_category()) {
    return -code.value();
  }
  return -EIO;
}

/// For an error that is found here, of which named_lock does not know.
int refused(int number, const char* why) noexcept {
  lockbyfile::failure f;
  f.code = number > first_of_ours
               ? std::error_code(-number, std::generic_category())
               : make_error_code(static_cast<lockbyfile::errc>(first_of_ours - number));
  try {
    f.message = why;
  } catch (const std::bad_alloc&) {  // the number says it
  }
  lockbyfile::remember(std::move(f));
  return failed(number, why);
}

/// Runs `call`, which returns an error_code, and turns every failure into a number.
template <class F>
int guarded(F&& call) noexcept {
  const lockbyfile::uncancelled us;
  try {
    const std::error_code code = call();
    return code ? failed(number_of(code), lockbyfile::last_failure().message.c_str()) : 0;
  } catch (const std::system_error& e) {
    lockbyfile::remember(e);
    return failed(number_of(e.code()), e.what());
  } catch (const std::bad_alloc&) {
    return refused(-ENOMEM, "out of memory");
  } catch (const std::exception& e) {
    return refused(-EIO, e.what());
  } catch (...) {
    return refused(-EIO, "an unknown error");
  }
}

int no_argument(const char* which) noexcept { return refused(-EINVAL, which); }

[[noreturn]] void refuse_option(const std::string& why) {
  throw lockbyfile::lock_error(lockbyfile::errc::invalid_option, why, "");
}

/// The members of the caller's struct, and our defaults for the members that it lacks.
lockbyfile_options read(const lockbyfile_options* given) {
  lockbyfile_options o = LOCKBYFILE_OPTIONS_INIT;
  if (given == nullptr) return o;
  if (given->size < offsetof(lockbyfile_options, directory)) {
    refuse_option(
        "lockbyfile_options has no size, or one that is too small: start from "
        "LOCKBYFILE_OPTIONS_INIT");
  }
  std::memcpy(&o, given, std::min(given->size, sizeof o));
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  if (given->size > sizeof o && !std::all_of(bytes + sizeof o, bytes + given->size,
                                             [](unsigned char byte) { return byte == 0; })) {
    refuse_option("lockbyfile_options asks for something that this version does not know");
  }
  if (o.group < -1) refuse_option("lockbyfile_options::group is below -1");
  return o;
}

lockbyfile::lock_options as_lock_options(const lockbyfile_options* given) {
  const lockbyfile_options o = read(given);
  lockbyfile::lock_options result;
  result.lease = nanoseconds(o.lease);
  if (o.directory != nullptr) result.directory = o.directory;
  if (o.description != nullptr) result.description = o.description;
  result.mode = o.mode;
  if (o.group >= 0) result.group = static_cast<unsigned>(o.group);
  result.any_filesystem = o.any_filesystem != 0;
  if (o.leave_sigbus != 0) result.on_truncation = lockbyfile::truncation_guard::leave_out;
  if (o.gives_up != nullptr) {
    result.gives_up = [ask = o.gives_up, context = o.context] { return ask(context) != 0; };
  }
  return result;
}

/// Fills the caller's `out`, except its size.
template <class Struct>
void write(Struct* out, Struct filled) noexcept {
  const std::size_t size = out->size;
  std::memcpy(out, &filled, std::min(size, sizeof filled));
  out->size = size;
}

template <class Struct>
bool has_size(const Struct* s) noexcept {
  return s->size >= sizeof s->size;
}

lockbyfile_state as_state(const lockbyfile::lock_state& seen) {
  lockbyfile_state s = LOCKBYFILE_STATE_INIT;
  s.is_open = seen.is_open() ? 1 : 0;
  s.waiters = seen.waiters.size();
  if (!seen.holder) return s;
  const lockbyfile::holder_info& h = *seen.holder;
  s.is_held = 1;
  s.is_alive = h.alive ? 1 : 0;
  s.pid = h.who.pid;
  s.user = h.who.user;
  s.token = h.token.value();
  s.since = std::chrono::duration_cast<nanoseconds>(h.since.time_since_epoch()).count();
  s.lease = h.lease.count();
  s.lease_left = h.lease_left.count();
  h.who.command.copy(s.command, sizeof s.command - 1);
  return s;
}

}  // namespace

extern "C" {

int lockbyfile_open(lockbyfile_lock** lock, const char* name, const lockbyfile_options* options) {
  if (lock == nullptr) return no_argument("lockbyfile_open: no place for the lock");
  if (name == nullptr) return no_argument("lockbyfile_open: no name");
  return guarded([&] {
    *lock = new lockbyfile_lock{lockbyfile::named_lock(name, as_lock_options(options))};
    return std::error_code();
  });
}

void lockbyfile_free(lockbyfile_lock* lock) { delete lock; }

int lockbyfile_acquire(lockbyfile_lock* lock, int64_t patience, lockbyfile_grant* grant) {
  if (lock == nullptr) return no_argument("lockbyfile_acquire: no lock");
  if (grant != nullptr && !has_size(grant)) {
    return refused(
        LOCKBYFILE_INVALID_OPTION,
        "lockbyfile_grant has no size, or one that is too small: start from LOCKBYFILE_GRANT_INIT");
  }
  return guarded([&] {
    const lockbyfile::grant g = lock->lock.acquire(nanoseconds(patience));
    if (grant != nullptr) {
      lockbyfile_grant told = LOCKBYFILE_GRANT_INIT;
      told.token = g.token.value();
      told.waited = g.waited.count();
      told.place = g.place;
      told.how = static_cast<int32_t>(g.how);
      write(grant, told);
    }
    return std::error_code();
  });
}

int lockbyfile_renew(lockbyfile_lock* lock) {
  if (lock == nullptr) return no_argument("lockbyfile_renew: no lock");
  return guarded([&] {
    lock->lock.renew();
    return std::error_code();
  });
}

int lockbyfile_release(lockbyfile_lock* lock) {
  if (lock == nullptr) return no_argument("lockbyfile_release: no lock");
  return guarded([&] {
    std::error_code code;
    lock->lock.release(code);
    return code;
  });
}

int lockbyfile_is_held(const lockbyfile_lock* lock) {
  return lock != nullptr && lock->lock.is_held() ? 1 : 0;
}

uint64_t lockbyfile_token(const lockbyfile_lock* lock) {
  return lock == nullptr ? 0 : lock->lock.token().value();
}

int64_t lockbyfile_lease_left(const lockbyfile_lock* lock) {
  return lock == nullptr ? 0 : lock->lock.lease_remaining().count();
}

int lockbyfile_set_lease(lockbyfile_lock* lock, int64_t lease) {
  if (lock == nullptr) return no_argument("lockbyfile_set_lease: no lock");
  return guarded([&] {
    lock->lock.set_lease(nanoseconds(lease));
    return std::error_code();
  });
}

int lockbyfile_lifeline(const lockbyfile_lock* lock) {
  return lock == nullptr ? -1 : lock->lock.native_handle();
}

const char* lockbyfile_path(const lockbyfile_lock* lock) {
  return lock == nullptr ? "" : lock->lock.path().c_str();
}

int lockbyfile_observe(const char* name, const lockbyfile_options* options,
                       lockbyfile_state* state) {
  if (name == nullptr) return no_argument("lockbyfile_observe: no name");
  if (state == nullptr) return no_argument("lockbyfile_observe: no place for the state");
  if (!has_size(state)) {
    return refused(
        LOCKBYFILE_INVALID_OPTION,
        "lockbyfile_state has no size, or one that is too small: start from LOCKBYFILE_STATE_INIT");
  }
  return guarded([&] {
    write(state, as_state(lockbyfile::observe(name, as_lock_options(options))));
    return std::error_code();
  });
}

int lockbyfile_break(const char* name, uint64_t token, const lockbyfile_options* options) {
  if (name == nullptr) return no_argument("lockbyfile_break: no name");
  return guarded([&] {
    lockbyfile::break_lock(name, lockbyfile::fencing_token(token), as_lock_options(options));
    return std::error_code();
  });
}

int lockbyfile_remove(const char* name, const lockbyfile_options* options) {
  if (name == nullptr) return no_argument("lockbyfile_remove: no name");
  return guarded([&] {
    lockbyfile::remove(name, as_lock_options(options));
    return std::error_code();
  });
}

const char* lockbyfile_message(void) { return message; }

int lockbyfile_last_failure(lockbyfile_failure* failure) {
  if (failure == nullptr) return no_argument("lockbyfile_last_failure: no place for the failure");
  if (!has_size(failure)) {
    return refused(LOCKBYFILE_INVALID_OPTION,
                   "lockbyfile_failure has no size, or one that is too small: start from "
                   "LOCKBYFILE_FAILURE_INIT");
  }
  const lockbyfile::failure& last = lockbyfile::last_failure();
  lockbyfile_failure f = LOCKBYFILE_FAILURE_INIT;
  f.error = last.code ? number_of(last.code) : 0;
  f.cause = static_cast<int32_t>(last.cause);
  f.waited = last.waited.count();
  f.waiters = last.waiters;
  if (last.holder) {
    f.has_holder = 1;
    f.pid = last.holder->pid;
    f.user = last.holder->user;
    last.holder->command.copy(f.command, sizeof f.command - 1);
    last.holder->host.copy(f.host, sizeof f.host - 1);
  }
  write(failure, f);
  return 0;
}

int lockbyfile_error_is_system(int error) { return error < 0 && error > first_of_ours ? 1 : 0; }

const char* lockbyfile_error_text(int error) {
  if (error == 0) return "success";
  if (lockbyfile_error_is_system(error) != 0) {
    const char* const text = ::strerrordesc_np(-error);
    return text != nullptr ? text : "unknown error of the system";
  }
  const char* const text =
      lockbyfile::text_of(static_cast<lockbyfile::errc>(first_of_ours - error));
  return text != nullptr ? text : "unknown error of lockbyfile";
}

const char* lockbyfile_version(void) { return LOCKBYFILE_VERSION; }

}  // extern "C"
