// SPDX-License-Identifier: Apache-2.0
//
// LOCKBYFILE_EXPORT marks the public interface; everything else is hidden. The interface is in the
// inline namespace lockbyfile::v0, where 0 is the version of the binary interface, as in
// liblockbyfile.so.0. So code that was compiled for another version does not link. Write
// lockbyfile::, without v0.
#pragma once

#define LOCKBYFILE_EXPORT __attribute__((visibility("default")))
