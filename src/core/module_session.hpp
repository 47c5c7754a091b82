// SPDX-License-Identifier: Apache-2.0
//
// module_session: a session of a module's engine, kept away from the child of a fork.
//
// `inner_` belongs to the process that opened it. It has threads and connections of that process,
// so another process neither asks nor destroys it. In another process nothing is held, and acquire
// opens a new session, of the module's instance for that process (engines.hpp).
#pragma once

#include <memory>
#include <string>

#include "core/engine.hpp"
#include "linux/process_epoch.hpp"

namespace lockbyfile {

class module_session final : public session {
 public:
  module_session(std::string_view name, const lock_options& options);
  ~module_session() override;

  std::optional<grant> acquire(instant deadline, const std::stop_token& stop,
                               std::error_code& ec) override;
  void renew(fencing_token of, std::error_code& ec) override;
  void release(fencing_token of, std::error_code& ec) noexcept override;
  void set_lease(std::chrono::nanoseconds lease) noexcept override;
  void when_lost(std::function<void()> tell) override;
  void note_run(std::chrono::nanoseconds duration, int exit_code) noexcept override;
  [[nodiscard]] loss why_lost() const override;
  [[nodiscard]] surroundings look_around() const override;

  [[nodiscard]] std::chrono::nanoseconds lease() const noexcept override;
  [[nodiscard]] std::chrono::nanoseconds lease_remaining() const noexcept override;
  [[nodiscard]] std::chrono::nanoseconds certain_for() const noexcept override;
  [[nodiscard]] bool is_held() const noexcept override;
  [[nodiscard]] fencing_token token() const noexcept override;
  [[nodiscard]] const std::string& path() const noexcept override { return path_; }

 private:
  [[nodiscard]] bool is_ours() const noexcept { return process_ == process_epoch(); }

  const std::string name_;
  lock_options options_;
  std::uint64_t process_ = process_epoch();
  std::unique_ptr<session> inner_;
  const std::string path_;
};

}  // namespace lockbyfile
