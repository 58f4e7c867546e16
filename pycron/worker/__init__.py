"""The worker (extra `celery`): takes messages from queues of a broker; this host's pycrond runs
what they name.

May import: model, protocol, system, control.client and cluster.broker; celery and kombu.

It has no rights of its own: it is a client of the control socket, and no command passes through it.
"""
