// SPDX-License-Identifier: Apache-2.0
#include "exit_codes.hpp"

#include <cerrno>
#include <lockbyfile/error.hpp>

namespace lockbyfile::cli {

namespace {

int code_of(errc error) noexcept {
  switch (error) {
    case errc::timed_out:
    case errc::cancelled:
    case errc::in_use: return exit_patience_ran_out;
    case errc::not_holder:
    case errc::lease_lost: return exit_grant_lost;
    case errc::not_found:
    case errc::token_mismatch: return exit_no;
    case errc::invalid_name:
    case errc::invalid_option: return exit_usage;
    case errc::wrong_engine:
    case errc::damaged:
    case errc::clock_mismatch:
    case errc::network_filesystem:
    case errc::unreachable: return exit_wrong_file;
    case errc::too_many_sessions:
    case errc::stuck: return exit_cannot_create;
    case errc::would_deadlock: return exit_other;
  }
  return exit_other;
}

int code_of_errno(int error) noexcept {
  switch (error) {
    case EACCES:
    case EPERM: return exit_not_permitted;
    case EDQUOT:
    case EEXIST:
    case EFBIG:
    case EISDIR:
    case ELOOP:
    case EMFILE:
    case ENAMETOOLONG:
    case ENFILE:
    case ENODEV:
    case ENOENT:
    case ENOLCK:
    case ENOMEM:
    case ENOSPC:
    case ENOTDIR:
    case ENXIO:
    case EROFS: return exit_cannot_create;
    default: return exit_other;
  }
}

}  // namespace

int exit_code_of(const std::error_code& error) noexcept {
  if (error.category() == lock_category()) return code_of(static_cast<errc>(error.value()));
  if (error.category() == std::system_category() || error.category() == std::generic_category()) {
    return code_of_errno(error.value());
  }
  return exit_other;
}

int exit_code_of_failed_start(int error) noexcept {
  switch (error) {
    case ENOENT:
    case ENOTDIR: return exit_not_found;
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOMEM: return exit_other;
    default: return exit_not_executable;
  }
}

std::string exit_codes_help() {
  return "Exit codes:\n"
         "  0    done\n"
         "  1    no such lock (status, stop, break, rm), or not held (stop, break), or\n"
         "       not under that token (break, held)\n"
         "  64   wrong usage\n"
         "  69   not a lockfile of this engine, or one that cannot be used here; or no\n"
         "       server of etcd answers; or the holder cannot be reached (stop)\n"
         "  70   anything else\n"
         "  73   the lockfile cannot be created or opened\n"
         "  75   patience ran out (run, wait), or the lock is held (run -n, wait -n,\n"
         "       status -q, rm)\n"
         "  76   the grant was lost, or its lease ended, before the command did (run)\n"
         "  77   not permitted\n"
         "  126  the command cannot be executed (run)\n"
         "  127  the command was not found (run)\n"
         "  else, with run, that of the command: 128 + N if signal N killed it";
}

std::string run_exit_codes_help() {
  return "Exit codes: that of the command, 128 + N if signal N killed it; or\n"
         "  64   wrong usage\n"
         "  69   not a lockfile of this engine, or one that cannot be used here; or no\n"
         "       server of etcd answers\n"
         "  70   anything else\n"
         "  73   the lockfile cannot be created or opened\n"
         "  75   patience ran out, or -n and the lock is held (-E changes it)\n"
         "  76   the grant was lost, or its lease ended, before the command did\n"
         "  77   not permitted\n"
         "  126  the command cannot be executed\n"
         "  127  the command was not found";
}

}  // namespace lockbyfile::cli
