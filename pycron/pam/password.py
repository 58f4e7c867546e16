"""`python -m pycron.pam.password` checks one password, which a daemon writes to its standard input.

The input is a JSON object: service, user, password, timeout (seconds). It prints `accepted` if the
password is right and the account may be used, and nothing otherwise.
"""

import json
import signal
import sys

from pycron.pam.transaction import PamFailure, Transaction


def main() -> None:
    asked = json.loads(sys.stdin.buffer.read())
    if "\0" in asked["user"] + asked["password"]:
        return  # C functions would see only what is in front of it
    signal.alarm(asked["timeout"])  # modules may wait for long; the signal ends this process
    transaction = None
    try:
        transaction = Transaction(asked["service"], asked["user"], asked["password"])
        transaction.check_password()
        transaction.check_account()
    except PamFailure:
        return
    finally:
        if transaction is not None:
            transaction.close()
    sys.stdout.write("accepted\n")


if __name__ == "__main__":
    main()
