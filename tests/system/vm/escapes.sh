#!/bin/bash
# tests/security/test_cgroup_escapes.py runs this as root in a virtual machine with systemd and cgroup
# v2: commands try to leave their cgroup, or to keep others from being ended. See machine.sh.
set -u

. /payload/machine.sh
scope() { echo /sys/fs/cgroup/system.slice/pycron-runner-*.scope; }
only_the_runner() { [ "$(cd "$(scope)" && echo */)" = runner/ ]; }
printed() { pycron log "$(runs "$1" | grep -o '"run_id": "[^"]*' | head -1 | cut -d'"' -f4)" | grep "$2"; }
most_at_once() { [ "$(sort -n /tmp/"$1".count | tail -1)" -le "$2" ]; }
runner() { pgrep -f 'pycron.runner' | head -1; }

install_pycron
useradd -m alice
useradd -m bob
mkdir -p /etc/pycron
echo -e '[limits]\nprocesses = 2000' >/etc/pycron/pycron.toml
systemctl start pycron
check start systemctl is-active pycron

cat >/usr/local/bin/many-processes <<'END'
import os, time
for _ in range(10_000):
    try:
        if os.fork() == 0:
            break
    except OSError:
        pass  # the limit
time.sleep(5000)
END

# As a user: no other cgroup takes the command, and it can make none.
cat >/home/alice/table <<'END'
CRON_NAME=move @yearly for procs in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/user.slice/cgroup.procs /sys/fs/cgroup/system.slice/pycron-runner-*.scope/runner/cgroup.procs; do echo $$ >$procs && echo moved; done; cat /proc/self/cgroup
CRON_NAME=deeper @yearly mkdir /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/deeper && echo made; echo 9999 >/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/pids.max && echo raised; echo done
CRON_NAME=bomb CRON_TIMEOUT=5s CRON_KILL_AFTER=1s @yearly bomb() { bomb | bomb & }; bomb; sleep 5151
CRON_NAME=many CRON_TIMEOUT=8s CRON_KILL_AFTER=2s @yearly exec python3 /usr/local/bin/many-processes
CRON_NAME=mark CRON_TIMEOUT=2s CRON_KILL_AFTER=1s @yearly prlimit --rttime=5000000000:5000000000 setsid sleep 5353 & sleep 5353
CRON_NAME=stopped CRON_TIMEOUT=2s CRON_KILL_AFTER=5s @yearly trap 'echo heard; exit 4' TERM; kill -STOP $$
CRON_NAME=victim CRON_MEMORY_MAX=64M @yearly sleep 12
CRON_NAME=long @yearly setsid sleep 5454 & sleep 5454
END
runuser -u alice -- pycrontab /home/alice/table
start() { runuser -u alice -- pycron start "$1"; }

start move
check move_ends ran move '"outcome": "succeeded"'
check move_refused printed move 'pycron-runner-.*\.1$'
check move_nowhere sh -c "! pycron log \$(pycron runs --json --job move | grep -o '\"run_id\": \"[^\"]*' | head -1 | cut -d'\"' -f4) | grep '^moved'"
start deeper
check deeper_ends ran deeper '"outcome"'
check deeper_refused sh -c "! pycron log \$(pycron runs --json --job deeper | grep -o '\"run_id\": \"[^\"]*' | head -1 | cut -d'\"' -f4) | grep -E '^(made|raised)'"

# A mark means nothing: another user takes one, and a command gives its own away.
start victim
check victim_runs pgrep -u alice -f 'sleep 12'
mark=$(prlimit --pid "$(pgrep -u alice -f 'sleep 12' | head -1)" --rttime --noheadings -o HARD)
runuser -u bob -- prlimit --rttime="$mark:$mark" python3 -c "import time; x = b'x' * (200 << 20); time.sleep(60)" &
check forged_memory ran victim '"outcome": "succeeded"'
pkill -u bob
start mark
check mark ran mark '"outcome": "timed_out"'
check mark_tree gone 'sleep 5353'
start stopped
check stopped ran stopped '"exit_status": 4'

# Very many processes: bounded, ended as a whole, and others start meanwhile.
start bomb
echo 'CRON_NAME=beat @every 1s root true' >/etc/pycron.d/beat
check bomb ran bomb '"outcome": "timed_out"'
check bomb_tree gone 'sleep 5151'
check bomb_all sh -c '[ "$(pgrep -u alice | wc -l)" = 0 ]'
start many
check many ran many '"outcome": "timed_out"'
check many_tree gone many-processes
check beat ran beat '"outcome": "succeeded"'
rm /etc/pycron.d/beat

# As root: a tree below its cgroup is ended with it.
cat >/etc/pycron.d/deep <<'END'
CRON_NAME=deep CRON_TIMEOUT=3s CRON_KILL_AFTER=1s @yearly root own=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); mkdir -p $own/a/b/c; for at in a a/b a/b/c; do sh -c "echo \$\$ >$own/$at/cgroup.procs; trap '' TERM; sleep 5555; sleep 5555" & done; sleep 5555
END
check deep_known pycron start deep
check deep ran deep '"outcome": "timed_out"'
check deep_tree gone 'sleep 5555'
rm /etc/pycron.d/deep

# The runner is killed, or its scope is: nothing of the tree is left, and the Attempt is lost.
start long
check long_runs pgrep -f 'sleep 5454'
kill -KILL "$(runner)"
check killed_lost ran long '"outcome": "lost"'
check killed_tree gone 'sleep 5454'
start long
check long_again pgrep -f 'sleep 5454'
for unit in $(systemctl list-units --plain --no-legend 'pycron-runner-*.scope' | cut -d' ' -f1); do
    systemctl kill --signal=KILL "$unit"
done
check scope_killed gone 'sleep 5454'
check goes_on sh -c 'pycron start move && sleep 2 && systemctl is-active pycron'
check cgroups_removed only_the_runner
cat /var/lib/pycron/runner.log
