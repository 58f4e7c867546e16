"""What crosses a socket: framing, the messages of the runner, the requests and answers of the
control socket.

May import: the standard library only.
"""
