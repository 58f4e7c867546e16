#!/bin/bash
# tests/system/test_moving.py runs this as root in a virtual machine with Debian's cron, anacron, dma and
# rsyslog: from cron to pycron with the tables in place, back, over with `pycron import`, through a
# reboot, and back again. /payload contains the wheels, the unit and the other files of this directory.
# Each check prints a line "ok NAME" or "not ok NAME ...".
set -u
. /payload/machine.sh
. /payload/jobs.sh

enabled() { [ "$(systemctl is-enabled "$1")" = enabled ]; }
stopped() { ! systemctl is-active "$1" && ! enabled "$1"; }
forget() { rm -f /var/lib/pycron/pycron.db*; } # as if pycron had not run within the last five minutes
no_tables() { [ -z "$(find /etc/pycron.d /var/spool/pycron -type f)" ]; } # of pycron's own
configure() { printf '%s\n' "$1" >/etc/pycron/pycron.toml; }

first_boot() {
    server_with_jobs alice bob mallory
    mkdir -p /etc/pycron
    install_pycron
    ln -s /opt/pycron/bin/pycrontab /usr/local/bin/crontab # before /usr/bin/crontab in the PATH
    echo mallory >/etc/cron.deny
    touch /srv/jobs/daily
    chmod 666 /srv/jobs/daily
    printf '#!/bin/sh\ndate >>/srv/jobs/daily\n' >/etc/cron.daily/example # anacron runs it
    chmod 755 /etc/cron.daily/example
    daytime
    systemctl start cron
    check cron_is_there systemctl is-active cron
    check anacron_is_there enabled anacron.timer
    minutes 1
    LIMIT=90 check cron_mails mailed bob 'hello from bob'
    all_once with_cron

    # ---- the tables in place

    configure '[tables]
layout = "debian"'
    systemctl start pycron
    check two_crons_are_noticed sh -c "pycron status | grep 'warning: cron (pid [0-9]*, cron.service) is running: it would run the same jobs; systemctl disable --now cron'"
    check two_crons_in_the_log sh -c 'journalctl -p warning -u pycron -o cat | grep "would run the same jobs"'
    check two_crons_in_check sh -c 'pycron check | grep "would run the same jobs"'
    systemctl stop pycron
    forget
    for file in alice bob package machine; do : >/srv/jobs/$file; done # a minute may have come twice
    daytime
    systemctl disable -q --now cron
    systemctl enable -q --now pycron
    check pycron_is_there systemctl is-active pycron
    check jobs_of_all sh -c 'pycron list --json | grep -c . | grep -x 13'
    check no_errors pycron check
    minutes 2
    check pycron_mails mailed bob 'hello from bob' 2
    all_once in_place
    check allowed as alice crontab -l
    check denied sh -c '! runuser -u mallory -- crontab -l'
    check denied_says sh -c 'runuser -u mallory -- crontab -l 2>&1 | grep "not allowed to use this program"'
    check same_text sh -c 'runuser -u alice -- crontab -l >/tmp/one; /usr/bin/crontab -u alice -l >/tmp/two; cmp /tmp/one /tmp/two'
    as alice sh -c '(crontab -l; echo "@yearly echo new") | crontab -'
    check installed_in_place grep -q '@yearly echo new' /var/spool/cron/crontabs/alice
    check installed_as_cron_does sh -c 'stat -c "%U %G %a" /var/spool/cron/crontabs/alice | grep -x "alice crontab 600"'

    # ---- reloads

    configure '[tables]
layout = "debian"
[limits]
running = "many"'
    check bad_reload sh -c '! systemctl reload pycron'
    check bad_reload_says sh -c 'pycron reload 2>&1 | grep "bad limits.running"'
    check bad_reload_in_status sh -c 'pycron status | grep "bad limits.running"'
    check bad_reload_in_the_log sh -c 'journalctl -p warning -u pycron -o cat | grep "bad limits.running"'
    systemctl restart pycron
    check bad_start_fails_once sh -c 'systemctl is-failed pycron && [ "$(systemctl show -P NRestarts pycron)" = 0 ]'
    check bad_start_says sh -c 'journalctl -u pycron -o cat | grep "pycrond: .*bad limits.running"'
    check no_daemon_says sh -c 'runuser -u alice -- pycron list 2>&1 | grep "/run/pycron/pycron.sock.*systemctl start pycron"'
    configure '[tables]
layout = "debian"
[limits]
running = 17'
    systemctl reset-failed pycron
    systemctl start pycron
    check good_start systemctl is-active pycron
    check good_reload systemctl reload pycron
    check good_reload_in_status sh -c '! pycron status | grep "bad limits"'

    # ---- what the journal and syslog show

    printf 'CRON_NAME=failing * * * * * root exit 3\n' >/etc/cron.d/failing
    printf '61 * * * * root true\n' >/etc/cron.d/broken
    LIMIT=90 check failure_in_the_journal sh -c 'journalctl -p warning -u pycron -o cat | grep "failing.*exit status 3"'
    check bad_table_in_the_journal sh -c 'journalctl -p warning -u pycron -o cat | grep "bad minute"'
    check journal_fields sh -c 'journalctl -u pycron -o json | grep failing | grep "\"SYSLOG_FACILITY\":\"9\"" | grep "\"SYSLOG_IDENTIFIER\":\"pycron" | grep "\"PYCRON_JOB\":\"failing\""'
    check rsyslog_has_it grep -q 'failing.*exit status 3' /var/log/cron.log
    check status_shows_lines sh -c 'systemctl status pycron | grep "failing"'
    rm /etc/cron.d/failing /etc/cron.d/broken
    minutes 1
    all_once after_restart

    # ---- back to cron

    local since
    since=$(date '+%F %T')
    daytime
    systemctl disable -q --now pycron
    systemctl enable -q --now cron
    minutes 2
    check cron_again systemctl is-active cron
    check cron_takes_the_table silent "$since"
    check cron_shows_the_table sh -c '/usr/bin/crontab -u alice -l | grep "@yearly echo new"'
    all_once back

    # ---- over again, with copies

    rm /etc/pycron/pycron.toml
    pycron import >/tmp/report
    check report grep -q '/etc/crontab' /tmp/report
    check report_changes_nothing no_tables
    check apply_refuses sh -c '! pycron import --apply >/tmp/refused 2>&1 && grep "cron.service" /tmp/refused'
    cp /srv/jobs/daily /tmp/daily
    find /etc/crontab /etc/cron.d /etc/anacrontab /var/spool/cron -type f -exec md5sum {} + >/tmp/before
    forget
    systemctl enable -q --now pycron # without a table
    daytime
    check apply pycron import --apply --stop-other
    check other_is_stopped stopped cron
    check anacron_is_stopped stopped anacron.timer
    check originals_are_unchanged sh -c 'find /etc/crontab /etc/cron.d /etc/anacrontab /var/spool/cron -type f -exec md5sum {} + | cmp - /tmp/before'
    check imported_jobs sh -c 'pycron list --json | grep -q "/etc/cron.daily"'
    check no_reboot_job_now sh -c '! [ -s /srv/jobs/reboot ]'
    minutes 2
    all_once imported
    check no_daily_job_now cmp /srv/jobs/daily /tmp/daily # a new entry has no past
    exit 99 # reboot
}

second_boot() {
    hostname db1
    check starts_after_the_reboot systemctl is-active pycron
    check other_is_stopped_after_the_reboot stopped cron
    check reboot_job sh -c '[ "$(wc -l </srv/jobs/reboot)" = 1 ]'
    begin_again # minutes have passed without a cron
    minutes 2
    all_once after_the_reboot
    LIMIT=90 check mails_after_the_reboot mailed bob 'hello from bob' 5
    daytime
    systemctl disable -q --now pycron
    check undo pycron import --undo
    check undone no_tables
    check cron_is_back systemctl is-active cron
    check anacron_is_back enabled anacron.timer
    minutes 2
    all_once undone
}

if [ "$BOOT" = 1 ]; then first_boot; else second_boot; fi
