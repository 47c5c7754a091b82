// SPDX-License-Identifier: Apache-2.0
//
// Whether a filesystem is local: whether all processes that see it share one kernel.
//
// Shared mappings and locks on bytes do not reach other hosts. On a filesystem that several
// hosts share, each host would have a lock of its own, and nobody would notice. So a type is
// local only if it is known to be: StorNext, VxFS and the next one to come are in no list.
// FUSE counts as a network filesystem, since nothing tells sshfs from a local disk. So does
// 9P, over which WSL shows the disks of Windows and gVisor those of its host.
#pragma once

#include <string>

namespace lockbyfile {

enum class locality { local, network, unknown, untold };

struct filesystem_type {
  locality where = locality::untold;  // untold: the system did not answer; errno
  std::string name = {};              // of a network filesystem; or the number of an unknown one
  bool shows_dirty_pages = false;     // what waits to be written back; not on top of others
};

/// Of the filesystem that holds the file. Where the system has no fstatfs all are local.
filesystem_type filesystem_of(int fd);

}  // namespace lockbyfile
