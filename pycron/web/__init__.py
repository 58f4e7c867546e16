"""The metrics for Prometheus (extra `metrics`): a client of the control socket.

May import: the pure folders, system, control and protocol; prometheus-client.

It has no rights of its own, and runs in a process of its own.
"""
