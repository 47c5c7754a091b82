// SPDX-License-Identifier: Apache-2.0
#include "convert.hpp"

#include <datetime.h>

#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace lockbyfile::python {

namespace {

using std::chrono::nanoseconds;

PyObject* errors_module = nullptr;  // lockbyfile._errors
PyObject* hows[4] = {};             // by grant_kind

std::optional<nanoseconds> rejected(PyObject* value, const char* what, const char* why) {
  PyErr_Format(PyExc_ValueError, "%s is %R: %s", what, value, why);
  return std::nullopt;
}

/// Rounded up, so that a duration above zero stays above zero.
std::optional<nanoseconds> from_seconds(double seconds, PyObject* value, const char* what) {
  if (std::isnan(seconds)) return rejected(value, what, "it must be a number of seconds");
  if (seconds < 0) return rejected(value, what, "it must not be negative");
  const double n = std::ceil(seconds * 1e9);
  if (n >= static_cast<double>(nanoseconds::max().count())) return nanoseconds::max();
  return nanoseconds(static_cast<nanoseconds::rep>(n));
}

std::optional<nanoseconds> from_delta(PyObject* value, const char* what) {
  const auto days = std::chrono::days(PyDateTime_DELTA_GET_DAYS(value));
  if (days.count() < 0) return rejected(value, what, "it must not be negative");
  if (days >
      std::chrono::duration_cast<std::chrono::days>(nanoseconds::max()) - std::chrono::days(1))
    return nanoseconds::max();
  return nanoseconds(days) + std::chrono::seconds(PyDateTime_DELTA_GET_SECONDS(value)) +
         std::chrono::microseconds(PyDateTime_DELTA_GET_MICROSECONDS(value));
}

std::optional<nanoseconds> unchecked_duration_of(PyObject* value, const char* what) {
  if (value == Py_None) return nanoseconds::max();
  if (PyDelta_Check(value)) return from_delta(value, what);
  if (PyBool_Check(value) || !(PyFloat_Check(value) || PyIndex_Check(value))) {
    PyErr_Format(PyExc_TypeError, "%s must be seconds, a timedelta or None, not %.200s", what,
                 Py_TYPE(value)->tp_name);
    return std::nullopt;
  }
  const double seconds = PyFloat_AsDouble(value);
  if (seconds == -1 && PyErr_Occurred()) {
    if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return std::nullopt;
    PyErr_Clear();  // an int that no float can hold
    const int is_negative = PyObject_RichCompareBool(value, Py_False, Py_LT);
    if (is_negative < 0) return std::nullopt;
    if (is_negative == 1) return rejected(value, what, "it must not be negative");
    return nanoseconds::max();
  }
  return from_seconds(seconds, value, what);
}

}  // namespace

bool prepare_conversions() {
  PyDateTime_IMPORT;
  if (PyDateTimeAPI == nullptr) return false;
  errors_module = PyImport_ImportModule("lockbyfile._errors");
  if (errors_module == nullptr) return false;
  const char* names[] = {"free", "expired", "abandoned", "broken"};
  for (std::size_t i = 0; i < std::size(names); ++i) {
    hows[i] = PyUnicode_InternFromString(names[i]);
    if (hows[i] == nullptr) return false;
  }
  return true;
}

std::optional<nanoseconds> duration_of(PyObject* value, const char* what, zero z) {
  const auto d = unchecked_duration_of(value, what);
  if (d && d->count() == 0 && z == zero::is_not)
    return rejected(value, what, "it must be above zero");
  return d;
}

PyObject* seconds_of(nanoseconds d) {
  if (d == nanoseconds::max()) return Py_NewRef(Py_None);
  return PyFloat_FromDouble(std::chrono::duration<double>(d).count());
}

std::optional<std::string> path_of(PyObject* value) {
  PyObject* bytes = nullptr;
  if (PyUnicode_FSConverter(value, &bytes) == 0) return std::nullopt;
  const object owned(bytes);
  return std::string(PyBytes_AS_STRING(bytes), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes)));
}

PyObject* path_to(const std::string& path) {
  return PyUnicode_DecodeFSDefaultAndSize(path.data(), static_cast<Py_ssize_t>(path.size()));
}

PyObject* text_of(const std::string& bytes) {
  return PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace");
}

PyObject* party_of(const party& p) {
  return call_errors("Party", "(IINN)", p.pid, p.user, text_of(p.command), text_of(p.host));
}

PyObject* how_of(grant_kind how) { return Py_NewRef(hows[static_cast<std::size_t>(how)]); }

// NOLINTNEXTLINE(cert-dcl50-cpp): the format and what it takes are Py_BuildValue's
PyObject* call_errors(const char* function, const char* format, ...) {
  va_list values;
  va_start(values, format);
  const object arguments(Py_VaBuildValue(format, values));
  va_end(values);
  if (!arguments) return nullptr;
  const object callee(PyObject_GetAttrString(errors_module, function));
  if (!callee) return nullptr;
  refused_for_ever if_it_ends;
  PyObject* const result = PyObject_CallObject(callee.get(), arguments.get());
  if_it_ends.no();
  return result;
}

namespace {

/// In C++ the messages of the first two speak of the lock object. In Python each thread has a
/// named_lock of its own.
std::string reason_of(std::error_code ec) {
  if (ec == errc::would_deadlock) return "this thread holds it already";
  if (ec == errc::not_holder) return "this thread does not hold it";
  return ec.message();
}

const char* name_of(lost_cause cause) {
  switch (cause) {
    case lost_cause::expired: return "expired";
    case lost_cause::broken: return "broken";
    case lost_cause::deleted: return "deleted";
    case lost_cause::unreachable: return "unreachable";
    case lost_cause::lifeline_closed: return "lifeline_closed";
    case lost_cause::none: break;
  }
  return nullptr;
}

/// The words for the causes are in lockbyfile._errors.
PyObject* set_error(std::error_code ec, const failure& why, const std::string& text,
                    bool names_cause, const std::string& path) {
  const bool is_ours = ec.category() == lock_category();
  const object error(call_errors("error_of", "(iNNOzNdnO)", ec.value(), text_of(text),
                                 path_to(path), is_ours ? Py_True : Py_False, name_of(why.cause),
                                 why.holder ? party_of(*why.holder) : Py_NewRef(Py_None),
                                 std::chrono::duration<double>(why.waited).count(),
                                 static_cast<Py_ssize_t>(why.waiters),
                                 names_cause ? Py_True : Py_False));
  if (error) PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
  return nullptr;
}

}  // namespace

PyObject* raise(std::error_code ec, const failure& why, const std::string& what,
                const std::string& path, const std::string& reason) {
  const failure nothing;
  const bool counts = !why.code || why.code == ec;
  const std::string text = what + ": " + (reason.empty() ? reason_of(ec) : reason);
  return set_error(ec, counts ? why : nothing, text, !reason.empty(), path);
}

PyObject* raise_current() noexcept {
  try {
    throw;
  } catch (const lock_error& e) {
    return set_error(e.code(), e.details(), e.what(), true, e.path());
  } catch (const std::system_error& e) {
    return set_error(e.code(), {}, e.what(), true, "");
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
    return nullptr;
  }
}

}  // namespace lockbyfile::python
