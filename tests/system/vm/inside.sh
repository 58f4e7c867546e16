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
check found sh -c 'journalctl -u pycron -o json PYCRON_EVENT=runner_found | grep "pycron-runner-"'
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

# The journal: what went wrong is a warning at least, and rsyslog's cron.* rules match.
entry() { # SELECTION... -- TEXT...: the journal has an entry that is so selected and contains the texts
    local selection=() found
    while [ "$1" != -- ]; do selection+=("$1"); shift; done
    shift
    found=$(journalctl -q -u pycron -o json "${selection[@]}")
    for text; do found=$(grep -F -- "$text" <<<"$found"); done
    [ -n "$found" ]
}
warned() { entry -p warning -- "$@"; }
no_warning() { ! warned "$@"; }
sentence='"MESSAGE":"broken of root failed: exit status 3 (/etc/pycron.d/journal:1)"'
cat >/etc/pycron.d/journal <<'END'
CRON_NAME=broken @every 15s root exit 3
CRON_NAME=fine @every 15s root true
END
echo '61 * * * * root true' >/etc/pycron.d/bad-table
echo '* * * * * root true' >/etc/pycron.d/ignored.table
check journal_failed warned "$sentence" '"PRIORITY":"4"' '"SYSLOG_FACILITY":"9"' '"SYSLOG_IDENTIFIER":"pycron"' '"_TRANSPORT":"journal"' '"PYCRON_EXIT_STATUS":"3"'
check journal_bad_table entry -p err -- '"PYCRON_EVENT":"table_bad"' '/etc/pycron.d/bad-table'
check journal_problem warned '/etc/pycron.d/bad-table:1: bad minute: \"61\" (0-59)'
check journal_ignored warned '"PYCRON_EVENT":"table_ignored"' 'ignored.table'
check journal_fine entry PYCRON_EVENT=attempt_ended -- '"MESSAGE":"fine of root has succeeded after' '"PRIORITY":"6"'
check journal_fine_is_no_warning no_warning '"PYCRON_JOB":"fine"'
check journal_identifier sh -c 'journalctl -t pycron -p warning | grep "broken of root failed"'
check journal_status sh -c 'systemctl status pycron -n 200 | grep "pycron\[[0-9]*\]: broken of root failed: exit status 3"'
check rsyslog sh -c 'grep "pycron\[[0-9]*\]: broken of root failed: exit status 3" /var/log/cron.log'
rm /etc/pycron.d/journal /etc/pycron.d/bad-table /etc/pycron.d/ignored.table

# A journald that hangs holds nothing up; one that is started again gets the entries.
later() { [ "$(runs beat | wc -l)" -gt "$1" ]; }
echo 'CRON_NAME=beat @every 1s root true' >/etc/pycron.d/beat
check beat later 1
kill -STOP "$(systemctl show -P MainPID systemd-journald)"
check journal_hangs later $(($(runs beat | wc -l) + 5))
kill -KILL "$(systemctl show -P MainPID systemd-journald)"
check journal_back sh -c 'journalctl -u pycron -S -5s PYCRON_JOB=beat | grep "beat of root has succeeded"'
rm /etc/pycron.d/beat

# The reason why the daemon does not start is an error, and has the facility of cron.
systemctl stop pycron
mkdir -p /etc/pycron
echo 'nonsense = 1' >/etc/pycron/pycron.toml
systemctl start pycron
check journal_no_start entry -p err -- 'pycron.toml' '"SYSLOG_FACILITY":"9"' '"SYSLOG_IDENTIFIER":"pycron"'
rm /etc/pycron/pycron.toml
systemctl reset-failed pycron
systemctl start pycron
check journal_start systemctl is-active pycron
journalctl -u pycron -p notice --no-pager | tail -40
cat /var/lib/pycron/runner.log
