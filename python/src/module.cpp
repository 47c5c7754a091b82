// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile._lockbyfile: the binding. lockbyfile/_lockbyfile.pyi and lockbyfile/__init__.py say
// what it means and how it is used. Here is only the part that has to be in C++.
//
// One interpreter for each process: the state of this module is static.
#include "convert.hpp"
#include "lock.hpp"
#include "outside.hpp"

namespace lockbyfile::python {

namespace {

double since_1970(std::chrono::system_clock::time_point t) {
  return std::chrono::duration<double>(t.time_since_epoch()).count();
}

/// name, directory=None
bool parse_name(PyObject* args, std::string& name, lock_options& options) {
  PyObject *given = nullptr, *directory = Py_None;
  if (PyArg_ParseTuple(args, "O|O", &given, &directory) == 0) return false;
  const auto found = path_of(given);
  if (!found) return false;
  name = *found;
  if (directory == Py_None) return true;
  const auto where = path_of(directory);
  if (where) options.directory = *where;
  return where.has_value();
}

PyObject* holder_of(const lock_state& state) {
  if (!state.holder) return Py_NewRef(Py_None);
  const holder_info& h = *state.holder;
  return call_errors("Holder", "(NKdNNN)", party_of(h.who),
                     static_cast<unsigned long long>(h.token.value()), since_1970(h.since),
                     seconds_of(h.lease), seconds_of(h.lease_left), PyBool_FromLong(h.alive));
}

/// A list with the result of `make` for each; null with an error.
template <class Range, class Make>
PyObject* list_of(const Range& range, Make make) {
  object result(PyList_New(0));
  if (!result) return nullptr;
  for (const auto& one : range) {
    const object made(make(one));
    if (!made || PyList_Append(result.get(), made.get()) != 0) return nullptr;
  }
  return result.release();
}

PyObject* waiter_of(const waiter_info& w) {
  return call_errors("Waiter", "(NN)", party_of(w.who), seconds_of(w.waiting));
}

PyObject* last_grant_of(const grant_info& g) {
  return call_errors("past_grant", "(NKNd)", party_of(g.who),
                     static_cast<unsigned long long>(g.token.value()), how_of(g.how),
                     since_1970(g.since));
}

PyObject* break_of(const lock_state& state) {
  if (!state.last_break) return Py_NewRef(Py_None);
  const break_info& b = *state.last_break;
  return call_errors("past_break", "(KNd)", static_cast<unsigned long long>(b.token.value()),
                     party_of(b.by), since_1970(b.at));
}

PyObject* run_of(const lock_state& state) {
  if (!state.last_run) return Py_NewRef(Py_None);
  const run_info& r = *state.last_run;
  return call_errors("past_run", "(KNid)", static_cast<unsigned long long>(r.token.value()),
                     seconds_of(r.duration), r.exit_code, since_1970(r.ended));
}

PyObject* python_observe(PyObject* /*module*/, PyObject* args) {
  std::string name;
  lock_options options;
  if (!parse_name(args, name, options)) return nullptr;
  const auto state = std::make_shared<lock_state>();
  if (!run_outside(
          name, [=] { *state = observe(name, options); }, options.directory))
    return nullptr;
  const object waiters(list_of(state->waiters, waiter_of));
  if (!waiters) return nullptr;
  const object grants(list_of(state->grants, last_grant_of));
  if (!grants) return nullptr;
  return call_errors("LockState", "(NNOONN)", path_to(state->path), holder_of(*state),
                     waiters.get(), grants.get(), break_of(*state), run_of(*state));
}

PyObject* python_break(PyObject* /*module*/, PyObject* args) {
  PyObject *given = nullptr, *number = nullptr, *directory = Py_None;
  if (PyArg_ParseTuple(args, "OO|O", &given, &number, &directory) == 0) return nullptr;
  if (!PyLong_Check(number) || PyBool_Check(number)) {
    return PyErr_Format(PyExc_TypeError, "a token is an int, not %R", number);
  }
  const unsigned long long token = PyLong_AsUnsignedLongLong(number);
  if (PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    return PyErr_Format(PyExc_ValueError, "%R is no token", number);
  }
  const object rest(Py_BuildValue("(OO)", given, directory));
  std::string name;
  lock_options options;
  if (!rest || !parse_name(rest.get(), name, options)) return nullptr;
  if (!run_outside(
          name, [=] { break_lock(name, fencing_token(token), options); }, options.directory))
    return nullptr;
  Py_RETURN_NONE;
}

PyObject* python_remove(PyObject* /*module*/, PyObject* args) {
  std::string name;
  lock_options options;
  if (!parse_name(args, name, options)) return nullptr;
  if (!run_outside(
          name, [=] { remove(name, options); }, options.directory))
    return nullptr;
  Py_RETURN_NONE;
}

template <std::vector<std::string> (*Function)(const std::string&)>
PyObject* paths_in(PyObject* /*module*/, PyObject* directory) {
  const auto where = path_of(directory);
  if (!where) return nullptr;
  const auto found = std::make_shared<std::vector<std::string>>();
  if (!run_outside(*where, [found, where = *where] { *found = Function(where); })) return nullptr;
  return list_of(*found, path_to);
}

PyObject* after_fork_in_child(PyObject* /*module*/, PyObject* /*none*/) {
  remember_main_thread();
  Py_RETURN_NONE;
}

/// Seconds, of a duration that a lock accepts.
PyObject* duration_in_seconds(PyObject* /*module*/, PyObject* args) {
  PyObject* value = nullptr;
  const char* what = nullptr;
  if (PyArg_ParseTuple(args, "Os", &value, &what) == 0) return nullptr;
  const bool is_lease = std::string_view(what) == "lease";
  const auto found = duration_of(value, what, is_lease ? zero::is_not : zero::is_fine);
  return found ? seconds_of(*found) : nullptr;
}

/// The dictionary of the calling thread; it ends with the thread.
PyObject* thread_storage(PyObject* /*module*/, PyObject* /*none*/) {
  PyObject* const dictionary = PyThreadState_GetDict();
  if (dictionary == nullptr)
    return PyErr_SetString(PyExc_RuntimeError, "this thread is ending"), nullptr;
  return Py_NewRef(dictionary);
}

PyObject* unit(PyObject* /*module*/, PyObject* /*none*/) { return current_unit().release(); }

PyObject* python_forks(PyObject* /*module*/, PyObject* /*none*/) {
  return PyLong_FromUnsignedLong(forks());
}

PyMethodDef functions[] = {
    {"observe", python_observe, METH_VARARGS, "lockbyfile.observe(name, directory)"},
    {"break_lock", python_break, METH_VARARGS, "lockbyfile.break_lock(name, token, directory)"},
    {"remove", python_remove, METH_VARARGS, "lockbyfile.remove(name, directory)"},
    {"list_locks", paths_in<list>, METH_O, "list_locks($module, directory, /)\n--\n\n"},
    {"prunable", paths_in<prunable>, METH_O, "prunable($module, directory, /)\n--\n\n"},
    {"prune", paths_in<prune>, METH_O, "prune($module, directory, /)\n--\n\n"},
    {"_duration", duration_in_seconds, METH_VARARGS, nullptr},
    {"_forks", python_forks, METH_NOARGS, nullptr},
    {"_unit", unit, METH_NOARGS, nullptr},
    {"_thread_storage", thread_storage, METH_NOARGS, nullptr},
    {"_after_fork_in_child", after_fork_in_child, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

/// The main thread is the one that threading reports. Another thread may import this module.
bool find_main_thread() {
  const object threading(PyImport_ImportModule("threading"));
  if (!threading) return false;
  const object thread(PyObject_CallMethod(threading.get(), "main_thread", nullptr));
  if (!thread) return false;
  const object ident(PyObject_GetAttrString(thread.get(), "ident"));
  if (!ident) return false;
  set_main_thread(PyLong_AsUnsignedLong(ident.get()));
  return PyErr_Occurred() == nullptr;
}

int execute(PyObject* module) {
  if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
    PyErr_SetString(PyExc_ImportError,
                    "lockbyfile works in the main interpreter only, not in a sub-interpreter "
                    "(uwsgi: single-interpreter = true; mod_wsgi: WSGIApplicationGroup %{GLOBAL})");
    return -1;
  }
  return prepare_conversions() && find_main_thread() && add_work_type(module) &&
                 add_lock_type(module)
             ? 0
             : -1;
}

PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(execute)},
    {0, nullptr},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_lockbyfile", nullptr, 0, functions, slots, nullptr, nullptr, nullptr};

}  // namespace

}  // namespace lockbyfile::python

// NOLINTNEXTLINE: Python's name
PyMODINIT_FUNC PyInit__lockbyfile() { return PyModuleDef_Init(&lockbyfile::python::definition); }
