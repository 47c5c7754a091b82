// SPDX-License-Identifier: Apache-2.0
//
// Why tokens grow even across a deleted lockfile.
//
// A new file cannot know which tokens a deleted one has handed out. It starts at the microseconds
// of the wall clock since 1970. That is enough as long as counters do not run ahead of that clock.
// Two things make them run ahead. One is more than a grant per microsecond on average (an empty
// critical section takes 20 ns). The other is a wall clock that was set back. So there are rules:
//
//   (T1) A token is handed out only if it is at most the wall clock's microseconds, or at most the
//        high-water mark of the name.
//   (T2) The high-water mark never falls. It is kept beside the lockfile, in PATH.tokens, and only
//        once it is needed: for most locks never.
//   (T3) A new file starts above both.
//   (T4) A file that comes from elsewhere is like a new one to this path. It was moved here from
//        another name or directory, unpacked or copied from a backup, or moved aside and back. Its
//        header records its inode (number and birth), directory and name as `home`. A session whose
//        path leads to a file with another home raises the counter. If the lock is held there, the
//        session raises its own floor instead. A session that finds that its path has left its file
//        wipes `home`.
//   (T5) A directory remembers when a file was last removed from it. If that is later than the wall
//        clock, the clock was set back after the removal, and a new file starts above that time.
//
// These rules do not see four things:
//   - Other bytes written into the same inode by name (cp over it) while no session has it open.
//   - A file moved aside and back with no session in between.
//   - A filesystem that goes back as a whole, to a snapshot for instance.
//   - If the wall clock is set back after a removal by hand: any file except the first that is made
//     in the directory since.
// On a filesystem in memory only the clock outlasts a reboot. The clock is refused past 2112, where
// counters end.
//
// A session knows a ceiling that satisfies (T1) and compares each token with it. Only a token above
// the ceiling comes here. The mark is raised by a reserve that lasts for several seconds of the
// fastest possible grants, so this is rare.
//
// The mark is a text of lines of 16 digits, and its value is the largest of them. It is raised by
// appending a line, which no other process can spoil or hold up: raisers share no lock. They
// reserve its first byte against removal; a process that removes the mark holds that byte. Once
// either has the byte, it looks whether the path still leads to the file. A remover that is stopped
// there can keep others from raising. So can a child that was forked there, if the remover was also
// killed there.
//
// If the mark cannot be written, the grant waits until the clock has caught up, which is a
// microsecond for each grant. If that would take longer than a second, acquire fails with the
// cause. remove and prune leave the mark in place until the clock has passed it. A person who
// deletes both files by hand deletes the memory of the tokens.
//
// The simpler rule, "start at the wall clock", is refuted by a test:
// Tokens.GrowAcrossADeletedFileThatWasAheadOfTheClock.
#pragma once

#include <cstdint>
#include <string>

namespace lockbyfile::file {

/// Where a new or reset lockfile at `path` starts counting (T3). Throws lock_error if
/// there is a mark that cannot be read.
std::uint64_t first_counter(const std::string& path);

/// A counter has to be above this because of the last removal from the directory of `path` (T5). 0
/// as long as the clock is ahead of that removal.
std::uint64_t last_removal_in(const std::string& path) noexcept;

/// A ceiling of at least `token` (T1). The mark gets the mode and group of `lockfile`. May wait,
/// see above. Throws lock_error.
std::uint64_t raise_ceiling(const std::string& path, int lockfile, std::uint64_t token);

/// Removes the mark of the removed lockfile `path` if the clock has passed it.
void remove_passed_mark(const std::string& path) noexcept;

/// Does so for all marks in `directory` whose lockfile is gone. Other files are left alone.
void remove_passed_marks(const std::string& directory) noexcept;

}  // namespace lockbyfile::file
