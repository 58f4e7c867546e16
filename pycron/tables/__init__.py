"""Directories of tables: finds, checks, reads and installs table files, and keeps versions of them.

May import: the pure folders, ports, config and system.
"""
