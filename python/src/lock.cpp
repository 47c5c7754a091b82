// SPDX-License-Identifier: Apache-2.0
//
// _Lock: what lockbyfile.Lock is made of.
//
// A Python lock is shared by threads more often than not (a decorator, a module's global), and
// a named_lock is one thread's. So each thread that uses a _Lock has a named_lock of its own
// there, opened at its first use; they exclude each other like those of different processes.
//
// (P1) A thread's named_lock is in the thread's own dictionary (PyThreadState_GetDict), which
//      dies with the thread; the _Lock knows it by a weak pointer. So a thread that ends, and
//      a _Lock that is deallocated or closed, close it, whichever comes first.
// (P2) All of this is touched with the GIL held. Only a wait is without it, and keeps what it
//      waits with alive: while `waiting` is set, close() is refused.
// (P3) A free lock is taken, and a lock is released, with the GIL held: that takes less time
//      than to let go of it. Who has to wait lets go of it, once a try has shown that.
// (P4) The main thread asks for signals while it waits (lock_options::gives_up), and runs their
//      Python handlers there. If one raises, the wait ends; a grant that came together with
//      it is given back.
#include "lock.hpp"

#include <structmember.h>

#include <memory>
#include <stop_token>
#include <vector>

namespace lockbyfile::python {

namespace {

using std::chrono::nanoseconds;

struct lock_object;

/// A thread's part of a lock.
struct own {
  std::optional<named_lock> lock;
  std::unique_ptr<keep_alive> keeper;
  lock_object* of = nullptr;            // null: it is gone
  std::stop_source* waiting = nullptr;  // of a wait that is going on
};

struct lock_object {
  PyObject ob_base;
  lock_options options;
  std::string path;
  PyObject* key;                             // of the threads' dictionaries
  std::vector<std::weak_ptr<own>> everyone;  // of all threads
  unsigned long last_thread;                 // the one that came last, and its part
  own* last;
  bool is_closed;
};

lock_object* of(PyObject* self) { return reinterpret_cast<lock_object*>(self); }

PyTypeObject* grant_type = nullptr;
PyObject* no_patience_given = nullptr;  // a default that is no value

// --- signals (P4) ------------------------------------------------------------------------

unsigned long main_thread = 0;
thread_local PyThreadState* waiting_state = nullptr;  // of this thread, if it may run handlers

bool has_signal_raised() {
  if (waiting_state == nullptr) return false;
  PyEval_RestoreThread(waiting_state);
  const bool has_raised = PyErr_CheckSignals() != 0;
  waiting_state = PyEval_SaveThread();
  return has_raised;
}

// --- a thread's part (P1) ------------------------------------------------------------------

constexpr const char* capsule_name = "lockbyfile.own";

void forget_own(PyObject* capsule) {
  auto* const held =
      static_cast<std::shared_ptr<own>*>(PyCapsule_GetPointer(capsule, capsule_name));
  if (lock_object* const lock = (*held)->of; lock != nullptr && lock->last == held->get()) {
    lock->last = nullptr;
    lock->last_thread = 0;
  }
  if ((*held)->waiting != nullptr) return;  // the interpreter ends, and the process with it
  delete held;
}

std::shared_ptr<own> new_own(lock_object* self) {
  auto made = std::make_shared<own>();
  made->of = self;
  made->lock.emplace(self->path, self->options);
  std::erase_if(self->everyone, [](const auto& w) { return w.expired(); });
  self->everyone.push_back(made);
  return made;
}

/// The calling thread's part, which is opened if need be. Null with an error.
own* slow_own(lock_object* self) {
  if (self->is_closed) {
    PyErr_Format(PyExc_ValueError, "the lock %s is closed", self->path.c_str());
    return nullptr;
  }
  PyObject* const dictionary = PyThreadState_GetDict();
  if (dictionary == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "this thread is ending");
    return nullptr;
  }
  PyObject* capsule = PyDict_GetItemWithError(dictionary, self->key);
  if (capsule == nullptr && PyErr_Occurred()) return nullptr;
  own* found = nullptr;
  if (capsule != nullptr) {
    found = static_cast<std::shared_ptr<own>*>(PyCapsule_GetPointer(capsule, capsule_name))->get();
  } else {
    try {
      auto made = std::make_unique<std::shared_ptr<own>>(new_own(self));
      const object fresh(PyCapsule_New(made.get(), capsule_name, forget_own));
      if (!fresh) return nullptr;
      found = made.release()->get();
      if (PyDict_SetItem(dictionary, self->key, fresh.get()) != 0) return nullptr;
    } catch (...) {
      raise_current();
      return nullptr;
    }
  }
  self->last_thread = PyThread_get_thread_ident();
  self->last = found;
  return found;
}

own* own_of(lock_object* self) {
  if (self->last != nullptr && self->last_thread == PyThread_get_thread_ident()) return self->last;
  return slow_own(self);
}

/// The calling thread's part if there is one. No error.
own* own_if_any(lock_object* self) {
  if (self->last != nullptr && self->last_thread == PyThread_get_thread_ident()) return self->last;
  PyObject* const dictionary = PyThreadState_GetDict();
  if (self->is_closed || dictionary == nullptr || self->key == nullptr) return nullptr;
  PyObject* const capsule = PyDict_GetItemWithError(dictionary, self->key);
  if (capsule == nullptr) return PyErr_Clear(), nullptr;
  return static_cast<std::shared_ptr<own>*>(PyCapsule_GetPointer(capsule, capsule_name))->get();
}

/// Its thread may want the GIL, for on_lost.
void stop_keeping(own& mine) {
  if (!mine.keeper) return;
  std::unique_ptr<keep_alive> keeper = std::move(mine.keeper);
  Py_BEGIN_ALLOW_THREADS keeper.reset();
  Py_END_ALLOW_THREADS
}

/// Closes every thread's part. False, and nothing done, if one of them waits.
bool close_all(lock_object* self) {
  for (const auto& weak : self->everyone) {
    if (const auto one = weak.lock(); one && one->waiting != nullptr) return false;
  }
  self->last = nullptr;
  self->last_thread = 0;
  for (const auto& weak : self->everyone) {
    if (const auto one = weak.lock()) {
      one->of = nullptr;
      stop_keeping(*one);
      one->lock.reset();
    }
  }
  self->everyone.clear();
  if (PyObject* const dictionary = PyThreadState_GetDict();
      dictionary != nullptr && PyDict_DelItem(dictionary, self->key) != 0) {
    PyErr_Clear();  // this thread has not used it
  }
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

/// Waits without the GIL (P2, P4).
std::optional<grant> wait_for(own& mine, nanoseconds patience, std::error_code& ec) {
  const bool may_run_handlers = PyThread_get_thread_ident() == main_thread;
  std::stop_source stop;
  mine.waiting = &stop;
  PyThreadState* state = PyEval_SaveThread();
  if (may_run_handlers) waiting_state = state;
  auto granted = mine.lock->acquire(patience, stop.get_token(), ec);
  waiting_state = nullptr;
  PyEval_RestoreThread(state);
  mine.waiting = nullptr;
  return granted;
}

PyObject* acquire(lock_object* self, nanoseconds patience) {
  own* const mine = own_of(self);
  if (mine == nullptr) return nullptr;
  if (mine->waiting != nullptr) {  // by this very thread: a signal handler, say
    return raise(errc::would_deadlock, "this thread waits for " + self->path, self->path);
  }
  std::error_code ec;
  auto granted = mine->lock->acquire(nanoseconds(0), {}, ec);  // (P3)
  if (!granted && ec == errc::timed_out && patience > nanoseconds(0)) {
    const object kept(Py_NewRef(reinterpret_cast<PyObject*>(self)));
    granted = wait_for(*mine, patience, ec);
    if (PyErr_Occurred() != nullptr) {
      if (granted) mine->lock->unlock();
      return nullptr;
    }
  }
  if (granted) {
    if (granted->how != grant_kind::free) {
      const object told(
          call_errors("took_over", "(NNN)", path_to(self->path), how_of(granted->how),
                      granted->previous ? party_of(*granted->previous) : Py_NewRef(Py_None)));
      if (!told) return mine->lock->unlock(), nullptr;
    }
    PyObject* const result = python_grant(*granted);
    if (result == nullptr) mine->lock->unlock();
    return result;
  }
  if (ec == errc::timed_out) {
    const object error(call_errors("timed_out", "(NN)", path_to(self->path), seconds_of(patience)));
    if (error) PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
    return nullptr;
  }
  return raise(ec, "cannot acquire " + self->path + ": " + ec.message(), self->path);
}

std::error_code release(own& mine) {
  stop_keeping(mine);
  std::error_code ec;
  mine.lock->release(ec);
  return ec;
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
  static const char* names[] = {"name", "lease", "patience",    "directory",
                                "mode", "group", "description", nullptr};
  PyObject *name = nullptr, *lease = Py_None, *patience = Py_None, *directory = Py_None;
  PyObject *mode = Py_None, *group = Py_None, *description = Py_None;
  if (PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO$OOOO:Lock", const_cast<char**>(names), &name,
                                  &lease, &patience, &directory, &mode, &group,
                                  &description) == 0) {
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
  }

  static unsigned long long serial = 0;
  lock->key = PyUnicode_FromFormat("lockbyfile.%llu", ++serial);
  if (lock->key == nullptr) return -1;
  lock->options = options;
  lock->path = *found_name;
  lock->is_closed = false;
  own* const mine = own_of(lock);
  if (mine == nullptr) {
    lock->is_closed = true;
    Py_CLEAR(lock->key);
    return -1;
  }
  lock->path = mine->lock->path();  // where the name led, whatever the directory is later
  return 0;
}

void lock_dealloc(PyObject* self) {
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
  if (n + named > 1)
    return PyErr_SetString(PyExc_TypeError, "acquire() takes one argument, patience"), nullptr;
  if (named == 1) {
    if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "patience") != 0)
      return PyErr_Format(PyExc_TypeError, "acquire() has no argument %R",
                          PyTuple_GET_ITEM(names, 0));
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
  if (const std::error_code ec = release(*mine))
    return raise(ec, "cannot release " + of(self)->path + ": " + ec.message(), of(self)->path);
  Py_RETURN_NONE;
}

/// A loss is raised unless an exception is under way; then it is logged.
PyObject* lock_exit(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  own* const mine = own_if_any(of(self));
  const bool is_quiet = n > 0 && args[0] != Py_None;
  if (mine == nullptr) Py_RETURN_FALSE;  // closed in the block
  const std::error_code ec = release(*mine);
  if (!ec || ec == errc::not_holder) Py_RETURN_FALSE;  // released in the block
  raise(ec, "lost " + of(self)->path + " while it was held: " + ec.message(), of(self)->path);
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
  std::error_code ec;
  mine->lock->renew(ec);
  if (ec) return raise(ec, "cannot renew " + of(self)->path + ": " + ec.message(), of(self)->path);
  Py_RETURN_NONE;
}

PyObject* lock_close(PyObject* self, PyObject* /*none*/) {
  lock_object* const lock = of(self);
  if (lock->is_closed) Py_RETURN_NONE;
  if (!close_all(lock)) {
    PyErr_Format(PyExc_RuntimeError, "another thread waits for %s with this lock",
                 lock->path.c_str());
    return nullptr;
  }
  lock->is_closed = true;
  Py_RETURN_NONE;
}

/// Ends the waits of all threads with this lock, by LockError 'cancelled'.
PyObject* lock_cancel(PyObject* self, PyObject* /*none*/) {
  for (const auto& weak : of(self)->everyone) {
    if (const auto one = weak.lock(); one && one->waiting != nullptr) one->waiting->request_stop();
  }
  Py_RETURN_NONE;
}

/// From the thread that renews. Not if the interpreter is about to end.
void call_on_lost(PyObject* callee, const std::string& path, std::error_code ec) {
  if (Py_IsInitialized() == 0) return;
  const PyGILState_STATE state = PyGILState_Ensure();
  raise(ec, "lost " + path + " while it was held: " + ec.message(), path);
  PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  const object error(value);
  const object told(call_errors("tell_of_loss", "(OO)", callee, value));
  if (!told) PyErr_WriteUnraisable(callee);
  PyGILState_Release(state);
}

/// Drops the reference with the GIL, in whatever thread.
void drop(PyObject* callee) {
  if (Py_IsInitialized() == 0) return;
  const PyGILState_STATE state = PyGILState_Ensure();
  Py_DECREF(callee);
  PyGILState_Release(state);
}

PyObject* lock_start_keeping(PyObject* self, PyObject* on_lost) {
  own* const mine = own_of(of(self));
  if (mine == nullptr) return nullptr;
  if (mine->keeper) return PyErr_SetString(PyExc_RuntimeError, "it is kept alive already"), nullptr;
  try {
    const std::shared_ptr<PyObject> callee(Py_NewRef(on_lost), drop);
    mine->keeper = std::make_unique<keep_alive>(
        *mine->lock, [callee, path = of(self)->path](std::error_code ec) {
          call_on_lost(callee.get(), path, ec);
        });
  } catch (...) {
    return raise_current();
  }
  Py_RETURN_NONE;
}

PyObject* lock_stop_keeping(PyObject* self, PyObject* /*none*/) {
  own* const mine = own_if_any(of(self));
  if (mine != nullptr) stop_keeping(*mine);
  Py_RETURN_NONE;
}

PyObject* get_held(PyObject* self, void* /*closure*/) {
  own* const mine = own_if_any(of(self));
  return PyBool_FromLong(mine != nullptr && mine->lock->is_held() ? 1 : 0);
}
PyObject* get_token(PyObject* self, void* /*closure*/) {
  own* const mine = own_if_any(of(self));
  const fencing_token token = mine == nullptr ? fencing_token() : mine->lock->token();
  if (!token) Py_RETURN_NONE;
  return PyLong_FromUnsignedLongLong(token.value());
}
PyObject* get_remaining(PyObject* self, void* /*closure*/) {
  own* const mine = own_if_any(of(self));
  if (mine == nullptr || !mine->lock->is_held()) return PyFloat_FromDouble(0);
  const nanoseconds left = mine->lock->lease_remaining();
  if (left == no_lease) return PyFloat_FromDouble(Py_HUGE_VAL);
  return PyFloat_FromDouble(std::chrono::duration<double>(left).count());
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
  for (const auto& weak : of(self)->everyone) {
    if (const auto one = weak.lock(); one && one->lock) one->lock->set_lease(*lease);
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
    {"acquire", as_method(lock_acquire), METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"release", lock_release, METH_NOARGS, nullptr},
    {"renew", lock_renew, METH_NOARGS, nullptr},
    {"close", lock_close, METH_NOARGS, nullptr},
    {"__enter__", lock_enter, METH_NOARGS, nullptr},
    {"__exit__", as_method(lock_exit), METH_FASTCALL, nullptr},
    {"_start_keeping", lock_start_keeping, METH_O, nullptr},
    {"_cancel", lock_cancel, METH_NOARGS, nullptr},
    {"_stop_keeping", lock_stop_keeping, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef lock_attributes[] = {
    {"held", get_held, nullptr, nullptr, nullptr},
    {"token", get_token, nullptr, nullptr, nullptr},
    {"remaining", get_remaining, nullptr, nullptr, nullptr},
    {"path", get_path, nullptr, nullptr, nullptr},
    {"closed", get_closed, nullptr, nullptr, nullptr},
    {"lease", get_lease, set_lease, nullptr, nullptr},
    {"patience", get_patience, set_patience, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot lock_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(lock_new)},
    {Py_tp_init, reinterpret_cast<void*>(lock_init)},
    {Py_tp_dealloc, reinterpret_cast<void*>(lock_dealloc)},
    {Py_tp_methods, lock_methods},
    {Py_tp_getset, lock_attributes},
    {0, nullptr},
};

PyType_Spec lock_spec = {"lockbyfile._lockbyfile._Lock", sizeof(lock_object), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, lock_slots};

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
