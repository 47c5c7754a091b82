// SPDX-License-Identifier: Apache-2.0
//
// Whether a filesystem is local: whether all processes that see it share one kernel.
//
// Shared mappings and locks on bytes do not reach other hosts. On a filesystem that several hosts
// share, each host would have a lock of its own, and nobody would notice. So a type counts as local
// only if it is known to be local: StorNext, VxFS and the next one to come are in no list. FUSE
// counts as a network filesystem, because nothing distinguishes sshfs from a local disk. So does
// 9P: WSL shows the disks of Windows over it, and gVisor the disks of its host.
#pragma once

#include <string>

namespace lockbyfile {

enum class locality { local, network, unknown, untold };

struct filesystem_type {
  locality where = locality::untold;  // untold: the system did not answer; errno
  std::string name = {};              // of a network filesystem; or the number of an unknown one
  bool shows_dirty_pages = false;     // pages that wait to be written; not on top of others
};

/// The type of the filesystem that holds the file. Where the system has no fstatfs, all are local.
filesystem_type filesystem_of(int fd);

}  // namespace lockbyfile
