"""Shared Jobs: the agent, which alone speaks to the database, and what it decides.

May import: the pure folders, system and protocol; psycopg and kombu.

Neither the daemon nor the runner imports it. Of the command line only the verb `cluster` does, when
it is used.
"""
