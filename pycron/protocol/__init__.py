"""Messages that cross a socket: framing, those of the runner, the requests and answers of the
control socket.

May import: the standard library only.
"""
