"""Deliveries: what is said about a Run, to whom, and the small program that says it.

May import: the pure folders, ports, config and system.

`python -m pycron.delivery` sends one mail, notification or ping. The runner starts it like a
command, so it has retries, time-outs and a record.
"""
