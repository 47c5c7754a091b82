// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile._lockbyfile: the binding. What it means and how it is used is said in
// lockbyfile/_lockbyfile.pyi and lockbyfile/__init__.py; here is only what has to be in C++.
//
// One interpreter for each process: the state of this module is static.
#include "convert.hpp"
#include "lock.hpp"

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

PyObject* python_observe(PyObject* /*module*/, PyObject* args) {
  std::string name;
  lock_options options;
  if (!parse_name(args, name, options)) return nullptr;
  try {
    const lock_state state = observe(name, options);
    object waiters(PyList_New(0));
    if (!waiters) return nullptr;
    for (const waiter_info& w : state.waiters) {
      const object one(call_errors("Waiter", "(NN)", party_of(w.who), seconds_of(w.waiting)));
      if (!one || PyList_Append(waiters.get(), one.get()) != 0) return nullptr;
    }
    return call_errors("LockState", "(NNN)", path_to(state.path), holder_of(state),
                       waiters.release());
  } catch (...) {
    return raise_current();
  }
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
  try {
    break_lock(name, fencing_token(token), options);
    Py_RETURN_NONE;
  } catch (...) {
    return raise_current();
  }
}

PyObject* python_remove(PyObject* /*module*/, PyObject* args) {
  std::string name;
  lock_options options;
  if (!parse_name(args, name, options)) return nullptr;
  try {
    remove(name, options);
    Py_RETURN_NONE;
  } catch (...) {
    return raise_current();
  }
}

template <std::vector<std::string> (*Function)(const std::string&)>
PyObject* paths_in(PyObject* /*module*/, PyObject* directory) {
  const auto where = path_of(directory);
  if (!where) return nullptr;
  try {
    object found(PyList_New(0));
    if (!found) return nullptr;
    for (const std::string& path : Function(*where)) {
      const object one(path_to(path));
      if (!one || PyList_Append(found.get(), one.get()) != 0) return nullptr;
    }
    return found.release();
  } catch (...) {
    return raise_current();
  }
}

PyObject* after_fork_in_child(PyObject* /*module*/, PyObject* /*none*/) {
  remember_main_thread();
  Py_RETURN_NONE;
}

/// The dictionary of the calling thread, which ends with it.
PyObject* thread_storage(PyObject* /*module*/, PyObject* /*none*/) {
  PyObject* const dictionary = PyThreadState_GetDict();
  if (dictionary == nullptr)
    return PyErr_SetString(PyExc_RuntimeError, "this thread is ending"), nullptr;
  return Py_NewRef(dictionary);
}

PyMethodDef functions[] = {
    {"observe", python_observe, METH_VARARGS, nullptr},
    {"break_lock", python_break, METH_VARARGS, nullptr},
    {"remove", python_remove, METH_VARARGS, nullptr},
    {"list_locks", paths_in<list>, METH_O, nullptr},
    {"prune", paths_in<prune>, METH_O, nullptr},
    {"_thread_storage", thread_storage, METH_NOARGS, nullptr},
    {"_after_fork_in_child", after_fork_in_child, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

/// The main thread is whoever threading says it is; this module may be imported by another.
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
  return prepare_conversions() && find_main_thread() && add_lock_type(module) ? 0 : -1;
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
