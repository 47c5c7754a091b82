#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# abi.sh compare|record LIBRARY: compares the binary interface of a shared library, built with
# debug information, with that of the last release (released.abi), or makes it the released one.
# What is new is no difference. CONTRIBUTING.md has the rules, "Change the binary interface".
set -eu
verb=$1 library=$(realpath -- "$2")
CDPATH='' cd -- "$(dirname -- "$0")"
headers=../../include
set -- --drop-private-types --suppressions ours.ini  # without std, whose promise is its own

case $verb in
  compare) abidiff "$@" --no-added-syms --headers-dir2 $headers released.abi "$library" ;;
  record)
    abidw "$@" --drop-undefined-syms --headers-dir $headers --type-id-style hash \
      --no-show-locs --no-comp-dir-path --no-corpus-path --out-file released.abi "$library"
    ;;
esac
