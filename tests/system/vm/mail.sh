#!/bin/bash
# tests/system/test_mail_servers.py runs this as root in a virtual machine with systemd and a mail
# server: Postfix, Exim or dma. /payload contains the wheels, the unit and the other files of this
# directory. Each check prints a line "ok NAME" or "not ok NAME ...".
#
# The machine is set up as Debian's installer would do it: the host name is `db1`, and the mail
# server knows itself as `db1.example.org`. Mail for root goes to carol.
set -u
. /payload/machine.sh
LIMIT=60 # seconds; the machine may be emulated, and slow

count() { python3 /payload/read_mail.py "$1" count "$2"; } # USER TEXT: mails with the text in the subject
counts() { [ "$(count "$1" "$2")" = "$3" ]; }
body() { python3 /payload/read_mail.py "$1" body "$2"; }
header() { python3 /payload/read_mail.py "$1" header "$2" "$3"; }
says() { header "$1" "$2" "$3" | grep -x -- "$4"; } # USER TEXT NAME VALUE
same() { body "$1" "$2" >/tmp/body && cmp /tmp/body "$3"; } # USER TEXT FILE
reads() { [ "$(body "$1" "$2" && echo .)" = "$3
." ]; } # USER TEXT LINES
as() { runuser -u "$1" -- "${@:2}"; }
start() { as "$1" pycron start "$2" >/dev/null || echo "cannot start $2"; }
logged() { [ "$(journalctl -u pycron -o json "PYCRON_EVENT=$1" | grep -c "$2")" = "$3" ]; } # EVENT TEXT NUMBER
mail_line() { pycron status --json | grep -o '"mail": "[^"]*"' | grep -- "$1"; }
configure() { # the lines of [mail]
    mkdir -p /etc/pycron
    printf '[mail]\n%s\n' "$1" >/etc/pycron/pycron.toml
    systemctl restart pycron
}

hostname db1
hostname >/etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 db1.example.org db1\n' >/etc/hosts
echo db1.example.org >/etc/mailname
printf 'postmaster: root\nroot: carol\n' >/etc/aliases
for user in alice bob carol dave mallory; do useradd -m "$user"; done
if [ -e /usr/sbin/postfix ]; then
    postconf -e myhostname=db1.example.org myorigin=/etc/mailname inet_interfaces=loopback-only \
        'mydestination=$myhostname, db1.example.org, db1, localhost.example.org, localhost' \
        mailbox_command= inet_protocols=ipv4
    newaliases
    systemctl restart postfix
elif [ -e /usr/sbin/exim4 ]; then
    sed -i "s/^dc_other_hostnames=.*/dc_other_hostnames='db1.example.org'/" /etc/exim4/update-exim4.conf.conf
    update-exim4.conf
    systemctl restart exim4
fi

install_pycron
mkdir /etc/pycron.d
echo "CRON_NAME=system @yearly root echo of the system" >/etc/pycron.d/x
systemctl start pycron
check start systemctl is-active pycron
check status mail_line '/usr/sbin/sendmail -i -t'
check scope test -d /sys/fs/cgroup/system.slice/pycron-runner-*.scope/runner

# ---- `pycron test-mail`

check test_mail_by_root pycron test-mail alice
check test_mail_by_alice as alice pycron test-mail
check test_mail_arrives counts alice '(test)' 2
check test_mail_shows sh -c "pycron test-mail carol | grep -x '\$ /usr/sbin/sendmail -i -t'"
check test_mail_of_another sh -c '! runuser -u alice -- pycron test-mail bob'

# ---- what a Run prints

printf 'Grüße, 世界 ✓\n' | tee /tmp/utf8 >/tmp/page
python3 -c '
import sys
lines = b"From me\n>From you\n.\n..\nRCPT TO:<mallory>\n" + b"\0\r\r\n\r" + bytes(range(256)) + b"\n.\n" + b"x" * 3000
sys.stdout.buffer.write(lines + b"no end of line")' >/tmp/binary
printf 'Subject: x\nBcc: mallory\n\nhello\n' >/tmp/stdin
yes "0123456789 and so on" 2>/dev/null | head -c 5000000 >/tmp/long
as alice pycrontab - <<'END'
CRON_NAME=utf8 @yearly cat /tmp/utf8
CRON_NAME=binary @yearly cat /tmp/binary
CRON_NAME=long @yearly cat /tmp/long
CRON_NAME=silent @yearly true # silent
CRON_NAME=failing CRON_MAIL_ON=failure @yearly echo before; echo after >&2; exit 7
CRON_NAME=fine CRON_MAIL_ON=failure @yearly echo fine
CRON_NAME=stdin @yearly cat # stdin%Subject: x%Bcc: mallory%%hello
MAILTO=""
CRON_NAME=nobody @yearly echo nobody
MAILTO=bob,$USER
CRON_NAME=both @yearly echo both
MAILTO=nosuchuser
CRON_NAME=unknown @yearly echo unknown
MAILTO=root
CRON_NAME=root @yearly echo to root
MAILTO=alice
MAILFROM=bob
CONTENT_TYPE=text/html
CONTENT_TRANSFER_ENCODING=8bit
CRON_NAME=html @yearly cat /tmp/page
END
as bob pycrontab - <<<'* * * * * echo each minute'
for job in utf8 binary long silent failing fine stdin nobody both unknown root html; do start alice "$job"; done
start root system

check utf8 same alice /tmp/utf8 /tmp/utf8
check utf8_type says alice /tmp/utf8 Content-Type 'text/plain; charset="*utf-8"*'
check binary same alice /tmp/binary /tmp/binary
check failing reads alice 'exit 7' $'before\nafter'
check failing_subject says alice 'exit 7' Subject 'Cron <alice@db1> .* (failed: exit status 7)'
check stdin same alice stdin /tmp/stdin
check both_alice reads alice 'echo both' both
check both_bob reads bob 'echo both' both
check to_root reads carol 'to root' 'to root'
check system reads carol 'of the system' 'of the system'
check system_subject says carol 'of the system' Subject 'Cron <root@db1> echo of the system'
check html same alice /tmp/page /tmp/page
check html_type says alice /tmp/page Content-Type 'text/html; charset="*utf-8"*'
check html_from says alice /tmp/page From '"(Cron Daemon)" <bob.*>'

whole() { # the beginning and the end are there, and a line says how much is not
    body alice /tmp/long >/tmp/long.body && python3 - <<'END'
import re
from pathlib import Path
printed, body = Path("/tmp/long").read_bytes(), Path("/tmp/long.body").read_bytes()
begin, cut, end = re.fullmatch(rb"(.*)\n\[pycron: (\d+) bytes [a-z ]+\]\n(.*)", body, re.DOTALL).groups()
assert printed.startswith(begin) and printed.endswith(end)
assert len(begin) + int(cut) + len(end) == len(printed) == 5_000_000
END
}
check long whole
check long_says says alice /tmp/long X-Cron-Cut 'printed=5000000 kept=[0-9]*'

# ---- a recipient that does not exist: the mail server tells the sender, or refuses the mail

told() { [ "$(count alice 'ndelivered')$(count alice 'ailure')$(count alice 'ailed: ')" != 000 ] || logged delivery_failed unknown 1; }
check unknown told

# ---- tables that try to reach mallory, or to have the mail program do something else

python3 - <<'END' >/tmp/hostile
tried = [
    r"MAILTO=bob\nBcc: mallory",
    "MAILTO=|touch /tmp/owned",
    "MAILTO=/tmp/owned",
    "MAILTO=-f mallory",
    "MAILTO=bob mallory",
    "MAILTO=bob\rBcc: mallory",
    "MAILTO=:include:/etc/shadow",
    "MAILTO=alice\rMAILFROM=mallory",
    "MAILTO=alice\nMAILFROM=mallory>\rBcc: mallory\n"
    "CONTENT_TYPE=text/plain\rBcc: mallory\nCONTENT_TRANSFER_ENCODING=7bit\rBcc: mallory",
]
for number, lines in enumerate(tried, 1):
    print(f"{lines}\nCRON_NAME=hostile{number} @yearly echo hostile {number}.")
print("CRON_NAME=hostile10 @yearly echo hostile 10. #\rBcc: mallory")
print("CRON_NAME=hostile11 @yearly echo hostile 11. # \33]0;x\7 =?utf-8?q?x=0ABcc:_mallory?=")
END
as alice pycrontab /tmp/hostile
for number in $(seq 11); do start alice "hostile$number"; done
for number in $(seq 11); do check hostile reads alice "hostile $number." "hostile $number."; done
allowed='auto-submitted|content-disposition|content-transfer-encoding|content-type|date|delivered-to|envelope-to|delivery-date|from|message-id|mime-version|precedence|received|return-path|subject|to|x-cron-[a-z]+|x-original-to'
check no_header sh -c "! python3 /payload/read_mail.py alice names 'Cron <' | grep -vxE '$allowed'"
check no_file test ! -e /tmp/owned
check no_victim counts mallory '' 0

# ---- exactly one mail of each, and a mail program can read them

for job in utf8 binary long 'exit 7' stdin 'echo both' page; do check once counts alice "$job" 1; done
check silent counts alice silent 0
check nothing_fine counts alice fine 0
check nothing_nobody counts alice nobody 0
LIMIT=90 check each_minute sh -c '[ "$(python3 /payload/read_mail.py bob count "echo each minute")" -ge 1 ]'
check owner sh -c '[ "$(stat -c %U /var/mail/alice)" = alice ]'
check mail_program sh -c "echo exit | runuser -u alice -- mail -f /var/mail/alice | grep 'Cron <alice@db1>'"
check mail_program_of_bob sh -c "printf 'type /each\nexit\n' | runuser -u bob -- mail -f /var/mail/bob | grep -x 'each minute'"

# ---- no mail program

pycron runs --deliveries
mv /usr/sbin/sendmail /usr/sbin/sendmail.away
LIMIT=90 check nowhere mail_line 'nowhere: there is no sendmail program (/usr/sbin/sendmail)'
as alice pycrontab - <<'END'
CRON_NAME=lost1 @yearly echo lost 1
CRON_NAME=lost2 @yearly echo lost 2
CRON_NAME=again @yearly echo again
END
start alice lost1
start alice lost2
check kept sh -c 'runuser -u alice -- pycron log lost1 | grep "lost 1"'
check kept_too sh -c 'runuser -u alice -- pycron log lost2 | grep "lost 2"'
check nowhere_once logged mail_nowhere . 1
check nowhere_test sh -c 'runuser -u alice -- pycron test-mail 2>&1 | grep "there is no sendmail program"'
mv /usr/sbin/sendmail.away /usr/sbin/sendmail
LIMIT=90 check somewhere mail_line '/usr/sbin/sendmail -i -t'
start alice again
check again reads alice 'echo again' again
check lost counts alice lost 0

[ ! -e /payload/mail_faults.sh ] || . /payload/mail_faults.sh

journalctl -u pycron -p notice --no-pager | tail -40
cat /var/lib/pycron/runner.log
