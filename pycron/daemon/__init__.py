"""The daemon: wiring, one turn of the loop, recovery, signals, log.

May import: everything except cli and runner.
"""
