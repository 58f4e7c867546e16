"""The page (extra `web`) and the metrics for Prometheus (extra `metrics`).

May import: the pure folders, system, control and protocol; starlette, uvicorn, jinja2 and
prometheus-client.

Both are clients of the control socket without rights of their own, in a process of their own.
"""
