#!/bin/bash
# tests/system/test_units.py runs this as root in a virtual machine with systemd: the units of pycron, and
# what a watchdog, a lack of memory and a stop do to commands. /payload contains the wheels, the units,
# machine.sh and the example of reminders. Each check prints a line "ok NAME" or "not ok NAME ...".
set -u
. /payload/machine.sh
LIMIT=60 # seconds; the machine may be emulated, and slow
own() { # COMMAND...: as alice, who speaks to her own manager
    (cd /home/alice && XDG_RUNTIME_DIR=/run/user/$(id -u alice) HOME=/home/alice runuser -u alice -- "$@")
}
is() { [ "$(systemctl show -P "$1" pycron)" = "$2" ]; }
fails() { ! "$@"; }
each_once() { # JOB: it runs every five seconds, and no fire time is left out or there twice
    runs "$1" --limit 10000 | grep -o '"fire_time": "[^"]*' | cut -d'"' -f4 | python3 -c '
import sys, datetime
times = sorted(int(datetime.datetime.fromisoformat(each.strip()).timestamp()) for each in sys.stdin)
print(len(times), times[:1], times[-1:], file=sys.stderr)
sys.exit(len(times) < 5 or times != list(range(times[0], times[0] + 5 * len(times), 5)))'
}
runs() { pycron runs --json --job "$@"; }

the_system_unit() {
    check verify systemd-analyze verify --man=no /etc/systemd/system/pycron.service
    check exposure systemd-analyze security --threshold=94 pycron.service
    systemctl start pycron
    check start systemctl is-active pycron

    # ---- what a command may do

    mkdir -p /srv/mounted
    echo 'alice ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/alice
    cat >/etc/pycron.d/free <<'END'
CRON_NAME=mount @yearly root mountpoint -q /srv/mounted || mount -t tmpfs none /srv/mounted
CRON_NAME=disk @yearly root head -c 1 /dev/vda >/dev/null
CRON_NAME=raw @yearly root python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'
CRON_NAME=listen @yearly root python3 -c 'import socket; socket.create_server(("127.0.0.1", 4711))'
CRON_NAME=memory @yearly root [ $(cat /sys/fs/cgroup/system.slice/pycron-runner-*.scope/memory.max) = max ] && grep -q pycron-runner- /proc/self/cgroup
CRON_NAME=filters @yearly root grep -E '^(NoNewPrivs|Seccomp):.*[1-9]' /proc/self/status; [ $? = 1 ]
CRON_NAME=spaces @yearly root [ $(readlink /proc/self/ns/mnt) = $(readlink /proc/1/ns/mnt) ]
CRON_NAME=capabilities @yearly root [ "$(grep Cap[EB] /proc/self/status)" = "$(grep Cap[EB] /proc/1/status)" ]
CRON_NAME=sudo @yearly alice sudo -n true
CRON_NAME=ping @yearly alice ping -c 1 -W 5 127.0.0.1
CRON_NAME=umask @yearly alice [ $(umask) = 0022 ]
END
    check jobs sh -c '[ "$(pycron list --json | wc -l)" = 11 ]'
    for job in mount disk raw listen memory filters spaces capabilities sudo ping umask; do pycron start $job; done
    succeeded='"outcome": "succeeded"'
    check may_mount ran mount "$succeeded"
    check mounted_for_all mountpoint -q /srv/mounted
    check may_read_a_disk ran disk "$succeeded"
    check may_use_a_raw_socket ran raw "$succeeded"
    check may_listen ran listen "$succeeded"
    check no_limit_of_memory ran memory "$succeeded"
    check no_filters ran filters "$succeeded"
    check no_namespace ran spaces "$succeeded"
    check all_capabilities ran capabilities "$succeeded"
    check may_sudo ran sudo "$succeeded"
    check may_ping ran ping "$succeeded"
    check usual_umask ran umask "$succeeded"
    umount /srv/mounted
    in_the_unit() { sh -c "echo \$\$ >/sys/fs/cgroup/system.slice/pycron.service/cgroup.procs && $1"; }
    check daemon_has_null in_the_unit 'echo >/dev/null'
    check daemon_has_no_disk fails in_the_unit 'head -c 1 /dev/vda'
    check daemon_has_a_limit grep -qx 2147483648 /sys/fs/cgroup/system.slice/pycron.service/memory.max
    rm /etc/pycron.d/free

    # ---- the watchdog

    mkdir -p /etc/systemd/system/pycron.service.d
    printf '[Service]\nWatchdogSec=20s\n' >/etc/systemd/system/pycron.service.d/test.conf
    systemctl daemon-reload
    systemctl restart pycron
    cat >/etc/pycron.d/beats <<'END'
CRON_NAME=tick @every 5s root true
CRON_NAME=long @every 1h root while [ ! -e /tmp/go ]; do sleep 0.3; done; exit 7
END
    check ticks ran tick "$succeeded"
    pycron start long
    check long_runs ran long '"outcome": null'
    sleep 30
    check quiet_daemon_is_alive is NRestarts 0
    kill -STOP "$(systemctl show -P MainPID pycron)"
    LIMIT=120 check watchdog_restarts is NRestarts 1
    check watchdog_is_said sh -c 'journalctl -u pycron | grep -i "watchdog timeout"'
    check where_it_hung sh -c 'journalctl -u pycron -o cat | grep "File .*pycron/daemon/daemon.py"'
    check active_after_watchdog systemctl is-active pycron
    check watchdog_lost_no_command ran long '"outcome": null'
    sleep 3
    check watchdog_lost_no_fire_time each_once tick

    # ---- no memory

    systemctl set-property --runtime pycron MemoryMax=4M
    LIMIT=120 check memory_restarts fails is NRestarts 1
    systemctl set-property --runtime pycron MemoryMax=2G
    check memory_is_said sh -c 'journalctl -u pycron | grep -iE "oom|out of memory|signal"'
    check active_after_memory systemctl is-active pycron
    check memory_lost_no_command ran long '"outcome": null'
    touch /tmp/go
    check end_is_kept ran long '"exit_status": 7'
    rm /tmp/go
    sleep 3
    check memory_lost_no_fire_time each_once tick

    # ---- a stop

    pycron start long
    check long_runs_again ran long '"outcome": null'
    systemctl stop pycron
    check stop_names_commands sh -c 'journalctl -u pycron -o cat | grep "commands that go on: [0-9]*: .*long of root (pid [0-9]*)"'
    check status_names_commands sh -c 'systemctl status pycron | grep "long of root (pid [0-9]*).*pycron kill --all"'
    check command_goes_on pgrep -f 'while . ! -e /tmp/go'
    check alice_may_not fails runuser -u alice -- pycron kill --all
    check kill_without_a_daemon pycron kill --all --kill-after 1s
    check command_is_gone gone 'while . ! -e /tmp/go'
    systemctl start pycron
    check end_by_hand ran long '"outcome": "cancelled"'
    rm /etc/pycron.d/beats

    # ---- no scope

    mv /usr/bin/systemd-run /usr/bin/systemd-run.real
    ln -s /bin/false /usr/bin/systemd-run
    systemctl stop pycron
    check runner_ends gone pycron.runner
    systemctl start pycron
    echo 'CRON_NAME=where @every 15s root cat /proc/self/cgroup; sleep 30' >/etc/pycron.d/where
    check no_scope_is_said sh -c 'journalctl -u pycron -p warning -o cat | grep "what limits the daemon.s unit limits the commands, too"'
    check no_scope_runs ran where '"outcome": null'
    check in_the_cgroup_of_the_unit grep -qF "$(pgrep -f pycron.runner | head -1)" /sys/fs/cgroup/system.slice/pycron.service/cgroup.procs
    systemctl restart pycron
    check no_scope_survives_a_restart ran where '"outcome": null'
    rm /etc/pycron.d/where /usr/bin/systemd-run
    mv /usr/bin/systemd-run.real /usr/bin/systemd-run
    pycron kill --all --kill-after 1s
    systemctl stop pycron
    check runner_ends_again gone pycron.runner

    # ---- beside another cron

    cp /payload/conflicts.conf /etc/systemd/system/pycron.service.d/
    systemctl daemon-reload
    systemctl start cron
    check cron_runs systemctl is-active cron
    systemctl start pycron
    check pycron_stops_cron fails systemctl is-active cron
    check pycron_runs systemctl is-active pycron
    systemctl start cron
    check cron_stops_pycron fails systemctl is-active pycron
    rm /etc/systemd/system/pycron.service.d/*.conf
    systemctl daemon-reload
    systemctl start pycron
    check both_run_without_it systemctl is-active cron pycron
}

a_users_own_daemon() {
    mv /usr/bin/notify-send /usr/bin/notify-send.real
    cat >/usr/bin/notify-send <<'END'
#!/bin/sh
echo "$(id -un) $DBUS_SESSION_BUS_ADDRESS $XDG_RUNTIME_DIR $*" >>"$HOME/shown"
/usr/bin/notify-send.real "$@" || true # nobody shows it here
END
    chmod 755 /usr/bin/notify-send
    loginctl enable-linger alice
    check manager_of_alice systemctl is-active "user@$(id -u alice)"
    check user_setup own /opt/pycron/bin/pycron setup --user
    own systemctl --user daemon-reload
    check user_unit_verify own systemd-analyze verify --man=no --user /home/alice/.config/systemd/user/pycron.service
    check user_enable own systemctl --user enable --now pycron
    check user_active own systemctl --user is-active pycron
    check user_scope sh -c "find /sys/fs/cgroup/user.slice -path '*pycron-runner-*.scope/runner' | grep -q ."
    check user_table own pycrontab --user /payload/reminder.crontab
    bus="unix:path=/run/user/$(id -u alice)/bus"
    own busctl --user monitor >/tmp/bus 2>&1 &
    monitor=$!
    check monitors grep -q . /tmp/bus
    own pycron --user start stand-up
    check reminder grep -qx "alice $bus /run/user/$(id -u alice) --app-name=pycron Stand-up at 9:30 Bring coffee." /home/alice/shown
    check reminder_on_the_bus grep -q 'Member=GetServerInformation' /tmp/bus
    kill $monitor
    check user_reload own systemctl --user reload pycron
    su -l alice -c 'echo in a session' >/dev/null
    sleep 15 # longer than the manager would stay without lingering
    check survives_the_logout own systemctl --user is-active pycron
}

after_the_reboot() {
    LIMIT=60 check user_starts_at_boot own systemctl --user is-active pycron
    check nobody_is_logged_in sh -c '[ -z "$(loginctl list-sessions --no-legend)" ]'
    : >/home/alice/shown
    own pycron --user start stand-up
    check reminder_after_the_reboot grep -q "unix:path=/run/user/$(id -u alice)/bus" /home/alice/shown
}

if [ "$BOOT" = 1 ]; then
    hostname db1
    useradd -m alice
    install_pycron
    the_system_unit
    a_users_own_daemon
    journalctl -u pycron -o cat --no-pager | tail -60
    exit 99 # reboot
fi
after_the_reboot
