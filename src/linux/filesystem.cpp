// SPDX-License-Identifier: Apache-2.0
#include "linux/filesystem.hpp"

#include <cstdint>

#include "linux/system_calls.hpp"

namespace lockbyfile {

const char* network_filesystem_name(int fd) noexcept {
  struct statfs s {};
  if (uninterrupted([&] { return sys.fstatfs(fd, &s); }) != 0) {
    return errno == ENOSYS ? "" : nullptr;
  }
  switch (static_cast<std::uint32_t>(s.f_type)) {
    case 0x6969: return "NFS";
    case 0xFF534D42:
    case 0xFE534D42:
    case 0x517B: return "SMB";
    case 0x65735546: return "FUSE";
    case 0x01021997: return "9P";
    case 0x00C36400: return "Ceph";
    case 0x0BD00BD0: return "Lustre";
    case 0x47504653: return "GPFS";
    case 0x7461636F: return "OCFS2";
    case 0x01161970: return "GFS2";
    case 0x5346414F:
    case 0x6B414653: return "AFS";
    case 0x73757245: return "Coda";
    case 0x20030528: return "OrangeFS";
    case 0x19830326: return "BeeGFS";
    case 0xAAD7AAEA: return "PanFS";
    case 0x786F4256: return "vboxsf";
    case 0xBACBACBC: return "vmhgfs";
    default: return "";
  }
}

}  // namespace lockbyfile
