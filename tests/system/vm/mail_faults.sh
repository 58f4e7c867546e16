# shellcheck shell=bash
# The part of mail.sh that is the same with any mail program: one that hangs, and a mail server that
# wants a login.

# ---- a sendmail program that hangs for dave

as bob pycrontab -r # its mails would be among those that are looked for
mv /usr/sbin/sendmail /usr/sbin/sendmail.real
cat >/usr/sbin/sendmail <<'END'
#!/bin/bash
[ "$(id -un)" != dave ] || [ -e /tmp/let-go ] || exec sleep 7777
exec -a sendmail /usr/sbin/sendmail.real "$@"
END
chmod +x /usr/sbin/sendmail
configure 'running = 2'
hanging() { [ "$(pgrep -cf 'sleep 7777')" = "$1" ]; }
deliveries() { pycron runs --deliveries --json --job "$1"; }
run_of() { deliveries "$1" | grep -o '"run_id": "[^"]*' | head -1 | cut -d'"' -f4; }
as dave pycrontab - <<'END'
CRON_NAME=hang1 @yearly echo hang 1
CRON_NAME=hang2 @yearly echo hang 2
CRON_NAME=hang3 @yearly echo hang 3
END
as alice pycrontab - <<'END'
CRON_NAME=beside @yearly echo beside
CRON_NAME=behind @yearly echo behind
CRON_NAME=by-smtp @yearly echo by SMTP
END
start dave hang1
check hangs hanging 1
start dave hang2
start dave hang3
sleep 10
check bounded hanging 1 # a user may take half of the places
start alice beside
check others_go_on reads alice beside beside
start alice behind
check others_still_go_on reads alice behind behind
touch /tmp/let-go # the one that hangs goes on hanging
for number in 1 2 3; do LIMIT=200 check hung reads dave "hang $number" "hang $number"; done
check timed_out sh -c "pycron show $(run_of hang1) --json | grep timed_out"
check delivered_at_last sh -c "pycron show $(run_of hang1) --json | grep succeeded"
check none_hangs gone 'sleep 7777'
mv /usr/sbin/sendmail.real /usr/sbin/sendmail

# ---- a mail server with STARTTLS and a login

password=swordfish-6174
(
    cd /root
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout both.pem -out pycron-test.crt
    cat pycron-test.crt >>both.pem
    cp pycron-test.crt /usr/local/share/ca-certificates/
    update-ca-certificates
) >/dev/null 2>&1
mkdir /root/arrived
mkdir -p /etc/pycron
(umask 077 && echo "$password" >/etc/pycron/password)
python3 /payload/smtp_server.py /root/both.pem cron /etc/pycron/password /root/arrived &
server=$!
configure 'transport = "smtp"
smtp_host = "localhost"
smtp_user = "cron"
smtp_password_file = "/etc/pycron/password"'
check smtp_needs_user mail_line 'nowhere: there is no user pycron-mail'
useradd --system pycron-mail
systemctl restart pycron
check smtp_status mail_line 'smtp localhost:587 (starttls)'

look() { # what alice sees of other processes and in the history, while a mail is sent
    as alice sh -c 'cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; ls -l /proc/[0-9]*/fd
        for each in "list --json" "show by-smtp" "log by-smtp" "runs --json" "runs --deliveries --json" status; do pycron $each; done'
    cat /proc/[0-9]*/cmdline
    for each in "list --json" "runs --json" "runs --deliveries --json" status; do pycron $each; done
}
senders() { pgrep -u "$1" -f 'pycron.delivery'; }
start alice by-smtp
check smtp_arrives test -e /root/arrived/arriving
check smtp_account senders pycron-mail
check smtp_no_other sh -c "! pgrep -u alice -f 'pycron[.]delivery'"
look >/root/seen 2>/dev/null
check smtp_looked grep -a 'pycron.delivery' /root/seen
base64_of() { printf "$1" | base64 | tr -d =; }
secret() { grep -aE "$password|$(base64_of "$password")|$(base64_of "\\0cron\\0$password")" "$@"; }
no_secret() { ! secret "$@"; }
check smtp_secret secret /etc/pycron/password
check smtp_hidden no_secret /root/seen
check smtp_taken grep -rq 'echo by SMTP' /root/arrived
check smtp_to grep -rq '^To: alice@db1' /root/arrived
check smtp_test_mail sh -c 'runuser -u alice -- pycron test-mail >/root/shown 2>&1'
check smtp_shows grep -F '> AUTH (hidden)' /root/shown
(journalctl -u pycron -o verbose; cat /var/lib/pycron/runner.log; pycron log "$(run_of test)"; pycron show "$(run_of by-smtp)") >/root/log
check smtp_hidden_later no_secret /root/shown /root/log
kill $server
