"""Directories of tables: finds, checks, reads and installs table files.

May import: the pure folders, ports, config and system.
"""
