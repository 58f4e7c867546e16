"""Messages for the workers of Celery and RQ (CRON_SEND), and the small program that sends one.

May import: the pure folders, ports, config and system.

`python -m pycron.sender` hands one message to a broker. The runner starts it like a command, so a
broker that refuses is a failure like any other. It never runs as the user of the entry, because it
knows the URL of the broker with its password.
"""
