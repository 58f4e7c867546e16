#!/bin/bash
# tests/system/test_installing.py runs this as root in a virtual machine with systemd and cgroup v2.
# /payload contains the lines of README's chapter (install, upgrade, uninstall), wheels of two
# versions and machine.sh. Each check prints a line "ok NAME" or "not ok NAME ...".
set -u

. /payload/machine.sh
export PIP_NO_INDEX=1 PIP_FIND_LINKS=/payload/wheels PIP_DISABLE_PIP_VERSION_CHECK=1
NEW=99.0

# Names, kinds, modes, owners and targets: all that an installation could leave. Not: what systemd
# and journald write while a machine runs, and /tmp, which has this script's own files.
listing() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /payload \
        -o -path /var/log -o -path /var/lib/systemd -o -path /var/tmp \) -prune -o -printf '%p %y %m %U %l\n'
    find /run/pycron* 2>/dev/null
    getent passwd
    getent group
}
chapter() { # NAME: the lines of README, one after the other; the first that fails is the end
    bash -ex "/payload/$1" >"/tmp/$1.out" 2>&1
    local status=$?
    cat "/tmp/$1.out"
    return $status
}
said() { grep -e "$2" "/tmp/$1.out"; }
version() { pycron status --json | grep "\"version\": \"$1\""; }
same() { diff "$1" "$2"; }
long_runs() { pgrep -f 'until test -e /tmp/go'; }
stays() { pgrep -f 'until test -e /tmp/end'; }
absent() { ! test -e "$1"; }
disabled() { ! systemctl is-enabled pycron; }

useradd -m alice
# The first environment leaves byte code in the machine's own Python.
python3 -m venv /tmp/first && rm -r /tmp/first
listing | sort >/tmp/before

check install chapter install
check says_what_is_next said install 'next: systemctl enable --now pycron'
check enabled systemctl is-enabled pycron
check active systemctl is-active pycron
check programs_of_path sh -c '[ "$(command -v pycron)" = /usr/local/bin/pycron ]'
check unit_is_good systemd-analyze verify --man=no /etc/systemd/system/pycron.service
check started_by_the_unit pgrep -f '^/opt/pycron/bin/python[0-9.]* /opt/pycron/bin/pycrond'
check manual test -f /usr/local/share/man/man8/pycrond.8
check configuration grep '^#running = ' /etc/pycron/pycron.toml
check account getent passwd pycron-mail
check operators getent group pycron
check nothing_left_to_do sh -c 'pycron setup --system 2>&1 | grep "everything is in place"'
check tmpfiles_agree sh -c 'listed() { stat -c "%n %a %U" /etc/pycron /etc/pycron.d /var/lib/pycron /var/spool/pycron; }; a=$(listed); systemd-tmpfiles --create pycron.conf; [ "$a" = "$(listed)" ]'
check reload systemctl reload pycron

cat >/home/alice/table <<'END'
* * * * * echo ran >>/home/alice/ran
CRON_NAME=long CRON_CONCURRENCY=forbid @every 15s until test -e /tmp/go; do sleep 0.2; done; exit 7
END
check table runuser -u alice -- pycrontab /home/alice/table
LIMIT=130 check crontab_line grep ran /home/alice/ran
check long_runs long_runs

# An upgrade while a command runs.
before=$(long_runs | head -1)
cp /payload/newer/*.whl /payload/wheels/
check upgrade chapter upgrade
check says_restart said upgrade 'next, to run the version that is installed: systemctl restart pycron'
check new_version version $NEW
check same_process test "$(long_runs | head -1)" = "$before"
touch /tmp/go
check exit_status ran long '"attempts": 1, .*"exit_status": 7'
check none_lost sh -c '! pycron runs --json | grep "\"lost\""'
check new_manual grep 'of a newer version' /usr/local/share/man/man1/pycron.1

# Removed without --purge, and installed again: tables and history are there.
echo 'CRON_NAME=stays @every 15s until test -e /tmp/end; do sleep 0.2; done' | runuser -u alice -- pycrontab -
check stays stays
/opt/pycron/bin/pycron setup --system --remove >/tmp/remove.out 2>&1
check remove_names_the_command said remove 'stays of alice'
check remove_stops_the_daemon sh -c '! systemctl is-active pycron'
check remove_disables disabled
check remove_leaves_commands stays
check remove_keeps_state said remove 'kept /var/lib/pycron'
check remove_took_the_unit absent /etc/systemd/system/pycron.service
check remove_took_the_links absent /usr/local/bin/pycron
check again sh -c '/opt/pycron/bin/pycron setup --system && systemctl enable --now pycron'
check table_is_back sh -c 'runuser -u alice -- pycrontab -l | grep CRON_NAME=stays'
check history_is_back sh -c 'pycron runs --json --limit 1000 | grep "\"job\": \"long\", .*\"exit_status\": 7"'
check found_again sh -c 'pycron top --json | grep "\"job\": \"stays\", .*\"pid\": [0-9]"'

# A file of the administrator is in the way, and a changed one is kept.
echo '# mine' >>/etc/systemd/system/pycron.service
check changed_is_kept sh -c 'pycron setup --system 2>&1 | grep "kept /etc/systemd/system/pycron.service: it was changed"'
sed -i '$d' /etc/systemd/system/pycron.service

# Uninstalled while a command runs.
check uninstall chapter uninstall
check uninstall_names_the_command said uninstall 'stays of alice'
check command_goes_on stays
check no_daemon gone bin/pycrond
touch /tmp/end
check command_ends gone 'until test -e /tmp/end'
check runner_ends gone pycron.runner
rm -f /home/alice/table /home/alice/ran
listing | sort >/tmp/after
check nothing_is_left same /tmp/before /tmp/after
diff /tmp/before /tmp/after
journalctl -u pycron -p warning --no-pager | tail -20
