# What pycron knows: names of Jobs and run_ids. It is asked as it was typed, about the daemon that the line chooses.
_pycron_ask() {
  local -a typed chosen
  local i program
  typed=("${(Q)${(z)LBUFFER}[@]}")
  program="${typed[(r)*pycron]:-pycron}"
  for ((i = 1; i <= $#typed; i++)); do
    case "$typed[i]" in
      (--system|--user|--state-dir=*) chosen+=("$typed[i]") ;;
      (--state-dir) chosen+=(--state-dir "${typed[i+1]/#\~/$HOME}") ;;
    esac
  done
  "${program/#\~/$HOME}" "$@" "${chosen[@]}" 2>/dev/null </dev/null
}

# Of rows of JSON: the values of a key that comes first; only such as names and run_ids are.
_pycron_first_values() {
  head -n 1000 | sed -n "s/^{\"$1\": \"\([A-Za-z0-9._+-]*\)\".*/\1/p"
}

_pycron_jobs() {
  local -a wanted
  [[ -n "$PREFIX" ]] && wanted=(--match "$PREFIX")
  compadd "$@" -- ${(f)"$(_pycron_ask list --json $wanted | _pycron_first_values job)"}
}

_pycron_runs() {
  _pycron_jobs "$@"
  compadd "$@" -- ${(f)"$(_pycron_ask runs --json --limit 100 | _pycron_first_values run_id)"}
}

_pycron_dead() {
  compadd "$@" -- ${(f)"$(_pycron_ask dead list --json | sed -n 's/^{"run_id": "\([0-9A-Za-z-]*\)", "job": "\([A-Za-z0-9._+-]*\)".*/\1\n\2/p' | sort -u)"}
}

_pycron_zones() {
  compadd "$@" -- ${(f)"$(awk '/^Z/ {print $2} /^L/ {print $3}' /usr/share/zoneinfo/tzdata.zi 2>/dev/null)"}
}

_pycron_outcomes() {
  compadd "$@" -- @OUTCOMES@
}
