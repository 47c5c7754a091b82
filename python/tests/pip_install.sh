#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# pip install, without a network, into an empty directory; then a lock taken with what is there.
# Called by ctest: PYTHON SOURCE TARGET
set -eu
python=$1 source=$2 target=$3
rm -rf "$target"
"$python" -m pip install --quiet --no-build-isolation --no-index --no-deps --target "$target" "$source"
cd "$target"
PYTHONPATH=$target "$python" -c '
import lockbyfile, os, sys
assert os.path.dirname(lockbyfile.__file__) == os.path.join(sys.argv[1], "lockbyfile")
for file in "py.typed", "_lockbyfile.pyi", "django/management/commands/locked.py":
    assert os.path.exists(os.path.join(sys.argv[1], "lockbyfile", file)), file
with lockbyfile.Lock("installed") as grant:
    print("granted", grant.token)
' "$target"
