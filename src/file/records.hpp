// SPDX-License-Identifier: Apache-2.0
//
// records: what a lockfile remembers of its last break, and of how the last run ended.
//
// A record is several words. Several processes may write it at once, be killed half-way, or
// scribble in the file. So each record ends with a check that is computed from all of its words.
//
//   (R1) A reader shows a record only if its check fits. A half-written record does not fit, nor
//        does one that two writers mixed. It is shown as none until the next one is written.
//   (R2) A record of an older grant does not replace the record of a newer one: its writer was
//        late. Two writers at the same instant may leave the older one; that one is still true.
//   (R3) A break is recorded after the word has made it true. A breaker that dies in between leaves
//        a lock that says it was broken (word.hpp, W4). Who broke it is then not known.
//
// No decision about the lock rests on a record. A holder that lost its grant compares the token of
// the last break with its own, to tell its user why.
//
// The simpler design that fails: a sequence number that is odd while somebody writes. A writer that
// dies leaves it odd forever, or the next one has to guess whether the first still writes.
#pragma once

#include <lockbyfile/observe.hpp>
#include <optional>

#include "file/layout.hpp"

namespace lockbyfile::file {

/// `by.command` is cut to 47 bytes; `by.host` is not kept.
void write_break(header& h, const break_info& record) noexcept;
[[nodiscard]] std::optional<break_info> read_break(const header& h);

void write_run(header& h, const run_info& record) noexcept;
[[nodiscard]] std::optional<run_info> read_run(const header& h);

/// For a file that is made anew: no records.
void clear_records(header& h) noexcept;

/// This process, as observers see it. An empty `description` is the program's short name.
[[nodiscard]] party this_party(const std::string& description);

}  // namespace lockbyfile::file
