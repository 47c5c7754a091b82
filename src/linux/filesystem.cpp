// SPDX-License-Identifier: Apache-2.0
//
// The numbers are those of linux/magic.h, unless a source is named. That source is a file of the
// kernel's sources, or another project; "coreutils" is its list in src/stat.c.
#include "linux/filesystem.hpp"

#include <cstdint>
#include <cstdio>

#include "linux/system_calls.hpp"

namespace lockbyfile {

namespace {

const char* network_name(std::uint32_t type) noexcept {
  switch (type) {
    case 0x6969: return "NFS";
    case 0xFF534D42:
    case 0xFE534D42:
    case 0x517B: return "SMB";
    case 0x564C: return "NCP";
    case 0x65735546: return "FUSE";  // virtiofs as well (fs/fuse)
    case 0x01021997: return "9P";
    case 0x00C36400: return "Ceph";
    case 0x0BD00BD0: return "Lustre";  // lustre_user.h
    case 0x47504653: return "GPFS";    // coreutils
    case 0x7461636F: return "OCFS2";
    case 0x01161970: return "GFS2";  // include/uapi/linux/gfs2_ondisk.h
    case 0x5346414F:
    case 0x6B414653: return "AFS";
    case 0x73757245: return "Coda";
    case 0x20030528: return "OrangeFS";  // fs/orangefs/protocol.h
    case 0x19830326: return "BeeGFS";    // coreutils, as FhGFS
    case 0xAAD7AAEA: return "PanFS";     // coreutils
    case 0x786F4256: return "vboxsf";    // fs/vboxsf/super.c
    case 0xBACBACBC: return "vmhgfs";    // coreutils
    case 0x00C0FFEE: return "hostfs";    // of User-mode Linux: its host has the same files
    default: return nullptr;
  }
}

bool is_known_to_be_local(std::uint32_t type) noexcept {
  switch (type) {
    // In memory.
    case 0x01021994:  // tmpfs, also /dev/shm and devtmpfs
    case 0x858458F6:  // ramfs
    case 0x958458F6:  // hugetlbfs
    // On a disk of this machine.
    case 0xEF53:      // ext2, ext3, ext4
    case 0x58465342:  // XFS
    case 0x9123683E:  // Btrfs
    case 0xF2F52010:  // F2FS
    case 0xCA451A4E:  // bcachefs (fs/bcachefs/bcachefs_format.h)
    case 0x2FC12FC1:  // ZFS (OpenZFS, include/sys/fs/zfs.h)
    case 0x3434:      // NILFS2
    case 0x3153464A:  // JFS (fs/jfs/jfs_superblock.h)
    case 0x52654973:  // ReiserFS
    case 0x5A4F4653:  // zonefs
    case 0x24051905:  // UBIFS (fs/ubifs/ubifs.h)
    case 0x72B6:      // JFFS2
    case 0x4D44:      // FAT
    case 0x2011BAB0:  // exFAT
    case 0x5346544E:  // NTFS, of the older driver (fs/ntfs)
    case 0x7366746E:  // ntfs3 (fs/ntfs3/super.c)
    case 0x4244:      // HFS (fs/hfs/hfs.h)
    case 0x482B:      // HFS+ (fs/hfsplus/hfsplus_raw.h)
    case 0xF995E849:  // HPFS
    case 0x15013346:  // UDF
    case 0x00011954:  // UFS (fs/ufs/ufs_fs.h)
    case 0x19540119:  // UFS2, likewise
    case 0x137F:      // Minix, in four formats
    case 0x138F:
    case 0x2468:
    case 0x2478:
    case 0x4D5A:
    case 0xADF5:      // ADFS
    case 0xADFF:      // AFFS
    case 0x1BADFACE:  // BFS (include/uapi/linux/bfs_fs.h)
    // Read-only filesystems. A lockfile may still be observed there.
    case 0x73717368:  // SquashFS
    case 0xE0F5E1E2:  // EROFS
    case 0x9660:      // ISO 9660
    case 0x28CD3D45:  // cramfs
    case 0x453DCD28:
    // On top of others. An open file of these belongs to this machine, whatever is below. overlayfs
    // writes to its upper layer, and accepts a network filesystem there only by force.
    case 0x794C7630:  // overlayfs
    case 0x61756673:  // aufs (aufs-standalone, include/uapi/linux/aufs_type.h)
    case 0xF15F:      // eCryptfs
      return true;
    default: return false;
  }
}

bool shows_dirty_pages(std::uint32_t type) noexcept {
  switch (type) {
    case 0xEF53:      // ext2, ext3, ext4
    case 0x58465342:  // XFS
    case 0x9123683E:  // Btrfs
    case 0xF2F52010:  // F2FS
      return true;
    default: return false;
  }
}

}  // namespace

filesystem_type filesystem_of(int fd) {
  struct statfs s {};
  if (uninterrupted([&] { return sys.fstatfs(fd, &s); }) != 0) {
    return {errno == ENOSYS ? locality::local : locality::untold};
  }
  const auto type = static_cast<std::uint32_t>(s.f_type);
  if (const char* name = network_name(type)) return {locality::network, name};
  if (is_known_to_be_local(type)) return {locality::local, {}, shows_dirty_pages(type)};
  char number[16];
  std::snprintf(number, sizeof number, "%#x", type);
  return {locality::unknown, number};
}

}  // namespace lockbyfile
