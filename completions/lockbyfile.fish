# SPDX-License-Identifier: Apache-2.0
#
# Completion of lockbyfile for fish, from 3.1 on. Install it as lockbyfile.fish in
# ~/.config/fish/completions or /usr/share/fish/vendor_completions.d.

# Parses the command line before the cursor. Prints, one a line: the verb, the play of a demo, the
# number of names, the directory, and for run the words of the command.
function __lockbyfile_parse
    set -l tokens (commandline -opc)
    set -e tokens[1]
    set -g __lockbyfile_verb ''
    set -g __lockbyfile_play ''
    set -g __lockbyfile_names 0
    set -g __lockbyfile_command
    set -g __lockbyfile_dir .
    test -n "$LOCKBYFILE_DIR"; and set __lockbyfile_dir $LOCKBYFILE_DIR
    set -l option ''
    while set -q tokens[1]
        set -l word $tokens[1]
        set -e tokens[1]
        if test -n "$option"
            test $option = --dir; and set __lockbyfile_dir (string replace -r '^~(?=/|$)' ~ -- $word)
            set option ''
            continue
        end
        switch $word
            case --
            case --dir -w --patience -E --conflict-exit-code --lease --kill-after -c \
                --command --mode --token --consumers --milliseconds --processes --steps
                set option $word
            case '--dir=*'
                set __lockbyfile_dir (string replace -r '^--dir=' '' -- $word | string replace -r '^~(?=/|$)' ~)
            case '-*'
            case '*'
                if test -z "$__lockbyfile_verb"
                    set __lockbyfile_verb $word
                else if test $__lockbyfile_verb = demo -a -z "$__lockbyfile_play"
                    set __lockbyfile_play $word
                else
                    set __lockbyfile_names (math $__lockbyfile_names + 1)
                    if test $__lockbyfile_verb = run # all the rest is the command's
                        test "$tokens[1]" = --; and set -e tokens[1]
                        set __lockbyfile_command $tokens
                        return
                    end
                end
        end
    end
end

function __lockbyfile_is_without_verb
    __lockbyfile_parse
    test -z "$__lockbyfile_verb"
end

# VERB...: whether it is one of these and no name has been given yet.
function __lockbyfile_in
    __lockbyfile_parse
    contains -- "$__lockbyfile_verb" $argv; and test $__lockbyfile_names = 0
end

function __lockbyfile_in_play
    __lockbyfile_parse
    test "$__lockbyfile_verb" = demo; and contains -- "$__lockbyfile_play" $argv
end

function __lockbyfile_wants_play
    __lockbyfile_parse
    test "$__lockbyfile_verb" = demo -a -z "$__lockbyfile_play"
end

function __lockbyfile_wants_command
    __lockbyfile_parse
    test "$__lockbyfile_verb" = run -a $__lockbyfile_names = 1
end

# The names in the directory; paths, where the word has a slash.
function __lockbyfile_list
    __lockbyfile_parse
    set -l word (commandline -ct)
    if string match -q '*/*' -- $word
        __fish_complete_suffix .lockfile
        return
    end
    for file in (string trim -r -c / -- $__lockbyfile_dir)/*.lockfile
        string replace -r '.*/(.*)\.lockfile$' '$1' -- $file
    end
end

function __lockbyfile_complete_command
    __lockbyfile_parse
    complete -C (string join ' ' -- (string escape -- $__lockbyfile_command) (commandline -ct))
end

complete -c lockbyfile -f
complete -c lockbyfile -n 'not __lockbyfile_wants_command' -s h -l help -d 'Show the help'
complete -c lockbyfile -n __lockbyfile_is_without_verb -l version -d 'Tell the version'

complete -c lockbyfile -n __lockbyfile_is_without_verb -a run -d 'Run a command while holding a lock'
complete -c lockbyfile -n __lockbyfile_is_without_verb -a status -d 'Show who holds a lock and who waits for it'
complete -c lockbyfile -n __lockbyfile_is_without_verb -a list -d 'Show the locks of a directory, a line each'
complete -c lockbyfile -n __lockbyfile_is_without_verb -a wait -d 'Wait until a lock is free, without taking it'
complete -c lockbyfile -n __lockbyfile_is_without_verb -a held -d 'Tell whether the grant that was inherited is current'
complete -c lockbyfile -n __lockbyfile_is_without_verb -a stop -d 'Stop the holder of a lock, and wait for that'
complete -c lockbyfile -n __lockbyfile_is_without_verb -a break -d 'Force a lock open, whoever holds it'
complete -c lockbyfile -n __lockbyfile_is_without_verb -a rm -d 'Remove the lockfile of a lock that nobody holds'
complete -c lockbyfile -n __lockbyfile_is_without_verb -a prune -d 'Remove all lockfiles that no process has open'
complete -c lockbyfile -n __lockbyfile_is_without_verb -a demo -d 'Show the lock at work, with real processes'

complete -c lockbyfile -n '__lockbyfile_in run status wait held stop break rm' -a '(__lockbyfile_list)' -d Lock
complete -c lockbyfile -n '__lockbyfile_in list prune' -a '(__fish_complete_directories (commandline -ct))'
complete -c lockbyfile -n __lockbyfile_wants_command -a '(__lockbyfile_complete_command)'

complete -c lockbyfile -n '__lockbyfile_in run status list wait held stop break rm prune' -l dir -x -a '(__fish_complete_directories (commandline -ct))' -d 'Where names live'
complete -c lockbyfile -n '__lockbyfile_in run status wait held stop break rm' -l any-filesystem -d 'Take a filesystem of unknown type for a local one'
complete -c lockbyfile -n '__lockbyfile_in run wait' -s w -l patience -x -d 'Give up after this long'
complete -c lockbyfile -n '__lockbyfile_in run wait' -s n -l no-wait -d 'Give up at once if the lock is held'
complete -c lockbyfile -n '__lockbyfile_in run' -s E -l conflict-exit-code -x -d 'Exit code for having given up'
complete -c lockbyfile -n '__lockbyfile_in run' -l lease -x -d 'The lock opens after this long'
complete -c lockbyfile -n '__lockbyfile_in run' -l renew -d 'Keep renewing a short lease'
complete -c lockbyfile -n '__lockbyfile_in run stop' -l kill-after -x -d 'From SIGTERM to SIGKILL'
complete -c lockbyfile -n '__lockbyfile_in run' -s c -l command -x -d 'Run this with $SHELL'
complete -c lockbyfile -n '__lockbyfile_in run' -s o -l no-share -d 'Do not share the lifeline with the command'
complete -c lockbyfile -n '__lockbyfile_in run' -l mode -x -d 'Permissions of a new lockfile'
complete -c lockbyfile -n '__lockbyfile_in run wait' -s q -l quiet -d 'Do not tell of waiting'
complete -c lockbyfile -n '__lockbyfile_in stop break rm prune' -s q -l quiet -d 'Do not print what was done'
complete -c lockbyfile -n '__lockbyfile_in status' -s q -l quiet -d 'Print nothing, the exit code tells'
complete -c lockbyfile -n '__lockbyfile_in prune' -l dry-run -d 'Print what would be removed, and remove nothing'
complete -c lockbyfile -n '__lockbyfile_in run' -l once -d 'Not again, if we run under this lock already'
complete -c lockbyfile -n '__lockbyfile_in run' -s v -l verbose -d 'Report the grant and the release'
complete -c lockbyfile -n '__lockbyfile_in status list' -l json -d 'As JSON'
complete -c lockbyfile -n '__lockbyfile_in break' -l token -x -d 'Only if it is held under this token'

complete -c lockbyfile -n __lockbyfile_wants_play -a 'inner sleepers hammer counter' -d Play
complete -c lockbyfile -n '__lockbyfile_in_play inner sleepers hammer counter' -l dir -x -a '(__fish_complete_directories (commandline -ct))' -d 'Make the temporary directory in this one'
complete -c lockbyfile -n '__lockbyfile_in_play sleepers' -l short -d 'Four times as fast'
complete -c lockbyfile -n '__lockbyfile_in_play hammer' -l consumers -x -d 'How many processes'
complete -c lockbyfile -n '__lockbyfile_in_play hammer' -l milliseconds -x -d 'How long each uses the lock'
complete -c lockbyfile -n '__lockbyfile_in_play counter' -l processes -x -d 'How many processes'
complete -c lockbyfile -n '__lockbyfile_in_play counter' -l steps -x -d 'How many steps each'
