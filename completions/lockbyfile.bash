# SPDX-License-Identifier: Apache-2.0
#
# Completion of lockbyfile for bash, from 4.4 on. Source it, or install it as
# /usr/share/bash-completion/completions/lockbyfile. It needs nothing else; if the package
# bash-completion is there, the command of `run` gets that command's own completion.

_lockbyfile_options() {  # VERB [PLAY]
  case $1 in
    run)
      echo --dir --any-filesystem -w --patience -n --no-wait -E --conflict-exit-code --lease --renew \
        --kill-after -c --command -o --no-share --once --mode -q --quiet -v --verbose ;;
    status) echo --dir --any-filesystem --json -q --quiet ;;
    list) echo --dir --json ;;
    wait) echo --dir --any-filesystem -w --patience -n --no-wait -q --quiet ;;
    held) echo --dir --any-filesystem ;;
    stop) echo --dir --any-filesystem --kill-after -q --quiet ;;
    break) echo --dir --any-filesystem --token -q --quiet ;;
    rm) echo --dir --any-filesystem -q --quiet ;;
    prune) echo --dir --dry-run -q --quiet ;;
    demo)
      case ${2-} in
        inner) echo --dir ;;
        sleepers) echo --dir --short ;;
        hammer) echo --dir --consumers --milliseconds ;;
        counter) echo --dir --processes --steps ;;
      esac ;;
    *) echo --version ;;
  esac
  echo -h --help
}

_lockbyfile_takes_value() {  # OPTION
  case $1 in
    --dir | -w | --patience | -E | --conflict-exit-code | --lease | --kill-after | -c | \
      --command | --mode | --token | --consumers | --milliseconds | --processes | --steps) return 0 ;;
  esac
  return 1
}

_lockbyfile_reply() {  # COMPGEN-ARGUMENT...; a line each, so that blanks in names are kept
  local IFS=$'\n'
  COMPREPLY+=($(compgen "$@"))
}

_lockbyfile_names() {  # CURRENT DIRECTORY
  compopt -o filenames 2>/dev/null
  if [[ $1 == */* || $1 == '~'* ]]; then
    _lockbyfile_reply -f -X '!*.lockfile' -- "$1"
    _lockbyfile_reply -d -- "$1"
    return
  fi
  local file name
  for file in "${2%/}"/*.lockfile; do
    [[ -f $file ]] || continue
    name=${file##*/}
    name=${name%.lockfile}
    [[ $name == "$1"* ]] && COMPREPLY+=("$name")
  done
  [[ -n $1 ]] && _lockbyfile_reply -d -S / -- "$1"
}

_lockbyfile_directories() {  # CURRENT
  compopt -o filenames 2>/dev/null
  _lockbyfile_reply -d -- "$1"
}

_lockbyfile_command() {  # INDEX-OF-THE-COMMAND-IN-COMP_WORDS
  if declare -F _comp_command_offset >/dev/null; then  # bash-completion from 2.12 on
    _comp_command_offset "$1"
  elif declare -F _command_offset >/dev/null; then
    _command_offset "$1"
  elif ((COMP_CWORD == $1)); then
    _lockbyfile_reply -c -- "${COMP_WORDS[COMP_CWORD]}"
  else
    compopt -o filenames 2>/dev/null
    _lockbyfile_reply -f -- "${COMP_WORDS[COMP_CWORD]}"
  fi
}

_lockbyfile() {
  COMPREPLY=()
  local cur=${COMP_WORDS[COMP_CWORD]} verb='' play='' option='' word i
  local directory=${LOCKBYFILE_DIR:-.}

  # The words before the cursor. bash splits --dir=X into --dir, = and X.
  for ((i = 1; i < COMP_CWORD; ++i)); do
    word=${COMP_WORDS[i]}
    if [[ -n $option ]]; then
      [[ $word == = ]] && continue
      [[ $option == --dir ]] && directory=${word/#\~\//$HOME/}
      option=''
    elif [[ $word == -- ]]; then
      :
    elif [[ $word == -* ]]; then
      if _lockbyfile_takes_value "$word"; then option=$word; fi
    elif [[ -z $verb ]]; then
      verb=$word
    elif [[ $verb == demo && -z $play ]]; then
      play=$word
    elif [[ $verb == run ]]; then  # the name: all the rest is the command's
      ((++i))
      if ((i < COMP_CWORD)) && [[ ${COMP_WORDS[i]} == -- ]]; then ((++i)); fi
      _lockbyfile_command "$i"
      return
    else
      return  # no verb but run takes more than one
    fi
  done

  if [[ -n $option ]]; then
    [[ $cur == = ]] && cur=''
    [[ $option == --dir ]] && _lockbyfile_directories "$cur"
    return
  fi
  if [[ $cur == -* ]]; then
    local IFS=$' \t\n'
    COMPREPLY=($(compgen -W "$(_lockbyfile_options "$verb" "$play")" -- "$cur"))
    return
  fi
  case $verb in
    '') COMPREPLY=($(compgen -W 'run status list wait held stop break rm prune demo' -- "$cur")) ;;
    run | status | wait | held | stop | break | rm) _lockbyfile_names "$cur" "$directory" ;;
    list | prune) _lockbyfile_directories "$cur" ;;
    demo) [[ -n $play ]] || COMPREPLY=($(compgen -W 'inner sleepers hammer counter' -- "$cur")) ;;
  esac
}

complete -F _lockbyfile lockbyfile
