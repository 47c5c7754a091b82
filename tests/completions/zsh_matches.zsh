#!/bin/zsh -f
# SPDX-License-Identifier: Apache-2.0
#
# Prints, a line each, what zsh would offer for a line of the command line when Tab is pressed
# at its end: LINE FOLDER-OF-COMPLETIONS DUMP. A real, interactive zsh does it, in a terminal of its
# own. It keeps in DUMP what it found out about all completions, since that takes seconds.
zmodload zsh/zpty
zpty shell zsh -f -i

send() { zpty -w shell "$*"; }
heard() {  # until MARK; leaves what came before it in $REPLY
  local line
  REPLY=
  while zpty -r shell line; do
    REPLY+=$line
    [[ $REPLY == *"$1"* ]] && return
  done
}

send 'PROMPT=; unsetopt zle_bracketed_paste prompt_cr prompt_sp; stty -echo; TERM=dumb'
send "fpath=(${(q)2} \$fpath); autoload -Uz compinit; compinit -u -d ${(q)3}"
send 'setopt extended_glob rc_expand_param; zstyle ":completion:*" menu no; zstyle ":completion:*" list-grouped no'
# Whatever is offered goes through compadd: ask it for the matches, and print them.
send 'compadd() {
  if [[ " ${@[1,(i)(-|--)]} " == *" -"[a-zA-Z]#[OAD]" "* ]]; then builtin compadd "$@"; return; fi
  local -a __hits
  builtin compadd -A __hits "$@"
  (( $#__hits )) && print -rl -- "<match>"$__hits"</match>"
  builtin compadd "$@"
}'
send 'offer-and-exit() { _main_complete; print "<all>""</all>"; exit; }'
send 'zle -C offer complete-word offer-and-exit; bindkey "^I" offer'
send 'print "<read""y>"'
heard '<ready>'
zpty -w -n shell "$1"$'\t'
heard '<all></all>'
print -r -- "$REPLY" | sed -n 's|.*<match>\(.*\)</match>.*|\1|p' | sort -u
zpty -d shell
