// SPDX-License-Identifier: Apache-2.0
#include "outside.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include <cstdint>
#include <system_error>

#include "gil.hpp"

namespace lockbyfile::python {

namespace {

PyObject* thread_names = nullptr;   // _thread
PyObject* name_of_ident = nullptr;  // "get_ident", which each monkey patch replaces
PyObject* unit_key = nullptr;       // of the threads' dictionaries
PyTypeObject* work_type = nullptr;

unsigned fork_count = 0;

struct work_object {
  PyObject ob_base;
  std::shared_ptr<job> work;
};
work_object* of(PyObject* self) { return reinterpret_cast<work_object*>(self); }

PyObject* call_cooperative(const char* function, PyObject* argument1 = nullptr,
                           PyObject* argument2 = nullptr, PyObject* argument3 = nullptr) {
  const object module(PyImport_ImportModule("lockbyfile._cooperative"));
  if (!module) return nullptr;
  const object name(PyUnicode_FromString(function));
  if (!name) return nullptr;
  refused_for_ever if_it_ends;
  PyObject* const result = PyObject_CallMethodObjArgs(module.get(), name.get(), argument1,
                                                      argument2, argument3, nullptr);
  if_it_ends.no();
  return result;
}

void work_dealloc(PyObject* self) {
  of(self)->work.~shared_ptr();
  PyTypeObject* const type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* work_fileno(PyObject* self, PyObject* /*none*/) {
  return PyLong_FromLong(of(self)->work->done);
}

PyObject* work_start(PyObject* self, PyObject* patience) {
  const auto seconds = duration_of(patience, "patience", zero::is_fine);
  if (!seconds) return nullptr;
  try {
    of(self)->work->patience = *seconds;
    of(self)->work->start();
  } catch (...) {
    return raise_current();
  }
  Py_RETURN_NONE;
}

PyMethodDef work_methods[] = {
    {"fileno", work_fileno, METH_NOARGS, nullptr},
    {"start", work_start, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot work_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(work_dealloc)},
    {Py_tp_methods, work_methods},
    {0, nullptr},
};

PyType_Spec work_spec = {"lockbyfile._lockbyfile._Work", sizeof(work_object), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, work_slots};

/// A greenlet waits in its hub, for a thread that makes the call.
ran run_elsewhere(const std::shared_ptr<job>& work, const std::string* queue) {
  const object python_work(work_type->tp_alloc(work_type, 0));
  if (!python_work) return ran::raised;
  new (&of(python_work.get())->work) std::shared_ptr<job>(work);
  work->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (work->done < 0) return PyErr_SetFromErrno(PyExc_OSError), ran::raised;

  const auto ask = [&]() -> PyObject* {
    if (queue == nullptr) return call_cooperative("run", python_work.get());
    const object path(path_to(*queue));
    const object patience(path ? seconds_of(work->patience) : nullptr);
    if (!patience) return nullptr;
    return call_cooperative("wait", python_work.get(), path.get(), patience.get());
  };
  const object answer(ask());
  if (!answer) {
    PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
    PyErr_Fetch(&type, &value, &traceback);
    work->stop.request_stop();
    {
      const without_gil others_run;
      work->join();
    }
    PyErr_Restore(type, value, traceback);
    return ran::raised;
  }
  work->join();  // its last act was to report that it is done
  return answer.get() == Py_False ? ran::too_late : ran::yes;
}

}  // namespace

job::~job() {
  join();
  if (done >= 0) ::close(done);
}

void job::run() noexcept {
  try {
    call(*this);
  } catch (...) {
    error = std::current_exception();
  }
  why = last_failure();
}

void job::start() {
  // The program's handlers run in its own threads. These signals come from the thread's own acts.
  sigset_t all, before;
  sigfillset(&all);
  for (const int own : {SIGBUS, SIGSEGV, SIGILL, SIGFPE}) sigdelset(&all, own);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  struct restoring {
    const sigset_t& mask;
    ~restoring() { pthread_sigmask(SIG_SETMASK, &mask, nullptr); }
  } mask{before};
  thread = std::thread([this] {
    run();
    const std::uint64_t one = 1;
    (void)!::write(done, &one, sizeof one);
  });
}

void job::join() noexcept {
  if (thread.joinable()) thread.join();
}

ran run(const std::shared_ptr<job>& work, const std::string* queue, bool is_slow) {
  if ((queue != nullptr || is_slow) && has_hub()) return run_elsewhere(work, queue);
  const without_gil others_run;
  work->run();
  return ran::yes;
}

bool run_outside(const std::string& name, std::function<void()> call,
                 const std::string& directory) {
  const auto work = std::make_shared<job>();
  work->call = [call = std::move(call)](job&) { call(); };
  const bool is_slow = is_of_a_server(name) || is_of_a_server(directory);
  if (run(work, nullptr, is_slow) == ran::raised) return false;
  if (!work->error) return true;
  try {
    std::rethrow_exception(work->error);
  } catch (...) {
    raise_current();
  }
  return false;
}

void run_unattended(std::function<void()> call) {
  try {
    std::thread(call).detach();
  } catch (const std::system_error&) {  // no more threads
    const without_gil others_run;
    call();
  }
}

bool is_cooperative() {
#if PY_VERSION_HEX < 0x030C0000
  // Each acquire asks, and a change is rare.
  static std::uint64_t asked_of = 0;
  static bool answer = false;
  const std::uint64_t version = reinterpret_cast<PyDictObject*>(thread_names)->ma_version_tag;
  if (version == asked_of) return answer;
#endif
  PyObject* const found = PyDict_GetItemWithError(thread_names, name_of_ident);
  const bool is_patched = found != nullptr && !PyCFunction_CheckExact(found);
#if PY_VERSION_HEX < 0x030C0000
  asked_of = version;
  answer = is_patched;
#endif
  return is_patched;
}

bool has_hub() {
  if (!is_cooperative()) return false;
  const object answer(call_cooperative("has_hub"));
  if (!answer) PyErr_Clear();
  return answer.get() == Py_True;
}

object current_storage() {
  if (is_cooperative()) return object(call_cooperative("storage"));
  PyObject* const dictionary = PyThreadState_GetDict();
  if (dictionary == nullptr) PyErr_SetString(PyExc_RuntimeError, "this thread is ending");
  return object(Py_XNewRef(dictionary));
}

object current_unit() {
  const object storage = current_storage();
  if (!storage) return {};
  if (PyObject* const found = PyDict_GetItemWithError(storage.get(), unit_key); found != nullptr)
    return object(Py_NewRef(found));
  if (PyErr_Occurred() != nullptr) return {};
  object made(PyObject_CallNoArgs(reinterpret_cast<PyObject*>(&PyBaseObject_Type)));
  if (made && PyDict_SetItem(storage.get(), unit_key, made.get()) != 0) return {};
  return made;
}

bool pause_for_others() {
  if (has_hub()) {
    const object done(call_cooperative("pause"));
    return static_cast<bool>(done);
  }
  {
    const without_gil others_run;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return PyErr_CheckSignals() == 0;
}

bool is_of_a_server(const std::string& name) noexcept {
  const auto colon = name.find("://");
  return colon != std::string::npos && name.find('/') == colon + 1;
}

unsigned forks() noexcept { return fork_count; }

bool add_work_type(PyObject* module) {
  pthread_atfork(nullptr, nullptr, [] { ++fork_count; });
  PyObject* const thread_module = PyImport_ImportModule("_thread");  // for good
  name_of_ident = PyUnicode_InternFromString("get_ident");
  unit_key = PyUnicode_InternFromString("lockbyfile.unit");
  if (thread_module == nullptr || name_of_ident == nullptr || unit_key == nullptr) return false;
  thread_names = PyModule_GetDict(thread_module);
  work_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&work_spec));
  return work_type != nullptr &&
         PyModule_AddObjectRef(module, "_Work", reinterpret_cast<PyObject*>(work_type)) == 0;
}

}  // namespace lockbyfile::python
