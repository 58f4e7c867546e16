"""PAM: the process beside the runner that opens a PAM session for each command.

May import: protocol.framing, protocol.session_messages and system.marks; pamela.
"""
