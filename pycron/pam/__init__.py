"""PAM: the process beside the runner that opens a PAM session for each command, and the one that
checks a password for the page.

May import: protocol.framing, protocol.session_messages and system.marks; pamela.
"""
