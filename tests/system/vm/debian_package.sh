#!/bin/bash
# tests/system/test_debian_package.py runs this as root in a virtual machine with Debian's cron, anacron, dma
# and rsyslog: `apt install` of pycron's package, a restart and an upgrade while a command runs, a reboot,
# `apt install cron`, and a purge. /payload contains the package, a newer one in newer/, that of cron, and
# the other files of this directory. Each check prints a line "ok NAME" or "not ok NAME ...".
set -u
. /payload/machine.sh
. /payload/jobs.sh
export DEBIAN_FRONTEND=noninteractive

install() { apt-get install -y "$@" >>/var/log/install 2>&1; }
is_installed() { dpkg-query -W -f '${Status}' "$1" | grep -x 'install ok installed'; }
listing() { # all files but what any running machine changes, with the accounts
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /payload \
        -o -path /root -o -path /srv -o -path /home -o -path /var/log -o -path /var/mail -o -path /var/tmp \
        -o -path /var/cache -o -path /var/backups -o -path /var/lib/apt -o -path /var/spool/dma \
        -o -path /var/spool/anacron -o -path /var/spool/rsyslog -o -path /var/lib/private \
        -o -path /var/lib/systemd/timers -o -name '*-old' -o -name 'random-seed' \) -prune \
        -o -printf '%p %y %m %u %g %l\n' | sort
    cat /etc/passwd /etc/group
}

first_boot() {
    server_with_jobs alice bob
    echo 'FRUIT=plum' >>/etc/environment # pam_env gives it to commands
    printf '* * * * * echo $FRUIT >/srv/jobs/fruit\n' >/tmp/table
    { /usr/bin/crontab -u alice -l; cat /tmp/table; } | /usr/bin/crontab -u alice -
    listing >/root/before
    check cron_is_there systemctl is-active cron
    daytime
    minutes 1
    LIMIT=90 check cron_mails mailed bob 'hello from bob'
    all_once with_cron

    # ---- pycron takes over

    rm -f /srv/jobs/fruit
    check install install /payload/pycrond_*.deb
    check cron_is_removed sh -c '! systemctl is-active cron && ! dpkg-query -W -f "\${Status}" cron | grep installed'
    check pycron_is_there systemctl is-active pycron
    check pycron_starts_with_the_machine sh -c '[ "$(systemctl is-enabled pycron)" = enabled ]'
    check says_when_cron_stopped test -e /var/lib/pycron/other-cron-stopped
    check no_warnings sh -c '! pycron check | grep -E "warning|error"'
    minutes 2
    all_once taken_over
    check no_reboot_job_now sh -c '! [ -s /srv/jobs/reboot ]'
    check pycron_mails mailed bob 'hello from bob' 2
    check session_of_pam grep -x plum /srv/jobs/fruit
    check crontab_is_pycrontab sh -c '[ "$(realpath /usr/bin/crontab)" = /usr/lib/pycrond/bin/pycrontab ]'
    check same_table sh -c 'runuser -u alice -- crontab -l | grep "@reboot date"'
    check manual sh -c 'zgrep -q pycrontab /usr/share/man/man1/crontab.1.gz'
    check setup_leaves_it_to_the_package \
        sh -c 'pycron setup --system 2>&1 | grep -F "a package of the system has installed pycron"'
    check users_unit_is_there \
        sh -c 'runuser -u alice -- pycron setup --user 2>&1 | grep -F "systemctl --user enable --now pycron"'
    check is_a_cron_daemon sh -c 'apt-get -s install anacron | grep -v "Inst cron"'

    # ---- restart and upgrade while a command runs

    # shellcheck disable=SC2016
    echo 'CRON_NAME=long @yearly root echo $$ >/srv/jobs/pid; until [ -e /srv/jobs/go ]; do sleep 1; done; exit 7' \
        >/etc/cron.d/long
    LIMIT=90 check long_is_known sh -c 'pycron list | grep long'
    check long_starts pycron start long
    check long_runs test -s /srv/jobs/pid
    systemctl restart pycron
    check survives_a_restart sh -c 'kill -0 $(cat /srv/jobs/pid)'
    check upgrade install /payload/newer/pycrond_*.deb
    check upgraded sh -c 'pycron --version | grep -F 0.1.1'
    check restarted sh -c 'pycron status | grep -F 0.1.1 && systemctl is-active pycron'
    check survives_an_upgrade sh -c 'kill -0 $(cat /srv/jobs/pid)'
    touch /srv/jobs/go
    check exit_status sh -c 'pycron runs --json --job long | grep "\"exit_status\": 7"'
    minutes 1
    all_once after_the_upgrade
    exit 99 # reboot
}

second_boot() {
    hostname db1
    check starts_after_the_reboot systemctl is-active pycron
    check cron_does_not sh -c '! systemctl is-active cron'
    check reboot_job sh -c '[ "$(wc -l </srv/jobs/reboot)" = 1 ]'
    begin_again # minutes have passed without a cron
    touch /srv/jobs/changed
    chmod 666 /srv/jobs/changed
    as alice sh -c "(crontab -l; echo '* * * * * date +\\%s >>/srv/jobs/changed') | crontab -"
    check in_the_spool_of_cron sh -c 'stat -c "%U %G %a" /var/spool/cron/crontabs/alice | grep -x "alice crontab 600"'
    minutes 2
    all_once after_the_reboot
    LIMIT=90 check mails_after_the_reboot mailed bob 'hello from bob' 5

    # ---- back to cron, while a command runs

    rm /srv/jobs/go /srv/jobs/pid
    pycron start long
    check long_runs_again test -s /srv/jobs/pid
    rm /etc/cron.d/long # Debian's cron does not understand it
    local since
    since=$(date '+%F %T')
    daytime
    check back install /payload/cron_*.deb
    check cron_is_back is_installed cron
    check cron_is_active systemctl is-active cron
    check pycron_is_gone sh -c '! systemctl is-active pycron && ! command -v pycrond'
    check crontab_is_that_of_cron sh -c '[ -g /usr/bin/crontab ] && /usr/bin/crontab -u alice -l | grep /srv/jobs/changed'
    minutes 2
    check cron_takes_the_tables silent "$since"
    all_once back
    LIMIT=1 check changed_table once /srv/jobs/changed
    check no_reboot_job_again sh -c '[ "$(wc -l </srv/jobs/reboot)" = 1 ]'
    check survives_the_removal sh -c 'kill -0 $(cat /srv/jobs/pid)'

    # ---- nothing is left

    check purge apt-get purge -y pycrond
    check no_process_is_left sh -c '! pgrep -f [p]ycron && ! kill -0 $(cat /srv/jobs/pid)'
    listing >/root/after
    diff /root/before /root/after
    check nothing_is_left cmp /root/before /root/after
    check tables_are_there sh -c '/usr/bin/crontab -u alice -l | grep /srv/jobs/changed && grep /srv/jobs/machine /etc/crontab'
}

if [ "$BOOT" = 1 ]; then first_boot; else second_boot; fi
