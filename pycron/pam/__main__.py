"""`python -m pycron.pam DESCRIPTOR PROTOCOL SOFT HARD` opens PAM sessions for the runner.

DESCRIPTOR: the inherited socket to the runner. PROTOCOL: the version of its messages. SOFT and
HARD: the limit of open files that commands get.
"""

from pycron.pam.server import main

main()
