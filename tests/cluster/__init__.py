"""Five hosts as network namespaces, and the database in a sixth one, under faults.

`python -m tests.cluster --minutes 60` runs it, as root. What the commands wrote and what the
database says is then joined by the checker (checker.py), whose own test breaks histories.
"""
