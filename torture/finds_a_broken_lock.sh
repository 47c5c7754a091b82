#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: finds_a_broken_lock.sh PROGRAM WORDS [OPTION...]
# Plays a storm over a lock that is broken on purpose. The storm must find the fault: exit code 1,
# and a violation with these words in it. Exits with 77 if the storm must be skipped.
program=$1
words=$2
shift 2
[ $# -gt 0 ] || set -- --seconds 10 --names 2
output=$("$program" "$@")
code=$?
printf '%s\n' "$output"
[ "$code" != 77 ] || exit 77
[ "$code" = 1 ] && printf '%s\n' "$output" | grep -q "VIOLATION.*$words"
