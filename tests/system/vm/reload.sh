#!/bin/bash
# tests/system/test_vm.py runs this as root in a virtual machine with systemd: reloads by systemctl, good and
# bad, and a start with a bad configuration. Each check prints a line "ok NAME" or "not ok NAME ...".
set -u

. /payload/machine.sh
is() { [ "$(systemctl show -p "$1" --value pycron)" = "$2" ]; }
fails() { ! "$@"; }
says() { "${@:2}" 2>&1 | grep -F "$1"; }
config=/etc/pycron/pycron.toml
bad="$config: bad limits.running: 0 (a whole number above 0)"

install_pycron
mkdir -p /etc/pycron
systemctl start pycron
check start systemctl is-active pycron

printf '[limits]\nrunning = 7\n' >$config
check good_reload systemctl reload pycron
check good_reload_is_logged says 'options changed: limits.running' journalctl PYCRON_EVENT=reloaded
check good_reload_is_said says '; changed: limits.running' journalctl -u pycron -o cat _COMM=pycron
check active_after_good is ActiveState active

printf '[limits]\nrunning = 0\n' >$config
check bad_reload_fails fails systemctl reload pycron
check bad_reload_is_shown says "not reloaded: $bad" systemctl status --no-pager pycron
check bad_reload_is_logged says "asked for by root: $bad" journalctl PYCRON_EVENT=config_bad
check active_after_bad is ActiveState active
systemctl kill -s HUP --kill-who=main pycron
check hangup_is_logged says 'asked for by SIGHUP' journalctl PYCRON_EVENT=config_bad
check active_after_hangup is ActiveState active

check bad_start_fails fails systemctl restart pycron
check bad_start_is_said says "pycrond: $bad" journalctl -u pycron -o cat
sleep 5 # a unit that is started again would be started now
check bad_start_ends is ActiveState failed
check bad_start_has_its_status is ExecMainStatus 78
check bad_start_is_not_repeated is NRestarts 0
check program_says_what_to_do says 'pycron.sock: No such file or directory; start it: systemctl start pycron' runuser -u nobody -- pycron status
check program_says_why says "$bad" pycron check

rm $config
systemctl start pycron
check mended_start systemctl is-active pycron
check mended_reload systemctl reload pycron
journalctl -u pycron -o cat --no-pager | tail -20
