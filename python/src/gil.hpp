// SPDX-License-Identifier: Apache-2.0
//
// Leaving the GIL and taking it back.
//
// While the interpreter ends, it refuses the GIL to other threads. They leave by pthread_exit,
// which unwinds their stacks. That would run destructors of Python objects without the GIL. It
// would also end the process where a frame is noexcept or catches everything. So a thread that is
// refused stops where it is until the process ends, as CPython itself does from 3.14 on. Python
// code that we call may be refused, too. So every caller of such code has a refused_for_ever behind
// all its objects.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <unistd.h>

namespace lockbyfile::python {

class refused_for_ever {
 public:
  refused_for_ever() = default;
  ~refused_for_ever() {
    while (is_refused_) ::pause();
  }
  refused_for_ever(const refused_for_ever&) = delete;
  refused_for_ever& operator=(const refused_for_ever&) = delete;
  void no() noexcept { is_refused_ = false; }

 private:
  bool is_refused_ = true;
};

[[gnu::noinline]] inline void take_gil(PyThreadState* state) {
  refused_for_ever if_it_ends;
  PyEval_RestoreThread(state);
  if_it_ends.no();
}

[[gnu::noinline]] inline PyGILState_STATE ensure_gil() {
  refused_for_ever if_it_ends;
  const PyGILState_STATE state = PyGILState_Ensure();
  if_it_ends.no();
  return state;
}

inline bool is_interpreter_ending() noexcept {
#if PY_VERSION_HEX >= 0x030D0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

/// The GIL is released while this lives. Meanwhile the block must not touch Python objects, and no
/// exception may leave the block.
class without_gil {
 public:
  without_gil() : state_(PyEval_SaveThread()) {}
  ~without_gil() { take_gil(state_); }
  without_gil(const without_gil&) = delete;
  without_gil& operator=(const without_gil&) = delete;
  [[nodiscard]] PyThreadState* state() const noexcept { return state_; }

 private:
  PyThreadState* state_;
};

}  // namespace lockbyfile::python
