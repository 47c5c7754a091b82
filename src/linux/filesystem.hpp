// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace lockbyfile {

/// The name of the network filesystem that holds the file, "" for a local one, or null, with
/// errno, if the system cannot tell. Where it has no fstatfs all are local. Shared mappings
/// do not reach other hosts, so each host would have a lock of its own. FUSE counts as
/// one, since nothing tells sshfs from a local disk. Types: statfs(2), linux/magic.h.
const char* network_filesystem_name(int fd) noexcept;

}  // namespace lockbyfile
