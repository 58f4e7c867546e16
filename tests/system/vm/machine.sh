# shellcheck shell=bash
# What the scripts of the virtual machine have in common; the tests put it into /payload.

check() { # NAME COMMAND...: whether the command succeeds within ${LIMIT:-30} seconds
    local name=$1 end=$((SECONDS + ${LIMIT:-30}))
    shift
    while [ $SECONDS -lt $end ]; do
        if "$@" >/dev/null 2>&1; then
            echo "ok $name"
            return
        fi
        sleep 0.2
    done
    echo "not ok $name: $*"
    pycron runs --json | head -5
}
runs() { pycron runs --json --job "$1"; }
ran() { runs "$1" | grep "$2"; }
gone() { ! pgrep -f "$1"; }

install_pycron() { # as the unit of systemd that starts with the machine; it is not started yet
    python3 -m venv /opt/pycron
    /opt/pycron/bin/pip install -q --no-index --find-links /payload/wheels pycrond
    ln -s /opt/pycron/bin/pycron /opt/pycron/bin/pycrond /opt/pycron/bin/pycrontab /usr/bin/
    cp /payload/pycron.service /etc/systemd/system/
    systemctl daemon-reload
}
