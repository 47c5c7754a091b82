// SPDX-License-Identifier: Apache-2.0
//
// LOCKBYFILE_EXPORT marks what the library offers; everything else is hidden.
#pragma once

#define LOCKBYFILE_EXPORT __attribute__((visibility("default")))
