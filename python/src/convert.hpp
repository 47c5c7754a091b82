// SPDX-License-Identifier: Apache-2.0
//
// Between Python's values and the library's: durations, names, errors.
#pragma once

#include <chrono>
#include <exception>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <string>
#include <system_error>

#include "gil.hpp"

namespace lockbyfile::python {

/// Owns a reference, or none.
class object {
 public:
  object() noexcept = default;
  explicit object(PyObject* owned) noexcept : p_(owned) {}
  ~object() {
    if (p_ == nullptr || PyGILState_Check() == 0) return;  // the interpreter ends: see gil.hpp
    refused_for_ever if_it_ends;
    Py_DECREF(p_);
    if_it_ends.no();
  }
  object(object&& other) noexcept : p_(other.release()) {}
  object(const object&) = delete;
  object& operator=(const object&) = delete;
  object& operator=(object&&) = delete;

  explicit operator bool() const noexcept { return p_ != nullptr; }
  [[nodiscard]] PyObject* get() const noexcept { return p_; }
  PyObject* release() noexcept {
    PyObject* const p = p_;
    p_ = nullptr;
    return p;
  }

 private:
  PyObject* p_ = nullptr;
};

/// Remembers the objects that the functions below need. Called once, when the module is made. False
/// with an error.
bool prepare_conversions();

/// Seconds as a number, or a timedelta; None is forever. Nothing, with an error set: TypeError,
/// or ValueError for NaN, a negative duration, and zero unless `zero_is_fine`. The message names
/// `what`. More than 292 years are forever.
enum class zero { is_fine, is_not };
std::optional<std::chrono::nanoseconds> duration_of(PyObject* value, const char* what, zero z);

/// Seconds, or None if it lasts forever. Never null without an error.
PyObject* seconds_of(std::chrono::nanoseconds d);

/// A str, bytes or PathLike; nothing with an error set.
std::optional<std::string> path_of(PyObject* value);
PyObject* path_to(const std::string& path);

/// Text that another process wrote, whatever its bytes.
PyObject* text_of(const std::string& bytes);

/// party -> lockbyfile.Party
PyObject* party_of(const party& p);

PyObject* how_of(grant_kind how);

/// Sets the exception for `ec`: "what: reason". `why` is the last_failure() of the thread that made
/// the call. It counts if its code is `ec`, or if it has none. Without a given reason, the reason
/// is that of the code and the cause. Returns null.
PyObject* raise(std::error_code ec, const failure& why, const std::string& what,
                const std::string& path, const std::string& reason = {});

/// Sets the exception for the C++ exception that is being handled. Returns null.
PyObject* raise_current() noexcept;

/// Calls `function` of lockbyfile._errors; the format is that of Py_BuildValue.
PyObject* call_errors(const char* function, const char* format, ...);

}  // namespace lockbyfile::python
