"""The runner: the small process that is the parent of every command.

May import: protocol.framing, protocol.outbox, protocol.runner_checks, protocol.runner_messages,
protocol.session_messages, system.unix_sockets, system.cgroup, system.lease_file, system.marks,
system.mounts, system.output_tail, system.running_lines and system.shells.
"""
