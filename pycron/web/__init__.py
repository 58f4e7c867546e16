"""The page (extra `web`) and the metrics for Prometheus (extra `metrics`): clients of the control
socket.

May import: the pure folders, system, control, protocol and wording; starlette, uvicorn, jinja2 and
prometheus-client.

They have no rights of their own, and run in processes of their own.
"""
