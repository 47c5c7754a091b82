// SPDX-License-Identifier: Apache-2.0
//
// An object that this process and the children it forks later share.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <new>
#include <system_error>
#include <type_traits>

template <class T>
class shared_memory {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  shared_memory() {
    void* p = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::system_error(errno, std::system_category(), "mmap");
    object_ = new (p) T{};
  }
  ~shared_memory() { ::munmap(object_, sizeof(T)); }
  shared_memory(const shared_memory&) = delete;
  shared_memory& operator=(const shared_memory&) = delete;

  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }

 private:
  T* object_;
};
