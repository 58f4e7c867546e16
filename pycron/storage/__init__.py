"""SQLite and output files: schema, writing, queries, unfinished Runs, retention, repair.

May import: the pure folders, ports, config, system and protocol.
"""
