// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <lockbyfile/lockbyfile.hpp>

int main() {
  lockbyfile::named_lock lock("consumer", {.lease = std::chrono::seconds(10)});
  const lockbyfile::grant grant = lock.acquire(std::chrono::seconds(10));
  std::printf("token %llu\n", static_cast<unsigned long long>(grant.token.value()));
  return lockbyfile::observe("consumer").holder ? 0 : 1;
}
