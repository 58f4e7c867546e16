# What pycron knows: names of Jobs and run_ids. It is asked as it was typed, about the daemon that the line chooses.
_pycron_ask() {
  local -a chosen=()
  local i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${COMP_WORDS[i]}" in
      --system | --user) chosen+=("${COMP_WORDS[i]}") ;;
      --state-dir)
        [[ "${COMP_WORDS[i + 1]}" == "=" ]] && ((i++))
        chosen+=(--state-dir "${COMP_WORDS[i + 1]/#\~/$HOME}")
        ;;
    esac
  done
  "${COMP_WORDS[0]/#\~/$HOME}" "$@" "${chosen[@]}" 2>/dev/null </dev/null
}

# Of rows of JSON: the values of a key that comes first; only such as names and run_ids are.
_pycron_first_values() {
  head -n 1000 | sed -n "s/^{\"$1\": \"\([A-Za-z0-9._+-]*\)\".*/\1/p"
}

_pycron_jobs() {
  compgen -W "$(_pycron_ask list --json ${1:+--match "$1"} | _pycron_first_values job)" -- "$1"
}

_pycron_runs() {
  _pycron_jobs "$1"
  compgen -W "$(_pycron_ask runs --json --limit 100 | _pycron_first_values run_id)" -- "$1"
}

_pycron_dead() {
  compgen -W "$(_pycron_ask dead list --json | sed -n 's/^{"run_id": "\([0-9A-Za-z-]*\)", "job": "\([A-Za-z0-9._+-]*\)".*/\1\n\2/p' | sort -u)" -- "$1"
}

_pycron_zones() {
  compgen -W "$(awk '/^Z/ {print $2} /^L/ {print $3}' /usr/share/zoneinfo/tzdata.zi 2>/dev/null)" -- "$1"
}

_pycron_outcomes() {
  compgen -W "@OUTCOMES@" -- "$1"
}
