// SPDX-License-Identifier: Apache-2.0
//
// _Lock: the part of lockbyfile.Lock that is in C++.
//
// Threads often share a Python lock (a decorator, a module's global), and a named_lock is one
// thread's. So each thread that uses a _Lock has a named_lock of its own there, opened at its first
// use. They exclude each other like those of different processes. Where greenlets are a program's
// threads, each greenlet has one.
//
// (P1) A thread's part, `own`, is in the thread's dictionary (current_storage), which ends with the
//      thread. The _Lock knows the part by a weak pointer. The part is closed when its thread ends,
//      or when the _Lock is deallocated or closed, whichever comes first.
// (P2) All of this is touched with the GIL held. Except: a call that may wait is made without it,
//      by a `user` of the part. close() first marks the _Lock, so that no part gets a new user.
//      Then it waits for the users, and only then frees. It is refused while one of them waits for
//      the lock.
// (P3) A free lockfile is taken and released with the GIL held. That takes less time than leaving
//      the GIL, and never waits (at_once). All other calls may wait: for the lock, for a process
//      that sets up the file, for a server.
// (P4) The main thread checks for signals while it waits (lock_options::gives_up), and runs their
//      Python handlers there. If one raises, the wait ends; a grant that came together with it is
//      released.
// (P5) The thread of a keep_alive drops no reference. The objects that it calls belong to the part.
//      The thread that ends the keep_alive drops them, with the GIL.
// (P6) After fork the child leaves the parts of other threads as they are: their threads are not
//      there to finish their work. So is a keep_alive left, which has no thread there.
#include "lock.hpp"

#include <structmember.h>
#include <sys/stat.h>
#include <time.h>

#include <atomic>
#include <memory>
#include <stop_token>
#include <vector>

#include "core/at_once.hpp"
#include "gil.hpp"
#include "outside.hpp"

namespace lockbyfile::python {

namespace {

using std::chrono::nanoseconds;

struct lock_object;

/// The data that the thread of a keep_alive uses (P5).
struct told {
  std::atomic<bool> wants_gil{false};
  std::atomic<bool> is_silenced{false};
  PyObject* on_lost = nullptr;  // null once it is over
  std::string path;
};

/// A thread's part of a lock.
struct own : std::enable_shared_from_this<own> {
  std::optional<named_lock> lock;
  std::unique_ptr<keep_alive> keeper;
  std::shared_ptr<told> keeper_tells;
  lock_object* of = nullptr;      // null: the _Lock is gone
  PyObject* home = nullptr;       // the capsule that closes it when it ends
  std::shared_ptr<job> waiting;   // for the lock
  unsigned users = 0;             // (P2)
  bool is_granted = false;        // and not released
  unsigned process = forks();     // that made this part
  unsigned granted_in = forks();  // the process that was granted the lock
  unsigned kept_in = forks();
  std::string way;    // the path that led to the file
  timespec looked{};  // when, by a clock that ticks every few milliseconds
};

struct lock_object {
  PyObject ob_base;
  lock_options options;
  std::string path;
  PyObject* key;                             // of the threads' dictionaries
  std::vector<std::weak_ptr<own>> everyone;  // of all threads
  unsigned long last_thread;                 // the one that came last, and its part
  own* last;
  bool is_remote;
  bool is_cancelled;  // for good
  bool is_closed;
};

lock_object* of(PyObject* self) { return reinterpret_cast<lock_object*>(self); }

PyTypeObject* grant_type = nullptr;
PyObject* no_patience_given = nullptr;  // a default that stands for no argument

/// Keeps a part from being closed (P2). Ends with the GIL held. A pointer is enough, because
/// forget_own does not touch a part that has users.
class user {
 public:
  explicit user(own& mine) noexcept : mine_(mine) { ++mine_.users; }
  ~user() { --mine_.users; }
  user(const user&) = delete;
  user& operator=(const user&) = delete;

 private:
  own& mine_;
};

// --- signals (P4) ------------------------------------------------------------------------

unsigned long main_thread = 0;
thread_local PyThreadState* waiting_state = nullptr;  // of this thread, if it may run handlers

bool has_signal_raised() {
  if (waiting_state == nullptr) return false;
  take_gil(waiting_state);
  const bool has_raised = PyErr_CheckSignals() != 0;
  waiting_state = PyEval_SaveThread();
  return has_raised;
}

// --- a thread's part (P1) ------------------------------------------------------------------

constexpr const char* capsule_name = "lockbyfile.own";

std::shared_ptr<own>* held_by(PyObject* capsule) {
  return static_cast<std::shared_ptr<own>*>(PyCapsule_GetPointer(capsule, capsule_name));
}

/// The end of a keep_alive, with the objects that it owns. May wait for on_lost, which needs the
/// GIL.
class ended_keeper {
 public:
  explicit ended_keeper(own& mine)
      : keeper_(mine.keeper.release()),
        tells_(std::move(mine.keeper_tells)),
        is_ours_(mine.kept_in == forks()) {}

  /// The rest of it: null if there is nothing to wait for.
  keep_alive* take() {
    keep_alive* const keeper = keeper_;
    keeper_ = nullptr;
    if (keeper == nullptr || !is_ours_) return nullptr;  // (P6)
    if (is_interpreter_ending()) {
      tells_->is_silenced = true;
      if (tells_->wants_gil) return nullptr;  // it will never end: see gil.hpp
    }
    return keeper;
  }
  void forget_callee() {
    if (tells_ && is_ours_) Py_CLEAR(tells_->on_lost);
  }

 private:
  keep_alive* keeper_;
  std::shared_ptr<told> tells_;
  bool is_ours_;
};

void stop_keeping(own& mine) {
  if (!mine.keeper) return;
  ended_keeper ended(mine);
  if (keep_alive* const keeper = ended.take(); keeper != nullptr) {
    const auto work = std::make_shared<job>();
    work->call = [keeper](job&) { delete keeper; };
    PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
    PyErr_Fetch(&type, &value, &traceback);
    // on_lost may wait for something that greenlets of this thread have.
    if (run(work, nullptr, true) == ran::raised && PyErr_Occurred() != nullptr) {
      if (type == nullptr) {
        PyErr_Fetch(&type, &value, &traceback);
      } else {
        PyErr_Clear();
      }
    }
    PyErr_Restore(type, value, traceback);
  }
  ended.forget_callee();
}

/// Closes the parts that nobody uses any more. An exception that is set stays set.
void close_own(const std::shared_ptr<own>& one, bool is_remote) {
  stop_keeping(*one);
  if (!one->lock) return;
  if (!is_remote) return one->lock.reset();
  const auto work = std::make_shared<job>();
  work->call = [one](job&) { one->lock.reset(); };
  PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  if (run(work, nullptr, true) == ran::raised) PyErr_Clear();
  PyErr_Restore(type, value, traceback);
}

/// Called when the thread, or greenlet, has ended, or the lock was closed. This code cannot wait
/// for other threads to run.
void forget_own(PyObject* capsule) {
  std::shared_ptr<own>* const held = held_by(capsule);
  own& mine = **held;
  if (mine.of != nullptr && mine.of->last == &mine) {
    mine.of->last = nullptr;
    mine.of->last_thread = 0;
  }
  if (mine.home != capsule) {  // it has moved
    delete held;
    return;
  }
  if (mine.users > 0) return;  // the interpreter ends, and the process with it; or (P6)
  ended_keeper ended(mine);
  ended.forget_callee();
  keep_alive* const keeper = ended.take();
  if (keeper == nullptr && !(mine.lock && is_of_a_server(mine.lock->path()))) {
    delete held;
    return;
  }
  const auto end = [keeper, part = *held] {
    delete keeper;
    part->lock.reset();
  };
  if (is_cooperative() && !is_interpreter_ending()) {
    run_unattended(end);
  } else {
    const without_gil others_run;
    end();
  }
  delete held;
}

PyObject* say_closed(lock_object* self) {
  return PyErr_Format(PyExc_ValueError, "the lock %s is closed", self->path.c_str());
}

/// Opens a part. Null with an error.
std::shared_ptr<own> new_own(lock_object* self) {
  auto made = std::make_shared<own>();
  const std::string path = self->path;
  const lock_options options = self->options;
  if (!run_outside(
          path, [made, path, options] { made->lock.emplace(path, options); }, options.directory))
    return {};
  return made;
}

own* move_in(lock_object* self, PyObject* storage, std::shared_ptr<own> part) {
  own* const mine = part.get();
  auto made = std::make_unique<std::shared_ptr<own>>(std::move(part));
  const object fresh(PyCapsule_New(made.get(), capsule_name, forget_own));
  if (!fresh) return nullptr;
  (void)made.release();
  mine->home = fresh.get();
  return PyDict_SetItem(storage, self->key, fresh.get()) == 0 ? mine : nullptr;
}

/// Puts the part into the thread's dictionary. Null with an error.
own* keep_own(lock_object* self, std::shared_ptr<own> opened) {
  const object storage = current_storage();
  if (!storage) return nullptr;
  opened->of = self;
  std::erase_if(self->everyone, [](const auto& w) { return w.expired(); });
  self->everyone.push_back(opened);
  return move_in(self, storage.get(), std::move(opened));
}

own* find_own(lock_object* self) {
  const object storage = current_storage();
  if (!storage) return nullptr;
  PyObject* const capsule = PyDict_GetItemWithError(storage.get(), self->key);
  return capsule == nullptr ? nullptr : held_by(capsule)->get();
}

/// The calling thread's part, opened if necessary. Null with an error.
own* slow_own(lock_object* self) {
  if (self->is_closed) return say_closed(self), nullptr;
  own* found = find_own(self);
  if (found == nullptr) {
    if (PyErr_Occurred() != nullptr) return nullptr;
    auto opened = new_own(self);
    if (!opened) return nullptr;
    if (self->is_closed) {  // meanwhile
      close_own(opened, self->is_remote);
      return say_closed(self), nullptr;
    }
    found = keep_own(self, std::move(opened));
    if (found == nullptr) return nullptr;
  }
  if (!is_cooperative()) {
    self->last_thread = PyThread_get_thread_ident();
    self->last = found;
  }
  return found;
}

bool is_last(lock_object* self) {
  return self->last != nullptr && self->last_thread == PyThread_get_thread_ident() &&
         !is_cooperative();
}

own* own_of(lock_object* self) { return is_last(self) ? self->last : slow_own(self); }

/// The calling thread's part if there is one. No error.
own* own_if_any(lock_object* self) {
  if (is_last(self)) return self->last;
  if (self->is_closed || self->key == nullptr) return nullptr;
  own* const found = find_own(self);
  if (found == nullptr) PyErr_Clear();
  return found;
}

/// The parts that are this process's (P6).
std::vector<std::shared_ptr<own>> parts_of(lock_object* self) {
  std::vector<std::shared_ptr<own>> parts;
  for (const auto& weak : self->everyone) {
    if (auto one = weak.lock(); one && (one->users == 0 || one->process == forks()))
      parts.push_back(std::move(one));
  }
  return parts;
}

/// Closes every thread's part (P2). False, with an error and nothing done, if one of them waits.
bool close_all(lock_object* self) {
  const auto parts = parts_of(self);
  const own* const mine = own_if_any(self);
  for (const auto& one : parts) {
    if (one->waiting) {
      PyErr_Format(PyExc_RuntimeError, "another thread waits for %s with this lock",
                   self->path.c_str());
      return false;
    }
    if (one.get() == mine && one->users > 0) {  // in a finalizer, say, or a signal's handler
      PyErr_Format(PyExc_RuntimeError, "this thread is using %s just now", self->path.c_str());
      return false;
    }
  }
  self->is_closed = true;
  self->last = nullptr;
  self->last_thread = 0;
  self->everyone.clear();
  for (const auto& one : parts) {
    while (one->users > 0) {
      if (!pause_for_others()) PyErr_WriteUnraisable(nullptr);  // it is closed nevertheless
    }
    one->of = nullptr;
    close_own(one, self->is_remote);
  }
  PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  if (const object storage = current_storage();
      !storage || PyDict_DelItem(storage.get(), self->key) != 0) {
    PyErr_Clear();  // this thread has not used it
  }
  PyErr_Restore(type, value, traceback);
  return true;
}

// --- grants ---------------------------------------------------------------------------------

PyObject* python_grant(const grant& g) {
  object result(PyStructSequence_New(grant_type));
  if (!result) return nullptr;
  PyObject* previous = Py_NewRef(Py_None);
  if (g.previous) {
    Py_SETREF(previous, party_of(*g.previous));
    if (previous == nullptr) return nullptr;
  }
  PyStructSequence_SET_ITEM(result.get(), 0, PyLong_FromUnsignedLongLong(g.token.value()));
  PyStructSequence_SET_ITEM(result.get(), 1, how_of(g.how));
  PyStructSequence_SET_ITEM(result.get(), 2, previous);
  PyStructSequence_SET_ITEM(result.get(), 3,
                            PyFloat_FromDouble(std::chrono::duration<double>(g.waited).count()));
  PyStructSequence_SET_ITEM(result.get(), 4, PyLong_FromSize_t(g.place));
  return result.release();
}

/// The result of a call of the library. On the heap, as a job is.
struct answer {
  std::optional<grant> granted;
  std::error_code code;
  std::chrono::steady_clock::duration took{};
};

/// Sets the exception for the job's result. Returns null.
PyObject* raise_outcome(lock_object* self, const job& work, std::error_code ec, const char* what) {
  if (work.error) {
    try {
      std::rethrow_exception(work.error);
    } catch (...) {
      return raise_current();
    }
  }
  return raise(ec, work.why, std::string(what) + " " + self->path, self->path);
}

PyObject* raise_deadlock(lock_object* self, const char* why) {
  return raise(errc::would_deadlock, {}, "cannot acquire " + self->path, self->path, why);
}

/// Waits without the GIL (P2, P4). False with an exception, and then nothing is held.
bool wait_for(lock_object* self, own& mine, nanoseconds patience,
              const std::shared_ptr<answer>& found) {
  const bool may_run_handlers = PyThread_get_thread_ident() == main_thread;
  const auto begun = std::chrono::steady_clock::now();
  const auto work = std::make_shared<job>();
  work->patience = patience;
  work->call = [part = mine.shared_from_this(), found, may_run_handlers,
                python = PyThreadState_Get()](job& us) {
    // Only if this thread left the GIL itself; not if it runs while other greenlets wait.
    if (may_run_handlers && us.done < 0) waiting_state = python;
    found->granted = part->lock->acquire(us.patience, us.stop.get_token(), found->code);
    waiting_state = nullptr;
  };
  if (self->is_cancelled) work->stop.request_stop();
  const bool waits = patience > nanoseconds(0);
  if (waits) mine.waiting = work;
  const ran how = run(work, waits ? &self->path : nullptr, self->is_remote);
  mine.waiting.reset();
  found->took = std::chrono::steady_clock::now() - begun;
  if (found->granted && work->done >= 0) found->granted->waited = found->took;  // its turn, too
  if (how == ran::too_late) found->code = errc::timed_out;
  if (how == ran::raised || PyErr_Occurred() != nullptr) {
    if (found->granted) mine.lock->unlock();
    return false;
  }
  if (found->granted || found->code == errc::timed_out) return true;
  raise_outcome(self, *work, found->code, "cannot acquire");
  return false;
}

void give_back_quietly(own& mine) {
  PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  mine.is_granted = false;
  mine.lock->unlock();
  PyErr_Restore(type, value, traceback);
}

PyObject* told_of(lock_object* self, own& mine, const grant& granted) {
  mine.is_granted = true;
  mine.granted_in = forks();
  if (granted.how != grant_kind::free) {
    const object said(
        call_errors("took_over", "(NNN)", path_to(self->path), how_of(granted.how),
                    granted.previous ? party_of(*granted.previous) : Py_NewRef(Py_None)));
    if (!said) return give_back_quietly(mine), nullptr;
  }
  PyObject* const result = python_grant(granted);
  if (result == nullptr) give_back_quietly(mine);
  return result;
}

bool take_at_once(lock_object* self, own& mine) {
  return !self->is_remote && at_once::acquire(*mine.lock);  // (P3)
}

/// The part of an acquisition that take_at_once omits: it may wait for another process, but not for
/// the holder.
std::optional<grant> try_once(own& mine, std::error_code& ec, failure& why) {
  const without_gil others_run;
  auto granted = mine.lock->acquire(nanoseconds(0), {}, ec);
  if (ec && ec != errc::timed_out) why = last_failure();
  return granted;
}

grant plain_grant(const own& mine) {
  grant plain;
  plain.token = mine.lock->token();
  return plain;
}

PyObject* acquire(lock_object* self, nanoseconds patience) {
  own* const mine = own_of(self);
  if (mine == nullptr) return nullptr;
  if (mine->users > 0) {  // by this same thread: in a signal handler, say
    return raise_deadlock(self, mine->waiting ? "this thread waits for it already"
                                              : "this thread is using it just now");
  }
  const user us(*mine);
  if (take_at_once(self, *mine)) return told_of(self, *mine, plain_grant(*mine));
  if (mine->lock->is_held()) return raise_deadlock(self, "this thread holds it already");
  const auto found = std::make_shared<answer>();
  const bool waits = patience > nanoseconds(0);
  if (!self->is_remote) {
    failure why;
    found->granted = try_once(*mine, found->code, why);
    if (!found->granted && found->code != errc::timed_out)
      return raise(found->code, why, "cannot acquire " + self->path, self->path);
  }
  if ((self->is_remote || (waits && !found->granted)) && !wait_for(self, *mine, patience, found))
    return nullptr;
  if (found->granted) return told_of(self, *mine, *found->granted);
  const object error(call_errors("timed_out", "(NNd)", path_to(self->path), seconds_of(patience),
                                 std::chrono::duration<double>(found->took).count()));
  if (error) PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
  return nullptr;
}

/// The result of release or renew, and its reason. False with an exception of another kind.
struct settled {
  std::error_code code;
  failure why;
  bool is_of_parent = false;
};

bool release(lock_object* self, own& mine, settled& result) {
  stop_keeping(mine);
  result.is_of_parent = mine.is_granted && mine.granted_in != forks();
  mine.is_granted = false;
  if (!self->is_remote) {
    mine.lock->release(result.code);
    if (result.code) result.why = last_failure();
    return true;
  }
  const auto found = std::make_shared<answer>();
  const auto work = std::make_shared<job>();
  work->call = [part = mine.shared_from_this(), found](job&) { part->lock->release(found->code); };
  const ran how = run(work, nullptr, true);
  result.code = found->code;
  if (result.code) result.why = work->why;
  return how != ran::raised;
}

PyObject* raise_loss(lock_object* self, const settled& found, const char* what) {
  if (found.is_of_parent) {
    failure why;
    why.cause = lost_cause::lifeline_closed;
    return raise(
        errc::lease_lost, why, std::string(what) + " " + self->path, self->path,
        "it was granted to the process that forked this one, and a fork does not pass it on: "
        "lock after the last fork");
  }
  return raise(found.code, found.why, std::string(what) + " " + self->path, self->path);
}

// --- what a lock says of itself --------------------------------------------------------------

PyObject* held_by_lock(const named_lock& lock) { return PyBool_FromLong(lock.is_held() ? 1 : 0); }

PyObject* token_of_lock(const named_lock& lock) {
  const fencing_token token = lock.token();
  if (!token) Py_RETURN_NONE;
  return PyLong_FromUnsignedLongLong(token.value());
}

PyObject* remaining_of_lock(const named_lock& lock) {
  if (!lock.is_held()) return PyFloat_FromDouble(0);
  const nanoseconds left = lock.lease_remaining();
  if (left == no_lease) return PyFloat_FromDouble(Py_HUGE_VAL);
  return PyFloat_FromDouble(std::chrono::duration<double>(left).count());
}

// --- arguments -------------------------------------------------------------------------------

/// The message about an argument that threading.Lock and others have, and ours calls otherwise.
const char* hint_for(PyObject* name) {
  if (PyUnicode_CompareWithASCIIString(name, "blocking") == 0)
    return ": patience says how long to wait, and patience=0 tries once";
  if (PyUnicode_CompareWithASCIIString(name, "timeout") == 0)
    return ": patience says how long to wait for the lock, lease how long it lasts";
  return "";
}

bool refuse_borrowed_names(const char* function, PyObject* kwargs) {
  if (kwargs == nullptr) return true;
  PyObject *name = nullptr, *value = nullptr;
  for (Py_ssize_t at = 0; PyDict_Next(kwargs, &at, &name, &value) != 0;) {
    if (const char* const hint = hint_for(name); hint[0] != '\0') {
      PyErr_Format(PyExc_TypeError, "%s() has no argument %R%s", function, name, hint);
      return false;
    }
  }
  return true;
}

/// The script, or the module that runs as a program. Empty: the interpreter's name is used.
std::string program_name() {
  PyObject* const argv = PySys_GetObject("argv");  // borrowed
  if (argv == nullptr || !PyList_Check(argv) || PyList_GET_SIZE(argv) == 0) return {};
  const object path(PyUnicode_EncodeFSDefault(PyList_GET_ITEM(argv, 0)));
  if (!path) return PyErr_Clear(), std::string();
  std::string text = PyBytes_AS_STRING(path.get());
  if (text == "-c" || text == "-m") return {};
  const std::string_view main_of_package = "/__main__.py";
  if (text.ends_with(main_of_package)) text.resize(text.size() - main_of_package.size());
  return text.substr(text.rfind('/') + 1);
}

// --- the type -------------------------------------------------------------------------------

PyObject* lock_new(PyTypeObject* type, PyObject* /*args*/, PyObject* /*kwargs*/) {
  PyObject* const self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  lock_object* const lock = of(self);
  new (&lock->options) lock_options;
  new (&lock->path) std::string;
  new (&lock->everyone) std::vector<std::weak_ptr<own>>;
  lock->is_closed = true;  // until it is initialised
  return self;
}

int lock_init(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"name",  "lease",       "patience",       "directory", "mode",
                                "group", "description", "any_filesystem", nullptr};
  PyObject *name = nullptr, *lease = Py_None, *patience = Py_None, *directory = Py_None;
  PyObject *mode = Py_None, *group = Py_None, *description = Py_None;
  int any_filesystem = 0;
  if (!refuse_borrowed_names("Lock", kwargs)) return -1;
  if (PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO$OOOOp:Lock", const_cast<char**>(names), &name,
                                  &lease, &patience, &directory, &mode, &group, &description,
                                  &any_filesystem) == 0) {
    return -1;
  }
  lock_object* const lock = of(self);
  if (!lock->is_closed) {
    PyErr_SetString(PyExc_RuntimeError, "a Lock is initialised once");
    return -1;
  }
  lock_options options;
  const auto found_name = path_of(name);
  const auto found_lease = found_name ? duration_of(lease, "lease", zero::is_not) : std::nullopt;
  const auto found_patience =
      found_lease ? duration_of(patience, "patience", zero::is_fine) : std::nullopt;
  if (!found_patience) return -1;
  options.lease = *found_lease;
  options.patience = *found_patience;
  options.gives_up = has_signal_raised;
  if (directory != Py_None) {
    const auto found = path_of(directory);
    if (!found) return -1;
    if (found->empty()) return PyErr_SetString(PyExc_ValueError, "directory is empty"), -1;
    options.directory = *found;
  }
  if (mode != Py_None) {
    const long bits = PyLong_AsLong(mode);
    if (bits == -1 && PyErr_Occurred()) return -1;
    if (bits < 0 || bits > 0777)
      return PyErr_Format(PyExc_ValueError, "mode is %R, not within 0o777", mode), -1;
    options.mode = static_cast<unsigned>(bits);
  }
  if (group != Py_None) {
    const unsigned long id = PyLong_AsUnsignedLong(group);
    if (id == static_cast<unsigned long>(-1) && PyErr_Occurred()) return -1;
    if (id >= 0xffffffffUL)
      return PyErr_Format(PyExc_ValueError, "group is %R, not a group's number", group), -1;
    options.group = static_cast<unsigned>(id);
  }
  if (description != Py_None) {
    const char* const text = PyUnicode_AsUTF8(description);
    if (text == nullptr) return -1;
    options.description = text;
  } else {
    options.description = program_name();
  }
  options.any_filesystem = any_filesystem != 0;

  static unsigned long long serial = 0;
  lock->key = PyUnicode_FromFormat("lockbyfile.%llu", ++serial);
  if (lock->key == nullptr) return -1;
  lock->options = options;
  lock->path = *found_name;
  lock->is_remote = is_of_a_server(lock->path);
  auto mine = new_own(lock);
  if (!mine) {
    Py_CLEAR(lock->key);
    return -1;
  }
  lock->path = mine->lock->path();  // where the name led, even if the directory changes later
  lock->is_remote = is_of_a_server(lock->path);
  lock->is_closed = false;
  if (!keep_own(lock, std::move(mine))) {
    lock->is_closed = true;
    return -1;
  }
  return 0;
}

/// The function that a keep_alive calls may refer to the lock. It ends with the lock (P5).
int lock_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  for (const auto& weak : of(self)->everyone) {
    const auto one = weak.lock();
    if (one && one->keeper_tells) Py_VISIT(one->keeper_tells->on_lost);
  }
  return 0;
}

int lock_clear(PyObject* self) {
  for (const auto& weak : of(self)->everyone) {
    const auto one = weak.lock();
    if (one && one->keeper_tells) Py_CLEAR(one->keeper_tells->on_lost);
  }
  return 0;
}

void lock_dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  lock_object* const lock = of(self);
  PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  if (lock->key != nullptr) close_all(lock);
  PyErr_Restore(type, value, traceback);
  Py_XDECREF(lock->key);
  lock->everyone.~vector();
  lock->path.~basic_string();
  lock->options.~lock_options();
  PyTypeObject* const own_type = Py_TYPE(self);
  own_type->tp_free(self);
  Py_DECREF(own_type);
}

PyObject* lock_acquire(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* names) {
  PyObject* patience = n > 0 ? args[0] : no_patience_given;
  const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  if (named > 0 && hint_for(PyTuple_GET_ITEM(names, named - 1))[0] != '\0') {
    PyObject* const called = PyTuple_GET_ITEM(names, named - 1);
    return PyErr_Format(PyExc_TypeError, "acquire() has no argument %R%s", called,
                        hint_for(called));
  }
  if (n + named > 1)
    return PyErr_SetString(PyExc_TypeError, "acquire() takes one argument, patience"), nullptr;
  if (named == 1) {
    PyObject* const called = PyTuple_GET_ITEM(names, 0);
    if (PyUnicode_CompareWithASCIIString(called, "patience") != 0)
      return PyErr_Format(PyExc_TypeError, "acquire() has no argument %R%s", called,
                          hint_for(called));
    patience = args[n];
  }
  if (patience == no_patience_given) return acquire(of(self), of(self)->options.patience);
  const auto found = duration_of(patience, "patience", zero::is_fine);
  return found ? acquire(of(self), *found) : nullptr;
}

PyObject* lock_enter(PyObject* self, PyObject* /*none*/) {
  return acquire(of(self), of(self)->options.patience);
}

PyObject* lock_release(PyObject* self, PyObject* /*none*/) {
  own* const mine = own_of(of(self));
  if (mine == nullptr) return nullptr;
  if (mine->waiting) {  // in a signal's handler, say
    return raise(errc::not_holder, {}, "cannot release " + of(self)->path, of(self)->path);
  }
  const user us(*mine);
  settled found;
  if (!release(of(self), *mine, found)) return nullptr;
  if (found.code) return raise_loss(of(self), found, "cannot release");
  Py_RETURN_NONE;
}

/// Raises a loss, unless an exception is under way; then logs it.
PyObject* lock_exit(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  own* const mine = own_if_any(of(self));
  const bool is_quiet = n > 0 && args[0] != Py_None;
  if (mine == nullptr || mine->waiting) Py_RETURN_FALSE;  // closed in the block
  const user us(*mine);
  settled found;
  if (!release(of(self), *mine, found)) return nullptr;
  if (!found.code || (found.code == errc::not_holder && !found.is_of_parent))
    Py_RETURN_FALSE;  // released in the block
  raise_loss(of(self), found, "lost");
  if (!is_quiet) return nullptr;
  PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  const object told(call_errors("lost_quietly", "(N)", value));
  if (!told) return nullptr;
  Py_RETURN_FALSE;
}

PyObject* lock_renew(PyObject* self, PyObject* /*none*/) {
  own* const mine = own_of(of(self));
  if (mine == nullptr) return nullptr;
  if (mine->waiting) {
    return raise(errc::not_holder, {}, "cannot renew " + of(self)->path, of(self)->path);
  }
  const user us(*mine);
  settled found;
  found.is_of_parent = mine->is_granted && mine->granted_in != forks();
  if (!of(self)->is_remote) {
    mine->lock->renew(found.code);
    if (found.code) found.why = last_failure();
  } else {
    const auto result = std::make_shared<answer>();
    const auto work = std::make_shared<job>();
    work->call = [part = mine->shared_from_this(), result](job&) {
      part->lock->renew(result->code);
    };
    if (run(work, nullptr, true) == ran::raised) return nullptr;
    found.code = result->code;
    if (found.code) found.why = work->why;
  }
  if (found.code) return raise_loss(of(self), found, "cannot renew");
  Py_RETURN_NONE;
}

PyObject* lock_close(PyObject* self, PyObject* /*none*/) {
  if (!of(self)->is_closed && !close_all(of(self))) return nullptr;
  Py_RETURN_NONE;
}

/// Ends the waits of all threads with this lock by LockError 'cancelled', for good. Waits that have
/// not begun yet end as well.
PyObject* lock_cancel(PyObject* self, PyObject* args) {
  int for_good = 0;
  if (PyArg_ParseTuple(args, "|p:_cancel", &for_good) == 0) return nullptr;
  if (for_good != 0) of(self)->is_cancelled = true;
  for (const auto& one : parts_of(of(self))) {
    if (one->waiting) one->waiting->stop.request_stop();
  }
  Py_RETURN_NONE;
}

/// Runs in the thread that renews. Not if the interpreter is about to end.
void call_on_lost(told& us, std::error_code ec) {
  const failure why = last_failure();
  us.wants_gil = true;
  if (us.is_silenced || Py_IsInitialized() == 0) return;
  const PyGILState_STATE state = ensure_gil();
  if (us.on_lost != nullptr) {
    const object callee(Py_NewRef(us.on_lost));  // a loss and the end may come at the same time
    raise(ec, why, "lost " + us.path, us.path);
    PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
    PyErr_Fetch(&type, &value, &traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    const object error(value);
    const object said(error ? call_errors("tell_of_loss", "(OO)", callee.get(), error.get())
                            : nullptr);
    refused_for_ever if_it_ends;
    if (!said) PyErr_WriteUnraisable(callee.get());
    if_it_ends.no();
  }
  PyGILState_Release(state);
  us.wants_gil = false;
}

PyObject* lock_start_keeping(PyObject* self, PyObject* on_lost) {
  own* const mine = own_of(of(self));
  if (mine == nullptr) return nullptr;
  if (mine->keeper && mine->kept_in != forks()) (void)mine->keeper.release();  // (P6)
  if (mine->keeper) return PyErr_SetString(PyExc_RuntimeError, "it is kept alive already"), nullptr;
  const auto tells = std::make_shared<told>();
  tells->path = of(self)->path;
  try {
    tells->on_lost = Py_NewRef(on_lost);
    mine->keeper = std::make_unique<keep_alive>(
        *mine->lock, [tells](std::error_code ec) { call_on_lost(*tells, ec); });
    mine->keeper_tells = tells;
    mine->kept_in = forks();
  } catch (...) {
    Py_CLEAR(tells->on_lost);
    return raise_current();
  }
  Py_RETURN_NONE;
}

PyObject* lock_stop_keeping(PyObject* self, PyObject* /*none*/) {
  own* const mine = own_if_any(of(self));
  if (mine == nullptr) Py_RETURN_NONE;
  const user us(*mine);
  stop_keeping(*mine);
  if (PyErr_Occurred() != nullptr) return nullptr;
  Py_RETURN_NONE;
}

/// A Grant if the lock was free and could be taken without waiting; otherwise None.
PyObject* lock_try_at_once(PyObject* self, PyObject* /*none*/) {
  own* const mine = own_of(of(self));
  if (mine == nullptr) return nullptr;
  if (mine->users > 0) Py_RETURN_NONE;
  const user us(*mine);
  if (!take_at_once(of(self), *mine)) Py_RETURN_NONE;
  return told_of(of(self), *mine, plain_grant(*mine));
}

/// Moves to the caller the part of the thread that opened it, if that thread did nothing else with
/// it.
PyObject* lock_adopt(PyObject* self, PyObject* /*none*/) {
  lock_object* const lock = of(self);
  if (lock->is_closed) return say_closed(lock);
  const auto parts = parts_of(lock);
  const object storage = current_storage();
  if (!storage) return nullptr;
  if (!parts.empty() && find_own(lock) != parts.front().get()) {
    if (PyErr_Occurred() != nullptr) return nullptr;
    lock->last = nullptr;
    lock->last_thread = 0;
    if (move_in(lock, storage.get(), parts.front()) == nullptr) return nullptr;
  }
  Py_RETURN_NONE;
}

bool leads_to(const std::string& path, const struct stat& file) {
  struct stat there {};
  return stat(path.c_str(), &there) == 0 && there.st_dev == file.st_dev &&
         there.st_ino == file.st_ino;
}

/// Whether an acquire(0) may wait for another process: the file is not the one that is open.
PyObject* lock_has_moved(PyObject* self, PyObject* /*none*/) {
  own* const mine = own_of(of(self));
  if (mine == nullptr) return nullptr;
  struct stat ours {};
  const bool same = mine->process == forks() && fstat(mine->lock->native_handle(), &ours) == 0 &&
                    leads_to(of(self)->path, ours);
  return PyBool_FromLong(same ? 0 : 1);
}

/// Whether this way leads to the file that this thread has open. Follows it once in a tick, as the
/// library does with its own path, but always notices that the file was removed.
PyObject* lock_is_at(PyObject* self, PyObject* way) {
  own* const mine = own_if_any(of(self));
  const auto path = path_of(way);
  if (!path) return nullptr;
  if (mine == nullptr || !mine->lock || mine->process != forks()) Py_RETURN_FALSE;
  struct stat ours {};
  // Each time: programs remove the file after each use, and take the lock again at once.
  if (fstat(mine->lock->native_handle(), &ours) != 0 || ours.st_nlink == 0) Py_RETURN_FALSE;
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  if (now.tv_sec == mine->looked.tv_sec && now.tv_nsec == mine->looked.tv_nsec &&
      *path == mine->way)
    Py_RETURN_TRUE;
  if (!leads_to(*path, ours)) Py_RETURN_FALSE;
  mine->way = *path;
  mine->looked = now;
  Py_RETURN_TRUE;
}

/// held, token and remaining of the only part, in whichever thread it is.
PyObject* lock_peek(PyObject* self, PyObject* /*none*/) {
  for (const auto& one : parts_of(of(self))) {
    if (!one->lock) continue;
    const object held(held_by_lock(*one->lock));
    const object token(held ? token_of_lock(*one->lock) : nullptr);
    const object remaining(token ? remaining_of_lock(*one->lock) : nullptr);
    if (!remaining) return nullptr;
    return PyTuple_Pack(3, held.get(), token.get(), remaining.get());
  }
  return Py_BuildValue("(OOd)", Py_False, Py_None, 0.0);
}

PyObject* get_held(PyObject* self, void* /*closure*/) {
  own* const mine = own_if_any(of(self));
  return mine == nullptr ? Py_NewRef(Py_False) : held_by_lock(*mine->lock);
}
PyObject* get_token(PyObject* self, void* /*closure*/) {
  own* const mine = own_if_any(of(self));
  return mine == nullptr ? Py_NewRef(Py_None) : token_of_lock(*mine->lock);
}
PyObject* get_remaining(PyObject* self, void* /*closure*/) {
  own* const mine = own_if_any(of(self));
  return mine == nullptr ? PyFloat_FromDouble(0) : remaining_of_lock(*mine->lock);
}
PyObject* get_is_remote(PyObject* self, void* /*closure*/) {
  return PyBool_FromLong(of(self)->is_remote ? 1 : 0);
}
PyObject* get_path(PyObject* self, void* /*closure*/) { return path_to(of(self)->path); }
PyObject* get_closed(PyObject* self, void* /*closure*/) {
  return PyBool_FromLong(of(self)->is_closed ? 1 : 0);
}
PyObject* get_lease(PyObject* self, void* /*closure*/) {
  return seconds_of(of(self)->options.lease);
}
PyObject* get_patience(PyObject* self, void* /*closure*/) {
  return seconds_of(of(self)->options.patience);
}
int refuse_deletion(const char* what) {
  PyErr_Format(PyExc_AttributeError, "%s cannot be deleted", what);
  return -1;
}
int set_lease(PyObject* self, PyObject* value, void* /*closure*/) {
  if (value == nullptr) return refuse_deletion("lease");
  const auto lease = duration_of(value, "lease", zero::is_not);
  if (!lease) return -1;
  of(self)->options.lease = *lease;
  for (const auto& one : parts_of(of(self))) {
    if (one->lock) one->lock->set_lease(*lease);
  }
  return 0;
}
int set_patience(PyObject* self, PyObject* value, void* /*closure*/) {
  if (value == nullptr) return refuse_deletion("patience");
  const auto patience = duration_of(value, "patience", zero::is_fine);
  if (!patience) return -1;
  of(self)->options.patience = *patience;
  return 0;
}

template <class F>
PyCFunction as_method(F f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}

PyMethodDef lock_methods[] = {
    {"acquire", as_method(lock_acquire), METH_FASTCALL | METH_KEYWORDS,
     "acquire($self, /, patience=...)\n--\n\n"
     "Waits for the lock, `patience` seconds (a number or a timedelta; None: forever; 0: it tries\n"
     "once), or as long as the Lock says. Returns the Grant. LockTimeout if patience runs out."},
    {"release", lock_release, METH_NOARGS,
     "release($self, /)\n--\n\n"
     "Gives the lock back. LeaseLost if it was lost before; LockError 'not_holder' if this thread\n"
     "does not hold it."},
    {"renew", lock_renew, METH_NOARGS,
     "renew($self, /)\n--\n\n"
     "Starts the lease anew. The token stays the same. LeaseLost if the lock was lost."},
    {"close", lock_close, METH_NOARGS,
     "close($self, /)\n--\n\n"
     "Gives back what any thread holds; then the Lock cannot be used any more. Waits for calls "
     "that\n"
     "other threads make just now. RuntimeError if a thread waits for the lock. Harmless twice."},
    {"__enter__", lock_enter, METH_NOARGS,
     "__enter__($self, /)\n--\n\nacquire() with the patience of the Lock."},
    {"__exit__", as_method(lock_exit), METH_FASTCALL,
     "__exit__($self, type, value, traceback, /)\n--\n\n"
     "Gives the lock back. A loss is raised, or logged if another exception is under way."},
    {"_start_keeping", lock_start_keeping, METH_O, nullptr},
    {"_cancel", lock_cancel, METH_VARARGS, nullptr},
    {"_stop_keeping", lock_stop_keeping, METH_NOARGS, nullptr},
    {"_try_at_once", lock_try_at_once, METH_NOARGS, nullptr},
    {"_peek", lock_peek, METH_NOARGS, nullptr},
    {"_adopt", lock_adopt, METH_NOARGS, nullptr},
    {"_is_at", lock_is_at, METH_O, nullptr},
    {"_has_moved", lock_has_moved, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef lock_attributes[] = {
    {"held", get_held, nullptr, "whether the calling thread holds it, and has not lost it",
     nullptr},
    {"token", get_token, nullptr, "the fencing token of the calling thread's last grant, or None",
     nullptr},
    {"remaining", get_remaining, nullptr,
     "seconds of the calling thread's lease that are left; infinity without a lease; 0 if it does "
     "not hold the lock",
     nullptr},
    {"path", get_path, nullptr, "the lockfile", nullptr},
    {"closed", get_closed, nullptr, "whether close() was called", nullptr},
    {"lease", get_lease, set_lease,
     "seconds that a grant lasts unless renewed, or None; a new one counts from the next grant or "
     "renewal",
     nullptr},
    {"patience", get_patience, set_patience, "seconds that a waiter waits, or None: forever",
     nullptr},
    {"_is_remote", get_is_remote, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

const char* const lock_doc =
    "_Lock(name, lease=None, patience=None, *, directory=None, mode=None, group=None, "
    "description=None, any_filesystem=False)\n--\n\n"
    "What lockbyfile.Lock is made of.";

PyType_Slot lock_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(lock_new)},
    {Py_tp_init, reinterpret_cast<void*>(lock_init)},
    {Py_tp_dealloc, reinterpret_cast<void*>(lock_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(lock_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(lock_clear)},
    {Py_tp_doc, const_cast<char*>(lock_doc)},
    {Py_tp_methods, lock_methods},
    {Py_tp_getset, lock_attributes},
    {0, nullptr},
};

PyType_Spec lock_spec = {"lockbyfile._lockbyfile._Lock", sizeof(lock_object), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, lock_slots};

PyStructSequence_Field grant_fields[] = {
    {"token", "a number larger than that of every earlier grant of the name"},
    {"how", "'free', 'expired', 'abandoned' or 'broken'"},
    {"previous", "the Party that held it, if it was taken over"},
    {"waited", "seconds from the call to the grant"},
    {"place", "how many were in line when this waiter joined it"},
    {nullptr, nullptr},
};
PyStructSequence_Desc grant_desc = {"lockbyfile.Grant", "One successful acquisition.", grant_fields,
                                    5};

}  // namespace

void set_main_thread(unsigned long ident) noexcept { main_thread = ident; }

void remember_main_thread() noexcept { main_thread = PyThread_get_thread_ident(); }

bool add_lock_type(PyObject* module) {
  no_patience_given = PyUnicode_InternFromString("no patience given");
  if (no_patience_given == nullptr) return false;
  grant_type = PyStructSequence_NewType(&grant_desc);
  if (grant_type == nullptr) return false;
  if (PyModule_AddObjectRef(module, "Grant", reinterpret_cast<PyObject*>(grant_type)) != 0)
    return false;
  const object type(PyType_FromSpec(&lock_spec));
  return type && PyModule_AddObjectRef(module, "_Lock", type.get()) == 0;
}

}  // namespace lockbyfile::python
