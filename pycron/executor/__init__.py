"""The daemon's side of the runner: starts it, speaks with it, turns actions into messages and
messages into events.

May import: the pure folders, ports, config, system and protocol.
"""
