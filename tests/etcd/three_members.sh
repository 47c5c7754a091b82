#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# three_members.sh DOCUMENT DIRECTORY
#
# Runs the three-member set-up of the document (docs/engines.md) as it stands there, except at free
# ports. It uses the command in the directory. It tests the document's promise: the lock works
# without one of the members, and without two it fails with an error, in time.
set -eu
document=$(realpath "$1")
PATH=$(realpath "$2"):$PATH
command -v etcd >/dev/null && command -v etcdctl >/dev/null || { echo "there is no etcd"; exit 77; }

is_free() {  # PORT
  ! grep -q ":$(printf %04X "$1") " /proc/net/tcp /proc/net/tcp6
}

here=$(mktemp -d)
cd "$here"
clean_up() {  # by way of a file, since a subshell has no jobs
  jobs -p >members
  xargs -r kill -9 <members 2>/dev/null || :
  wait
  rm -rf "$here"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

base=$((20000 + $$ * 13 % 12000))
until is_free "$base" && is_free $((base + 1)) && is_free $((base + 100)) &&
  is_free $((base + 101)) && is_free $((base + 200)) && is_free $((base + 201)); do
  base=$((base + 1))
done
sed -n '/three_members.sh/,/^```$/p' "$document" | sed '/^<!--/d; /^```/d' >block.sh
[ "$(wc -l <block.sh)" -le 11 ] || { echo "these are not ten lines"; exit 1; }
for number in 3 4 5; do
  old=2${number}79
  new=$((base + (number - 3) * 100))
  sed -i "s/\b$old\b/$new/g; s/\b2${number}80\b/$((new + 1))/g" block.sh
done
servers=127.0.0.1:$base,127.0.0.1:$((base + 100)),127.0.0.1:$((base + 200))

. ./block.sh >output
grep -qx held output || { echo "the lock did not run its command:"; cat output ./*.log; exit 1; }

jobs -p >members
# shellcheck disable=SC2046  # words on purpose
set -- $(cat members)
[ $# = 3 ] || { echo "$# members run"; exit 1; }
kill -9 "$1"
lockbyfile run -w 30 "etcd://$servers/jobs/nightly" -- echo "held without one"
kill -9 "$2"
code=0
timeout 60 lockbyfile run -w 5 "etcd://$servers/jobs/nightly" -- echo "held without two" 2>error || code=$?
[ "$code" = 69 ] || { echo "without two members it ends with $code, not with 69"; exit 1; }
grep -q 'half of its members may be down' error || { echo "it says"; cat error; exit 1; }
