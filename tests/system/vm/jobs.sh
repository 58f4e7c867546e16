# shellcheck shell=bash
# For the scripts that move from Debian's cron to pycron and back: jobs that run each minute, and whether
# they have run once in each. A command of pycron writes its fire time: on a slow machine it may start
# minutes late, after an installation. A command of cron knows only the present time.
LIMIT=60 # seconds; the machine may be emulated, and slow

# shellcheck disable=SC2016
server_with_jobs() { # USER...: what a Debian server has; alice and bob are among the users
    hostname db1
    hostname >/etc/hostname
    printf '127.0.0.1 localhost\n127.0.1.1 db1.example.org db1\n' >/etc/hosts
    echo db1.example.org >/etc/mailname
    for user in "$@"; do useradd -m "$user"; done
    mkdir -m 777 /srv/jobs
    touch /srv/jobs/{alice,bob,package,machine,reboot}
    chmod 666 /srv/jobs/*
    # Users' tables, one of them with mail, a drop-in of a package, and a line of the machine's own crontab.
    printf 'MAILTO=alice\n* * * * * date -d "${CRON_FIRE_TIME:-now}" +\\%%s >>/srv/jobs/alice\n@reboot date >>/srv/jobs/reboot\n' |
        /usr/bin/crontab -u alice -
    printf '* * * * * date -d "${CRON_FIRE_TIME:-now}" +\\%%s >>/srv/jobs/bob; echo hello from bob\n' | /usr/bin/crontab -u bob -
    printf '* * * * * bob test -x /bin/true && if [ -d /run/systemd/system ]; then date -d "${CRON_FIRE_TIME:-now}" +\\%%s >>/srv/jobs/package; fi\n' \
        >/etc/cron.d/package
    printf '* * * * * root date -d "${CRON_FIRE_TIME:-now}" +\\%%s >>/srv/jobs/machine\n' >>/etc/crontab
}
as() { runuser -u "$1" -- "${@:2}"; }
mails() { python3 /payload/read_mail.py "$1" count "$2"; } # USER TEXT: mails with the text in the subject
mailed() { [ "$(mails "$1" "$2")" -gt "${3:-0}" ]; }
daytime() { sleep $(((80 - 10#$(date +%S)) % 60 + 1)); } # until about 20 seconds after a full minute
minutes() { # the next COUNT minutes pass
    for _ in $(seq "$1"); do daytime; done
}
once() { # FILE: no minute twice and none left out, from the first one in the file until now
    python3 - "$1" <<'END'
import sys, time
found = sorted(int(line) // 60 for line in open(sys.argv[1]))
expected = list(range(found[0], int(time.time() - 15) // 60 + 1))
if found != expected:
    print(sys.argv[1], "has", [minute - found[0] for minute in found], "of", len(expected), "minutes", file=sys.stderr)
sys.exit(found != expected)
END
}
all_once() { # each job has run once in each minute since it was installed
    LIMIT=1 # a job that has run twice has not run once a moment later
    for job in alice bob package machine; do check "$1_$job" once "/srv/jobs/$job"; done
    LIMIT=60
}
begin_again() { # forget what has run so far, once pycron has made up for the minutes without it
    daytime
    until pycron status --json | python3 -c '
import json, sys
status = json.load(sys.stdin)
sys.exit(bool(status["running"] or status["waiting"]))'; do sleep 1; done
    for file in alice bob package machine; do : >/srv/jobs/$file; done
}
silent() { ! journalctl -u cron -o cat --since "$1" | grep -E 'WRONG|BAD|Error|ORPHAN'; }
