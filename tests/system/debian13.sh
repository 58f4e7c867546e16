#!/bin/bash
# tests/system/test_debian_package.py runs this as root in a Debian 13 without systemd, in the checkout: the
# package of this release is installed, runs tables, and is purged. Each check prints a line "ok NAME" or
# "not ok NAME ...".
set -u
. tests/system/vm/machine.sh
export DEBIAN_FRONTEND=noninteractive

install() { apt-get install -y --no-install-recommends "$@" >>/tmp/install 2>&1; }
listing() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /opt \
        -o -path /root -o -path /var/log -o -path /var/cache -o -path /var/lib/apt -o -path /srv \
        -o -name '*-old' \) -prune -o -printf '%p %y %m %u %g %l\n' | sort
    cat /etc/passwd /etc/group
}

apt-get update -qq
id alice >/dev/null 2>&1 || useradd -m alice
rm -rf /srv/jobs
mkdir -m 777 /srv/jobs
rm -rf /etc/pycron /etc/pycron.d /var/lib/pycron /var/spool/pycron # tests leave them in this root
getent group pycron >/dev/null && groupdel pycron
install cron # brings cron-daemon-common, and is there in the end, too
echo '@every 1s date >>/srv/jobs/alice' >/tmp/table
listing >/tmp/before

check install install ./dist/pycrond_*~deb13u*.deb
check python3_13 sh -c '/usr/lib/pycrond/bin/python --version | grep -F 3.13'
check nothing_is_wrong pycrond --check
check unit test -f /usr/lib/systemd/system/pycron.service
check starts_with_the_machine test -h /etc/systemd/system/multi-user.target.wants/pycron.service

setpriv --reuid=alice --regid=alice --init-groups pycrond --foreground --table /tmp/table 2>/tmp/foreground &
check in_the_foreground test -s /srv/jobs/alice
kill $!
wait $!
check ends [ $? = 0 ]

echo '@every 1s root date >>/srv/jobs/root' >/etc/cron.d/root
pycrond 2>/tmp/daemon &
check root_daemon test -s /srv/jobs/root
check installs_a_table runuser -u alice -- sh -c 'echo "@every 1s date >>/srv/jobs/installed" | crontab -'
check in_the_spool_of_cron test -f /var/spool/cron/crontabs/alice
check user_table test -s /srv/jobs/installed
check status sh -c 'pycron status && ! pycron status | grep warning'
kill $!
wait $!
check daemon_ends [ $? = 0 ]
rm /etc/cron.d/root /var/spool/cron/crontabs/alice

check back install cron
check purge apt-get purge -y pycrond
listing >/tmp/after
diff /tmp/before /tmp/after
check nothing_is_left cmp /tmp/before /tmp/after
tail -n 30 /tmp/install /tmp/foreground /tmp/daemon
