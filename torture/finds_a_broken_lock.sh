#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: finds_a_broken_lock.sh PROGRAM WORDS [OPTION...]
# Plays a storm over a lock that is broken on purpose. It has to be found, and for that
# reason: exit code 1, and a violation with these words in it. 77 if it has to be skipped.
program=$1
words=$2
shift 2
[ $# -gt 0 ] || set -- --seconds 10 --names 2
output=$("$program" "$@")
code=$?
printf '%s\n' "$output"
[ "$code" != 77 ] || exit 77
[ "$code" = 1 ] && printf '%s\n' "$output" | grep -q "VIOLATION.*$words"
