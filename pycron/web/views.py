"""The views of the page: which path shows what."""

from starlette.routing import Route

from pycron.web import (
    action_views,
    day_views,
    job_views,
    output_views,
    preferences,
    run_views,
    state_views,
)


def routes() -> list[Route]:
    return [
        *state_views.routes(),
        *job_views.routes(),
        *run_views.routes(),
        *output_views.routes(),
        *day_views.routes(),
        *action_views.routes(),
        *preferences.routes(),
    ]
