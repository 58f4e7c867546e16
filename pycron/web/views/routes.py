"""The views of the page: which path shows what."""

from starlette.routing import Route

from pycron.web.views import actions, day, hosts, jobs, outputs, preferences, runs, state


def routes() -> list[Route]:
    return [
        *state.routes(),
        *jobs.routes(),
        *runs.routes(),
        *outputs.routes(),
        *day.routes(),
        *hosts.routes(),
        *actions.routes(),
        *preferences.routes(),
    ]
