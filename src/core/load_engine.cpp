// SPDX-License-Identifier: Apache-2.0
//
// Loading a module (engines.hpp).
//
// `loaded` is what one process has loaded. A child sees its parent's, which has another epoch, and
// makes a new one. The parent's is never destroyed. Its mutex may be locked forever in a child,
// which does not touch it.
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <mutex>

#include "core/engines.hpp"
#include "core/stay_loaded.hpp"
#include "linux/process_epoch.hpp"

namespace lockbyfile {

namespace {

constexpr const char* file_name = "lockbyfile-etcd-engine.so";

struct loaded {
  explicit loaded(bool child) : is_child(child) {}

  const std::uint64_t process = process_epoch();
  const bool is_child;  // of a process that may have loaded it
  std::mutex mutex;
  const engine_table* table = nullptr;
};

constinit std::atomic<loaded*> current{nullptr};

loaded& ours() {
  loaded* seen = current.load();
  while (seen == nullptr || seen->process != process_epoch()) {
    auto fresh = std::make_unique<loaded>(seen != nullptr);
    if (current.compare_exchange_strong(seen, fresh.get())) return *fresh.release();
  }
  return *seen;
}

/// The directory of the file that contains this code; empty if that is not certain.
std::string own_directory() {
  if (::getauxval(AT_SECURE) != 0) return "";
  Dl_info info{};
  link_map* map = nullptr;
  static const char here = 0;
  if (::dladdr1(&here, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0) return "";
  const bool is_the_program = map == nullptr || map->l_name == nullptr || *map->l_name == '\0';
  std::error_code ec;
  const std::filesystem::path file = is_the_program
                                         ? std::filesystem::read_symlink("/proc/self/exe", ec)
                                         : std::filesystem::path(map->l_name);
  return !ec && file.is_absolute() ? file.parent_path().string() : "";
}

std::string find_module(std::string_view name) {
  std::string looked;
  for (const std::string& directory : {own_directory(), std::string(LOCKBYFILE_MODULE_DIRECTORY)}) {
    if (directory.empty()) continue;
    std::string path = directory + '/' + file_name;
    if (::access(path.c_str(), R_OK) == 0) return path;
    looked += (looked.empty() ? "" : " nor in ") + directory;
  }
  throw no_engine(name, std::string("its module ") + file_name + " is not in " + looked +
                            ": build it " + engine_needs + ", or install it there");
}

struct descriptor {
  int fd;
  ~descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

/// The module as a file of its own, so that the dynamic linker loads it a second time.
void* load_copy(const std::string& path) {
  const descriptor from{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  const descriptor to{::memfd_create(file_name, MFD_CLOEXEC)};
  if (from.fd < 0 || to.fd < 0) return nullptr;
  std::array<char, 1 << 16> block{};
  for (;;) {
    const ssize_t n = ::read(from.fd, block.data(), block.size());
    if (n < 0) return nullptr;
    if (n == 0) break;
    for (ssize_t done = 0; done < n;) {
      const ssize_t w = ::write(to.fd, block.data() + done, static_cast<std::size_t>(n - done));
      if (w <= 0) return nullptr;
      done += w;
    }
  }
  const std::string copy = "/proc/self/fd/" + std::to_string(to.fd);
  return ::dlopen(copy.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

const engine_table* load(std::string_view name, bool is_child) {
  const std::string path = find_module(name);
  void* const module =
      is_child ? load_copy(path) : ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (module == nullptr) {
    const char* why = ::dlerror();
    throw no_engine(name, "its module " + path + " cannot be loaded: " +
                              (why != nullptr ? why : "the copy for a child process failed"));
  }
  const auto entry = reinterpret_cast<engine_entry*>(::dlsym(module, "lockbyfile_engine_module"));
  if (entry == nullptr) throw no_engine(name, path + " is no module of lockbyfile");
  const engine_host host{&lock_category()};
  const engine_table* table = entry(&host);
  if (std::strcmp(table->version, engine_version) != 0) {
    throw no_engine(name, "its module " + path + " is of another build (" + table->version +
                              ", not " + engine_version + ")");
  }
  return table;
}

}  // namespace

void stay_loaded() noexcept {
  Dl_info here{};
  if (::dladdr(reinterpret_cast<const void*>(&stay_loaded), &here) == 0) return;
  (void)::dlopen(here.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

const engine_table& etcd_engine(std::string_view name) {
  loaded& l = ours();
  const std::lock_guard guard(l.mutex);
  if (l.table == nullptr) l.table = load(name, l.is_child);
  return *l.table;
}

}  // namespace lockbyfile
