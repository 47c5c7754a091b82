#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The man pages are well formed, and every function, error and option of the API is in
# lockbyfile(3). Called by ctest: SOURCE-DIRECTORY
set -eu
source=$1
bad=0
complain() { echo "$1" >&2; bad=1; }

header=$source/include/lockbyfile.h
if [ -f "$header" ]; then
  for function in $(grep -o 'lockbyfile_[a-z_]*(' "$header" | tr -d '(' | sort -u); do
    grep -q "^\.Fn $function" "$source/man/lockbyfile.3" || complain "lockbyfile.3 lacks $function"
  done
  for code in $(sed -n 's/^ *LOCKBYFILE_\([A-Z_]*\) = -1.*/\1/p' "$header" | tr A-Z a-z); do
    grep -q "^\.It Er $code\$" "$source/man/lockbyfile.3" || complain "lockbyfile.3 lacks $code"
  done
fi

for code in $(sed -n '/^enum class errc/,/^}/s/^  \([a-z_]*\)[ ,].*/\1/p' "$source/include/lockbyfile/error.hpp"); do
  grep -q "^\.It Er $code\$" "$source/man/lockbyfile.3" || complain "lockbyfile.3 lacks $code"
done
for option in $(sed -n 's/^  [a-z][A-Za-z_:<>() ]* \([a-z_]*\) = .*;$/\1/p' "$source/include/lockbyfile/options.hpp"); do
  grep -q "^\.Va .*\b$option\b" "$source/man/lockbyfile.3" || complain "lockbyfile.3 lacks the option $option"
done

if command -v mandoc >/dev/null; then
  for page in "$source"/man/*.[137]; do
    # Whether other pages are installed here is none of this page's business.
    found=$(mandoc -T lint -W style "$page" 2>&1 | grep -v -e 'mandoc.db' -e 'referenced manual not found' || :)
    [ -z "$found" ] || complain "$found"
  done
else
  echo "skipped: there is no mandoc"
fi
exit $bad
