"""The programs: pycrond, pycrontab, and pycron with one file per verb.

May import: the pure folders, config, system, tables, control, protocol and wording; only
cli.pycrond imports daemon.
"""
