// SPDX-License-Identifier: Apache-2.0
//
// lockfile: the file under a lock. This opens or creates it, checks it, maps it, and claims a slot
// in it.
//
// What a file can be when it is opened
//
//   | state       | meaning                                           | what is done
//   | ------------+---------------------------------------------------+--------------------
//   | ready       | signature, format, clock and sizes are right      | claim a slot
//   | blank       | empty, or half made by a creator that died        | initialise
//   | other clock | left by another boot, or another time namespace   | reset; or in use
//   |             |                                                   | by this kernel (F3)
//   | tombstone   | a remover died between tombstone and unlink       | revive
//   | damaged     | our signature, but numbers that make no sense     | reset
//   | foreign     | anything else: another program's file, a newer    | refuse
//   |             | format, a directory, a FIFO, a symbolic link      |
//
// Every state except the first and the last is mended under the maintenance lock. Initialising and
// resetting also need all lifelines. That proves that nobody has the file open, and keeps newcomers
// out. While somebody has the file open, `other clock` and `damaged` are errors.
//
// Creation. The file is made nameless (O_TMPFILE). It gets its mode and group, room on disk and its
// first state, and only then a link to its name, which fails if the name exists. So there is no
// half-made file and no moment with a wrong mode, and of two creators one wins. Its first state is
// the tombstone. So its counter is chosen when it has its name, above the tokens of all files that
// had the name before. Where the filesystem has no nameless files, the file is created with O_EXCL
// and completed in place like any blank file. A creator that dies half-way leaves a blank file,
// which the next opener completes.
//
// Order of stores in place. When the file was blank, the signature's first eight bytes are written
// last. When it is reset, the boot id is written last. A crash at any point leaves a file that is
// still blank, or still of another clock, and is mended again.
//
// Claiming slot i: reserve its lifeline, look at the word, hold the lifeline, look at the file
// again.
//   (F1) A slot that the word names as holder is never claimed. Its last owner died, and a new
//        lifeline there would make the dead holder look alive. While the lifeline is reserved
//        nobody else can hold it, so the word cannot come to name the slot. A reservation does not
//        look alive, in case we are stopped there. The record of the dead holder stays readable for
//        the waiter that takes the lock over.
//   (F2) After the claim the file must still be ready and still be the path's file. A reset or a
//        removal may have come between the first look and the claim. Afterwards none can: both
//        respect lifelines, or leave a tombstone.
//   (F3) Another boot id is believed only while nobody holds a lifeline: containers may have a boot
//        id of their own, and chroots none. A process that holds a lifeline runs on this kernel,
//        and found the file ready. So the file's contents are of this boot, too. That is decided
//        under the maintenance lock, which keeps away any process that resets. The decision stays
//        true of that boot id. Nobody claims a slot before the decision, so a claim proves the same
//        as a session does. A file in use in another time namespace is refused
//        (linux/clock_identity.hpp).
//
// What a look costs others. A process that closes any descriptor of a file loses its own POSIX
// locks (F_SETLK, lockf) on that file. A path that does not end in .lockfile may be the program's
// own database. So a child looks at it first (linux/apart.hpp), and a file that is not a lockfile
// is refused without a descriptor of it here. Three cases are not avoided:
//   - An empty file is made a lockfile, since `touch` prepares one like that.
//   - A file that is put there between look and open is opened.
//   - Where no child can be made, or the child may not read the file, the file is opened as before.
//
// Frozen filesystems (fsfreeze). Opening and looking go on. The first store to a page that was
// written back waits for the thaw, in the kernel, where no patience reaches. A page that waits to
// be written back cannot be on a frozen filesystem. For all other pages attach() has a child ask
// before its first store, if there is an end to its patience (require_thawed). These cases are not
// covered:
//   - A kernel before Linux 6.5, which does not report pages that wait to be written.
//   - Filesystems on top of others.
//   - A file that has to be made.
//   - A session that was open before, whose stores ask nobody.
// observe() stores nothing, and fork() of other threads goes on.
#pragma once

#include <chrono>
#include <functional>
#include <lockbyfile/options.hpp>
#include <optional>
#include <string>

#include "core/instant.hpp"
#include "file/attachment.hpp"
#include "file/layout.hpp"
#include "file/lifeline.hpp"
#include "linux/clock_identity.hpp"

namespace lockbyfile::file {

enum class condition { ready, blank, other_clock, tombstone, damaged };

class lockfile {
 public:
  /// For `path` from resolve(). Opens nothing yet.
  lockfile(std::string path, const lock_options& options);

  /// Opens or creates the file and claims a slot; gives up what it had before. Throws lock_error,
  /// with nothing held. It waits for other processes in two cases. While they set up the same file,
  /// it waits at most 2 seconds. While a program has a lease on the file (F_SETLEASE), it waits
  /// within the options' patience, or 2 seconds when it reopens.
  void attach();

  /// Throws errc::clock_mismatch if this process sees another time than all others.
  void require_true_clock() const;

  /// Opens an existing file without claiming anything. False if there is none, or if it is blank.
  /// Throws for foreign files; leaves it to the caller to notice damage.
  bool attach_without_slot(access how);

  /// Gives up the slot, also for other processes that share the lifeline.
  void give_up_slot() noexcept {
    if (attachment_.is_ours()) let_go(fd(), lifeline_of(own_slot()));
  }

  /// Gives up the file, and with it the slot if nobody shares the lifeline.
  void detach() noexcept { attachment_.detach(); }

  /// The state of the attached file. Throws wrong_engine if it is foreign.
  [[nodiscard]] condition examine() const;

  /// The same, for callers that only look. A file of another boot id is also ready, if it is in use
  /// by this kernel (F3). Waits up to 2 seconds for processes that set the file up.
  [[nodiscard]] condition judge();

  /// Under the maintenance lock: looks for the proof of (F3), for examine() to use.
  void prove_kernel();

  /// Whether the path still leads to this file and the descriptor is still ours.
  [[nodiscard]] bool is_at_path() const noexcept;

  /// The same, and the file is whole: a session may go on with it. Any thread may ask. A file whose
  /// mapping is unusable stays current.
  [[nodiscard]] bool is_current() const noexcept;

  /// Whether this process has the descriptor that was attached.
  [[nodiscard]] bool has_lifeline() const noexcept { return attachment_.is_ours(); }

  /// Whether the file was found truncated: then the mapping is zeros.
  [[nodiscard]] bool was_truncated() const noexcept {
    return attachment_.found_fault() == fault::truncated;
  }

  /// Whether the path leads to no file or to another one, and somebody made it so. False if this
  /// process just closed its descriptor, or if the file was truncated.
  [[nodiscard]] bool was_replaced() const noexcept {
    return fd() >= 0 && !was_truncated() && !is_at_path() && has_lifeline();
  }
  /// Whether the mapping begins as a lockfile. Asked just before each of a waiter's writes.
  [[nodiscard]] bool is_signed() const noexcept;

  /// Whether the system could not read or write the mapping, which reads as zeros since then.
  [[nodiscard]] bool is_unusable() const noexcept {
    return attachment_.found_fault() == fault::unusable;
  }
  /// Maps an unusable file again. 0, or the error of the system that prevents it.
  int cure() noexcept;
  /// If there is an error like that, throws it, with the file given up.
  void throw_if_unusable();
  /// Whether the file, read past an unusable mapping, says that our slot holds the lock by `token`.
  /// Also true if the file cannot be read: then nobody can take the lock either.
  [[nodiscard]] bool names_us(std::uint64_t token) const noexcept;

  /// A new session's tokens have to be above this. 0, or, if this file comes from elsewhere, more
  /// than other files that had this path may have handed out (tokens.hpp, T4).
  std::uint64_t tokens_before();
  /// Notes that the path has left this file: if the file comes back, it is from elsewhere.
  void note_departure() noexcept;

  /// Makes SIGBUS reach our handler in this thread (attachment.hpp).
  void prepare_thread() const noexcept { attachment_.prepare_thread(); }

  /// Whether the session in `slot` lives. Not for the own slot.
  [[nodiscard]] bool is_alive(std::uint32_t slot) const noexcept {
    // An answer by a descriptor that was closed and reused does not count.
    return is_held_elsewhere(attachment_.fd(), lifeline_of(slot)) || !attachment_.is_ours();
  }

  /// Throws errc::not_found: there is no file, or a blank one.
  [[noreturn]] void throw_never_used() const;

  /// Throws errc::damaged, with the cause as far as it is known.
  [[noreturn]] void throw_damaged() const;

  [[nodiscard]] image& get() const noexcept { return attachment_.get(); }
  [[nodiscard]] std::uint32_t own_slot() const noexcept {
    return own_slot_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] slot& own() const noexcept { return get().slots[own_slot()]; }
  [[nodiscard]] int fd() const noexcept { return attachment_.fd(); }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Slots that may be touched: the number that the file has, within what it can have.
  [[nodiscard]] std::uint32_t capacity() const noexcept;

 private:
  /// A descriptor that is closed unless release hands it to a caller.
  struct closing {
    explicit closing(int opened) noexcept : fd(opened) {}
    ~closing();
    closing(const closing&) = delete;
    closing& operator=(const closing&) = delete;
    int fd;
  };
  enum class settled { yes, try_again };
  enum class opened { nothing, replaced, leased, file };

  void create();
  bool create_nameless();
  void create_in_place();
  void set_permissions();
  [[nodiscard]] std::uint64_t home() const noexcept;
  [[nodiscard]] std::uint64_t first_token() const;
  void allocate(std::size_t size, const char* what) const;
  bool fill(std::uint64_t from, std::uint64_t to) const noexcept;
  void wait_for_lease(instant deadline) const;
  void require_thawed() const;
  [[nodiscard]] bool has_our_clock() const;
  [[nodiscard]] bool is_proven(const clock_identity& recorded) const noexcept;
  bool learn_kernel();
  [[noreturn]] void fail_to_lock(int error) const;
  [[nodiscard]] int probe(int fd) noexcept;
  [[nodiscard]] bool has_other_root() const noexcept;
  [[nodiscard]] int open_existing(access how) const noexcept;
  opened open_and_map(access how);
  opened take(closing& lifeline, int mapped, access how);
  [[nodiscard]] std::uint64_t size_now() const;
  [[nodiscard]] bool is_at_path(std::uint64_t least_size) const noexcept;
  [[nodiscard]] bool has_room(std::uint64_t size) const noexcept;
  void mend();
  void reset(condition why);
  settled claim();
  void grow(std::uint32_t seen);
  [[noreturn]] void fail(int error, const std::string& what) const;

  std::string path_;
  unsigned mode_;
  std::optional<unsigned> group_;
  bool any_filesystem_;
  bool has_been_attached_ = false;
  bool shows_dirty_pages_ = false;
  std::chrono::nanoseconds patience_;
  std::function<bool()> gives_up_;
  std::optional<clock_identity> proven_;  // a recorded clock that is of this kernel (F3)
  attachment attachment_;
  static constexpr std::uint32_t no_slot = slot_limit;
  std::atomic<std::uint32_t> own_slot_{no_slot};
  std::uint64_t removed_until_ = 0;            // least counter of a file that we make (T5)
  std::atomic<std::uint64_t> root_device_{0};  // of the root directory that the path began at
  std::atomic<std::uint64_t> root_inode_{0};
};

/// The maintenance lock, held while this lives. Waits up to 2 seconds for it; throws errc::stuck
/// with `path` if it cannot get it.
class maintenance {
 public:
  maintenance(int fd, const std::string& path);
  ~maintenance() { let_go(fd_, maintenance_byte); }
  maintenance(const maintenance&) = delete;
  maintenance& operator=(const maintenance&) = delete;

 private:
  int fd_;
};

}  // namespace lockbyfile::file
