// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "convert.hpp"

namespace lockbyfile::python {

/// Adds the type _Lock. False with an error.
bool add_lock_type(PyObject* module);

/// Sets which thread runs signal handlers; in a child, after fork, it is the calling one.
void set_main_thread(unsigned long ident) noexcept;
void remember_main_thread() noexcept;

}  // namespace lockbyfile::python
