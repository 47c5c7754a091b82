// SPDX-License-Identifier: Apache-2.0
//
// LOCKBYFILE_HIDDEN keeps a class that is declared inside an exported class out of the binary
// interface.
#pragma once

#define LOCKBYFILE_HIDDEN __attribute__((visibility("hidden")))
