// SPDX-License-Identifier: Apache-2.0
//
// LOCKBYFILE_EXPORT marks what the library offers; everything else is hidden. It is in the inline
// namespace lockbyfile::v0: 0 is the version of the binary interface, as in liblockbyfile.so.0, so
// that what was compiled for another version does not link. Write lockbyfile::, without v0.
#pragma once

#define LOCKBYFILE_EXPORT __attribute__((visibility("default")))
