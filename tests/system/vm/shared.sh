#!/bin/bash
# tests/system/test_shared_vm.py runs this as root in a virtual machine with systemd and PostgreSQL: docs/cluster.md's
# way to a host of a cluster, and what becomes of its agent. /payload contains the wheels and machine.sh. Each check
# prints a line "ok NAME" or "not ok NAME ...".
set -u
. /payload/machine.sh
LIMIT=90 # seconds; the machine is emulated, and slow
export PIP_NO_INDEX=1 PIP_FIND_LINKS=/payload/wheels PIP_DISABLE_PIP_VERSION_CHECK=1

query() { (cd / && runuser -u postgres -- psql -XAtq -d "${2:-pycron}" -c "$1"); }
says() { [ "$(query "$1")" = "$2" ]; } # QUERY ANSWER
agent() { pgrep -u pycron-cluster -f pycron.cluster; } # its pid
replaced() { local new && new=$(agent) && [ "$new" != "$1" ]; } # PID
remains() { [ "$(agent)" = "$1" ]; } # PID
runs_so_far() { query "SELECT count(*) FROM pycron.runs WHERE outcome = 'succeeded'"; }
ran_since() { [ "$(runs_so_far)" -gt $(($1 + 1)) ]; } # COUNT: one more may have been on its way
share() { echo 'CRON_NAME=shared CRON_ON=any @every 2s alice echo $CRON_RUN_ID $(id -un) >>/tmp/witness' >/etc/pycron.d/reports; }

useradd -m alice
systemctl start postgresql
check database query 'SELECT 1' postgres

# ---- as docs/cluster.md says; psycopg finds libpq in the machine

query "CREATE ROLE pycron LOGIN PASSWORD 'secret'" postgres
query "CREATE DATABASE pycron OWNER pycron TEMPLATE template0 ENCODING 'UTF8'" postgres
python3 -m venv /opt/pycron
check install /opt/pycron/bin/pip install -q pycrond psycopg
check setup /opt/pycron/bin/pycron setup --system --cluster
cat >>/etc/pycron/pycron.toml <<'END'
[cluster]
name = "prod"
database = "postgresql://pycron@127.0.0.1/pycron?passfile=/etc/pycron/cluster.pgpass"
host = "web1"
zone = "Europe/Berlin"
END
install -o pycron-cluster -m 600 /dev/null /etc/pycron/cluster.pgpass
echo '127.0.0.1:5432:pycron:pycron:secret' >/etc/pycron/cluster.pgpass
check init pycron cluster init
share
check start systemctl enable --now pycron

# ---- the agent and a shared Job

check agent_runs agent
check agent_is_of_the_unit grep -qx "$(agent)" /sys/fs/cgroup/system.slice/pycron.service/cgroup.procs
check agent_has_no_capability grep -E '^CapEff:[[:space:]]+0+$' "/proc/$(agent)/status"
check agent_has_no_groups grep -x 'Groups:[[:space:]]*' "/proc/$(agent)/status"
check agent_hides_the_address sh -c "! tr '\\0' ' ' </proc/$(agent)/cmdline | grep 127.0.0.1"
check shared_job_runs ran_since 1
check command_is_of_alice sh -c '[ "$(cut -d" " -f2 /tmp/witness | sort -u)" = alice ]'
check status sh -c 'pycron cluster status --json | grep "\"host\": \"web1\".*\"state\": \"live\""'
check shared_runs sh -c 'pycron cluster runs --json | grep "\"outcome\": \"succeeded\""'
check lease_is_of_the_agent sh -c '[ "$(stat -c %U /run/pycron/cluster/lease)" = pycron-cluster ]'

# ---- the agent is killed, then the daemon; the daemon is restarted

incarnation=$(query 'SELECT incarnation FROM pycron.hosts')
before=$(agent)
kill -KILL "$before"
check agent_is_replaced replaced "$before"
check agent_lost_is_said sh -c 'journalctl -u pycron -o cat PYCRON_EVENT=agent_lost | grep .'
check runs_go_on ran_since "$(runs_so_far)"

before=$(agent)
systemctl kill --kill-whom=main --signal=KILL pycron
check daemon_is_restarted sh -c '[ "$(systemctl show -P NRestarts pycron)" = 1 ]'
check runs_after_a_kill ran_since "$(runs_so_far)"
systemctl restart pycron
check runs_after_a_restart ran_since "$(runs_so_far)"
check agent_outlives_daemons remains "$before"
check lease_is_the_same says 'SELECT incarnation FROM pycron.hosts' "$incarnation"
check none_is_lost says "SELECT count(*) FROM pycron.runs WHERE outcome = 'lost'" 0
check none_is_doubled sh -c '[ -s /tmp/witness ] && ! sort /tmp/witness | uniq -d | grep .'

# ---- it is stopped when nothing shared runs on it, and started again

rm /etc/pycron.d/reports
check nothing_is_held says "SELECT count(*) FROM pycron.runs WHERE state = 'held'" 0
systemctl stop pycron
LIMIT=240 check goodbye says 'SELECT count(*) FROM pycron.hosts WHERE incarnation IS NULL' 1
check agent_is_gone gone pycron.cluster
check others_see_it sh -c 'pycron cluster status --json | grep "\"state\": \"gone\""'
share
systemctl start pycron
check back_again ran_since "$(runs_so_far)"
systemctl stop pycron
