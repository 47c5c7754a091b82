// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a lock's name. The first byte selects the directory of names without a slash, and
// whether the lock is opened, too.
//
//   - A name may be refused: invalid_name, wrong_engine, or the system's error about the directory.
//   - Otherwise it becomes an absolute path that is short enough for the system. In front of the
//     file's own name, the path has no `.`, `..`, `//`, NUL or symbolic link.
//   - A name without a slash stays in its directory, as NAME.lockfile.
//   - The path is itself a name of the same file, in every directory.
//   - Resolving creates nothing. Opening makes that one file, and removing it leaves nothing
//     behind.
#include "core/name.hpp"

#include <climits>
#include <filesystem>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <string>

#include "describe.hpp"
#include "support.hpp"
#include "support/temporary_directory.hpp"

namespace lockbyfile::fuzz {
namespace {

namespace fs = std::filesystem;

/// A small tree.
struct world {
  world() {
    fs::create_directories(root.path() + "/a/b");
    fs::create_symlink("a/b", root.path() + "/link");
    fs::create_symlink("loop", root.path() + "/loop");
    fs::create_symlink("nowhere", root.path() + "/dangling");
    ::unsetenv("LOCKBYFILE_DIR");
  }
  [[nodiscard]] std::size_t files() const {
    std::size_t n = 0;
    for (const auto& entry : fs::recursive_directory_iterator(root.path()))
      n += !entry.path().empty();
    return n;
  }
  const temporary_directory root{memory()};
};

/// The current directory is in the tree as long as this lives. The fuzzer has its own.
class inside {
 public:
  explicit inside(const world& w) { fs::current_path(w.root.path() + "/a"); }
  ~inside() { fs::current_path(before_); }
  inside(const inside&) = delete;
  inside& operator=(const inside&) = delete;

 private:
  const fs::path before_ = fs::current_path();
};

struct home {
  std::string given;  // for resolve()
  std::string real;   // where that is
};

home home_of(const world& w, unsigned choice) {
  const std::string& root = w.root.path();
  const std::string in_a = root + "/a";
  switch (choice % 6) {
    case 0: return {root, root};
    case 1: return {"b/../../link", in_a + "/b"};
    case 2: return {"../link/", in_a + "/b"};
    case 3: return {root + "//a/./b/..", in_a};
    case 4: return {"/", "/"};
    default: return {"", in_a};
  }
}

std::optional<std::string> resolved(std::string_view name, const std::string& directory) {
  try {
    return resolve(name, directory);
  } catch (const lock_error& error) {
    require(error.code() == errc::invalid_name || error.code() == errc::wrong_engine ||
                error.code().category() == std::system_category() ||
                error.code().category() == std::generic_category(),
            "a name is refused for a documented reason", error.what());
    require(!std::string_view(error.what()).empty() && (!error.path().empty() || name.empty()),
            "an error says what and where", error.what());
    return {};
  }
}

void check(std::string_view name, const home& home, const std::string& path) {
  const fs::path file(path);
  const std::string last = file.filename().string();
  require(path.front() == '/' && path.size() < PATH_MAX, "it is absolute and short enough", path);
  require(path.find('\0') == std::string::npos, "it has no NUL", path);
  require(file.lexically_normal().string() == path, "it is normal", path);
  require(!last.empty() && last != "." && last != ".." && last.size() <= NAME_MAX,
          "it names a file", path);
  require(fs::canonical(file.parent_path()) == file.parent_path(), "no link leads to it", path);
  require(resolve(path, "/nowhere") == path, "it is a name of the same file", path);

  const auto slash = name.rfind('/');
  if (slash == std::string_view::npos) {
    require(file.parent_path() == home.real, "it stays in its directory", path);
    require(last == std::string(name) + ".lockfile", "it is NAME.lockfile", path);
    require(cli::name_of(path) == name, "and is shown by that name", path);
  } else {
    require(last == name.substr(slash + 1), "a path is used as it is", path);
  }
}

void use(const world& w, std::string_view name, const home& home, const std::string& path) {
  lock_options options;
  options.directory = home.given;
  const std::size_t before = w.files();
  {
    named_lock lock(name, options);
    require(lock.path() == path && fs::is_regular_file(path), "opening makes that file", path);
    require(lock.try_lock(), "which is a lock", path);
    require(w.files() == before + 1, "and no other", path);
    require(observe(path).holder.has_value(), "also by its path", path);
  }
  remove(name, options);
  require(w.files() == before, "removing leaves nothing", path);
}

}  // namespace
}  // namespace lockbyfile::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lockbyfile::fuzz;
  static const world w;
  if (size == 0) return 0;
  const inside here(w);
  const std::string_view name = text_of(data + 1, size - 1);
  const home there = home_of(w, data[0] & 127U);
  const auto path = resolved(name, there.given);
  if (!path) return 0;
  check(name, there, *path);
  const bool is_ours = path->starts_with(w.root.path() + '/');
  if (data[0] >= 128 && is_ours && !fs::exists(fs::symlink_status(*path))) {
    use(w, name, there, *path);
  }
  return 0;
}
