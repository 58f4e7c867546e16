# What pycron knows: names of Jobs and run_ids. It is asked as it was typed, about the daemon that the line chooses.
function _pycron_ask
  set -l tokens (commandline -opc)
  set -l chosen
  for i in (seq 2 (count $tokens))
    switch "$tokens[$i]"
      case --system --user '--state-dir=*'
        set -a chosen $tokens[$i]
      case --state-dir
        set -a chosen --state-dir $tokens[(math $i + 1)]
    end
  end
  set -l program (string replace -r '^~' $HOME -- $tokens[1])
  $program $argv $chosen 2>/dev/null </dev/null
end

# Of rows of JSON: the values of a key that comes first; only such as names and run_ids are.
function _pycron_first_values
  head -n 1000 | sed -n "s/^{\"$argv[1]\": \"\([A-Za-z0-9._+-]*\)\".*/\1/p"
end

function _pycron_jobs
  set -l typed (commandline -ct)
  set -l wanted
  test -n "$typed"; and set wanted --match $typed
  _pycron_ask list --json $wanted | _pycron_first_values job
end

function _pycron_runs
  _pycron_jobs
  _pycron_ask runs --json --limit 100 | _pycron_first_values run_id
end

function _pycron_dead
  _pycron_ask dead list --json | sed -n 's/^{"run_id": "\([0-9A-Za-z-]*\)", "job": "\([A-Za-z0-9._+-]*\)".*/\1\n\2/p' | sort -u
end

function _pycron_zones
  awk '/^Z/ {print $2} /^L/ {print $3}' /usr/share/zoneinfo/tzdata.zi 2>/dev/null
end
