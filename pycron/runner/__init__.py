"""The runner: the small process that is the parent of every command.

May import: protocol.framing, protocol.outbox, protocol.runner_messages, system.unix_sockets,
system.cgroup and system.output_tail.
"""
