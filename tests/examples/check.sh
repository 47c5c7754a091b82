#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The units, the crontab and the tmpfiles.d of examples/ are well formed, and what they call
# lockbyfile with is what it takes. Called by ctest: systemd|cron|tmpfiles EXAMPLES COMMAND
set -eu
what=$1 examples=$2 command=$3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

skip() { echo "skipped: $1"; exit 0; }

# The options of each line that calls it must be known: the job is true, the directory ours.
try() {  # TEXT-OF-THE-CALL, without the command's name
  # shellcheck disable=SC2086  # words on purpose
  LOCKBYFILE_DIR=$scratch "$command" ${1%% -- *} ${2-}
}

case $what in
  systemd)
    command -v systemd-analyze >/dev/null || skip "there is no systemd-analyze"
    # It wants the programs to be there: those of this machine in place of those to be installed.
    for unit in nightly.service nightly.timer hardened.service; do
      sed "s|/usr/bin/lockbyfile|$command|" "$examples/systemd/$unit" >"$scratch/$unit"
    done
    found=$(cd "$scratch" && systemd-analyze verify --man=no ./nightly.service ./nightly.timer ./hardened.service 2>&1) ||
      { echo "$found" >&2; exit 1; }
    if printf '%s\n' "$found" | grep -e nightly -e hardened >&2; then exit 1; fi
    try "$(sed -n 's|^ExecStart=/usr/bin/lockbyfile ||p' "$examples/systemd/hardened.service")" true
    try "$(sed -n 's|^ExecStart=/usr/bin/lockbyfile ||p' "$examples/systemd/nightly.service")" true
    ;;
  cron)
    entries=$(grep -c '^[*0-9].* root lockbyfile ' "$examples/cron/lockbyfile")
    [ "$entries" -eq "$(grep -c '^[*0-9]' "$examples/cron/lockbyfile")" ]
    grep '^[*0-9]' "$examples/cron/lockbyfile" | while read -r minute hour day month weekday user _ call; do
      printf '%s\n' "$minute$hour$day$month$weekday" | grep -qx '[*/0-9]*' && [ "$user" = root ]
      case $call in
        run*) try "$call" true ;;
        *) try "$call" ;;
      esac
    done
    ;;
  tmpfiles)
    command -v systemd-tmpfiles >/dev/null || skip "there is no systemd-tmpfiles"
    [ "$(id -u)" = 0 ] || skip "only root can make a directory of root's"
    sed 's|^#d |d |' "$examples/tmpfiles.d/lockbyfile.conf" >"$scratch/lockbyfile.conf"
    mkdir "$scratch/etc"
    cp /etc/passwd /etc/group "$scratch/etc/"
    found=$(systemd-tmpfiles --create --root="$scratch" "$scratch/lockbyfile.conf" 2>&1) ||
      { echo "$found" >&2; exit 1; }
    [ "$(stat -c %a "$scratch/run/lockbyfile")" = 755 ]
    [ "$(stat -c %a,%G "$scratch/run/lockbyfile/shop")" = 2770,adm ]
    # A lockfile in it has the group by itself, and the mode that is asked for.
    "$command" run --dir "$scratch/run/lockbyfile/shop" --mode 660 job -- true
    [ "$(stat -c %a,%G "$scratch/run/lockbyfile/shop/job.lockfile")" = 660,adm ]
    ;;
esac
