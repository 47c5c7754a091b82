#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: finds_a_broken_lock.sh PROGRAM WORDS
# Plays a storm over a lock that is broken on purpose. It has to be found, and for that
# reason: exit code 1, and a violation with these words in it.
output=$("$1" --seconds 10 --names 2)
code=$?
printf '%s\n' "$output"
[ "$code" = 1 ] && printf '%s\n' "$output" | grep -q "VIOLATION.*$2"
