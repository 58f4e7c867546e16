"""The control socket: server, client, access rules, one handler module per subject.

May import: the pure folders, ports, config, system and protocol.
"""
