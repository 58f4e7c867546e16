"""The runner: the small process that is the parent of every command.

May import: protocol.framing, protocol.outbox, protocol.runner_messages, protocol.session_messages,
system.unix_sockets, system.cgroup, system.lease_file, system.marks,
system.output_tail and system.running_lines.
"""
