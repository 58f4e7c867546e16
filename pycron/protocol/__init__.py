"""Messages that cross a socket: framing, those of the runner and of PAM sessions, the requests and
answers of the control socket.

May import: the standard library only.
"""
