#!/bin/bash
# tests/system/test_vm.py runs this as root in a virtual machine with systemd and cgroup v2. /payload
# contains the wheels, the unit and machine.sh. Each check prints a line "ok NAME" or "not ok NAME ...".
set -u

. /payload/machine.sh
printed() { pycron log "$(runs "$1" | grep -o '"run_id": "[^"]*' | head -1 | cut -d'"' -f4)" | grep "$2"; }
scope() { echo /sys/fs/cgroup/system.slice/pycron-runner-*.scope; }
only_the_runner() { [ "$(cd "$(scope)" && echo */)" = runner/ ]; }
peak_above() { [ "$(runs "$1" | grep -o '"memory_peak_bytes": [0-9]*' | head -1 | grep -o '[0-9]*$')" -gt "$2" ]; }

install_pycron
useradd -m alice
systemctl start pycron
check start systemctl is-active pycron
check scope test -d "$(scope)/runner"
check controllers grep memory "$(scope)/cgroup.subtree_control"

hog() { echo "python3 -c \"import time; x = b'x' * ($1 << 20); time.sleep($2)\""; }

# The table is removed below. A second Run of a Job does no harm.
cat >/home/alice/table <<END
CRON_NAME=hog CRON_MEMORY_MAX=64M @every 15s $(hog 200 600)
CRON_NAME=pair CRON_MEMORY_MAX=128M @every 15s $(hog 90 601) & sleep 2; $(hog 90 601)
CRON_NAME=modest CRON_MEMORY_MAX=200M @every 15s $(hog 50 1)
CRON_NAME=killed @every 15s kill -9 \$\$
CRON_NAME=escape CRON_TIMEOUT=3s CRON_KILL_AFTER=1s @every 15s setsid sh -c 'trap "" TERM; sleep 4242; sleep 4242' & (setsid sh -c 'sleep 4242 &' &); sleep 4242
CRON_NAME=left @every 15s setsid sleep 4343 >/dev/null 2>&1 & true
CRON_NAME=where @every 15s cat /proc/self/cgroup
CRON_NAME=long CRON_TIMEOUT=40s CRON_KILL_AFTER=1s @every 15s setsid sleep 4444 & sleep 4444
CRON_NAME=later CRON_MEMORY_MAX=64M @every 15s while [ ! -e /tmp/go ]; do sleep 0.2; done; $(hog 200 602)
END
runuser -u alice -- pycrontab /home/alice/table
check ran ran where '"outcome": "succeeded"'
check own_cgroup printed where 'pycron-runner-.*/[0-9a-f]*-[0-9TZ]*\.1$'
check long_runs pgrep -f 'sleep 4444'

systemctl restart pycron
check restart systemctl is-active pycron
check survives pgrep -f 'sleep 4444'
check found sh -c 'journalctl -u pycron -o cat | grep runner_found | grep "pycron-runner-"'
touch /tmp/go
runuser -u alice -- pycrontab -r

check memory ran hog '"outcome": "out_of_memory"'
check memory_reason ran hog 'CRON_MEMORY_MAX'
check memory_peak peak_above hog 60000000
check memory_of_the_tree ran pair '"outcome": "out_of_memory"'
check memory_within ran modest '"outcome": "succeeded"'
check memory_after_restart ran later '"outcome": "out_of_memory"'
check killed ran killed '"outcome": "killed"'
check timeout ran escape '"outcome": "timed_out"'
check escapees gone 'sleep 4242'
check timeout_after_restart ran long '"outcome": "timed_out"'
check timeout_after_restart_tree gone 'sleep 4444'
check background_goes_on pgrep -f 'sleep 4343'
pkill -f 'sleep 4343'
check cgroups_removed only_the_runner
journalctl -u pycron -o cat --no-pager | grep -v attempt_ | tail -20
cat /var/lib/pycron/runner.log
