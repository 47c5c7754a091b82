// SPDX-License-Identifier: Apache-2.0
//
// Why tokens grow even across a deleted lockfile.
//
// A new file cannot know what tokens a deleted one has handed out. It starts at the
// microseconds of the wall clock since 1970, which is enough as long as counters do
// not run ahead of that clock. Two things make them run ahead: more than a grant per
// microsecond on the average (an empty critical section takes 20 ns), and a wall
// clock that was set back. So there is a rule:
//
//   (T1) A token is handed out only if it is at most the wall clock's microseconds,
//        or at most the high-water mark of the name.
//   (T2) The high-water mark never falls. It is kept beside the lockfile, in PATH.tokens,
//        and only once it is needed: for most locks never.
//   (T3) A new file starts above both.
//   (T4) A file that comes from elsewhere is as a new one to this path: moved here from another
//        name or directory, unpacked or copied from a backup, or moved aside and back. It says in
//        its header which inode (number and birth), directory and name it is of (`home`), and a
//        session whose path leads to another one raises the counter, or its own floor if the
//        lock is held there. A session that finds that its path has left its file wipes that.
//   (T5) A directory remembers when a file was last removed from it. If that is later than the
//        wall clock, the clock was set back after the removal, and a new file starts above it.
//
// What that does not see: other bytes written into the same inode by name (cp over it) while no
// session has it open; a file moved aside and back with no session in between; a filesystem that
// goes back as a whole, to a snapshot for instance; and, if the wall clock is set back after a
// removal by hand, any file but the first that is made in the directory since. Nor does anything
// outlast a reboot on a filesystem in memory but the clock. The clock is refused past 2112, where
// counters end.
//
// A session knows a ceiling that satisfies (T1) and compares each token with it; only
// a token above it comes here. The mark is raised by a reserve that lasts for several
// seconds of the fastest possible grants, so this is rare.
//
// The mark is a text of lines of 16 digits, and its value is the largest of them. It is
// raised by appending a line, which no other process can spoil or hold up: there is no
// lock between those who raise. They reserve its first byte against removal; whoever
// removes it holds that byte. Either looks, once it has it, whether the path still leads to
// the file. A remover that is stopped there can keep others from raising. So can a child that was
// forked there, if the remover was killed there as well.
//
// If the mark cannot be written the grant waits until the clock has caught up, which
// is a microsecond for each grant; if that would take longer than a second, acquire
// fails with the cause. remove and prune leave the mark in place until the clock has
// passed it; a person who deletes both files by hand deletes the memory of the tokens.
//
// The simpler rule, "start at the wall clock", is refuted by
// tests: Tokens.GrowAcrossADeletedFileThatWasAheadOfTheClock.
#pragma once

#include <cstdint>
#include <string>

namespace lockbyfile::file {

/// Where a new or reset lockfile at `path` starts counting (T3). Throws lock_error if
/// there is a mark that cannot be read.
std::uint64_t first_counter(const std::string& path);

/// What a counter has to be above because of what was removed from the directory of `path` (T5); 0
/// as long as the clock is ahead of that.
std::uint64_t last_removal_in(const std::string& path) noexcept;

/// A ceiling of at least `token` (T1). `lockfile` lends the mark its mode and group.
/// May wait, see above. Throws lock_error.
std::uint64_t raise_ceiling(const std::string& path, int lockfile, std::uint64_t token);

/// Removes the mark of the removed lockfile `path` if the clock has passed it.
void remove_passed_mark(const std::string& path) noexcept;

/// Does so for all marks in `directory` whose lockfile is gone. Other files are left alone.
void remove_passed_marks(const std::string& directory) noexcept;

}  // namespace lockbyfile::file
