#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Every promise and every row of the torture list has its tests in docs/guarantees.md, and
# every test that is named there exists. Called by ctest: CTEST BUILD-DIRECTORY DOCUMENT
set -eu
ctest=$1 build=$2 document=$3
promises=10
rows=51

# Suite.Test, without the prefixes and suffixes of GoogleTest's parameters and types.
existing=$("$ctest" --test-dir "$build" -N |
  sed -n 's|^ *Test *#[0-9]*: \(.*\)|\1|p' |
  sed -e 's|^[^./]*/\([A-Za-z]*\.\)|\1|' -e 's|/[^.]*\.|.|' -e 's|[/<].*$||' | sort -u)
named=$(grep -o '`[A-Z][A-Za-z0-9]*\.[A-Z][A-Za-z0-9]*`' "$document" | tr -d '`' | sort -u)

bad=0
complain() { echo "$document: $1" >&2; bad=1; }

for test in $named; do
  printf '%s\n' "$existing" | grep -qx "$test" || complain "there is no test $test"
done
has_tests() { printf '%s\n' "$1" | grep -q '`[A-Z][A-Za-z0-9]*\.[A-Z]'; }
for p in $(seq $promises); do
  has_tests "$(grep "^| \*\*P$p\*\*" "$document")" || complain "promise P$p has no test"
done
for row in $(seq $rows); do
  has_tests "$(grep "^| $row |" "$document")" || complain "row $row has no test"
done
[ -n "$named" ] && exit $bad
