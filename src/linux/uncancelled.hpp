// SPDX-License-Identifier: Apache-2.0
//
// Makes pthread_cancel() of this thread wait for as long as this object lives. Opening, closing and
// writing are cancellation points. A cancellation leaves by an exception that no noexcept function
// lets through: it would end the process.
#pragma once

#include <pthread.h>

namespace lockbyfile {

class uncancelled {
 public:
  uncancelled() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~uncancelled() { ::pthread_setcancelstate(before_, nullptr); }
  uncancelled(const uncancelled&) = delete;
  uncancelled& operator=(const uncancelled&) = delete;

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace lockbyfile
