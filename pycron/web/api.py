"""/api/v1: what the command line prints with --json, for programs. They log in with a token."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pycron.web.bodies import json_of, whole_number
from pycron.web.endpoints import ENDPOINTS, BadParameter, Endpoint
from pycron.web.openapi import document
from pycron.web.output import output
from pycron.web.page import json_answer, page_of, visitor_of

PREFIX = "/api/v1"


def routes() -> list[Route]:
    return [
        Route(f"{PREFIX}/openapi.json", _openapi, methods=["GET"]),
        Route(f"{PREFIX}/runs/{{run_id}}/output", output, methods=["GET"]),
        *(
            Route(PREFIX + each.path, _answering(each), methods=[each.method], name=each.path)
            for each in ENDPOINTS
        ),
    ]


async def _openapi(_request: Request) -> Response:
    return json_answer(document(ENDPOINTS, PREFIX))


def _answering(endpoint: Endpoint) -> Any:
    async def answer(request: Request) -> Response:
        try:
            given = await _given(endpoint, request)
            question = endpoint.question(given | request.path_params)
        except BadParameter as error:
            return json_answer({"error": str(error)}, 400)
        found = await page_of(request).daemon.ask(visitor_of(request), question)
        return json_answer(found if endpoint.shown is None else endpoint.shown(found))

    return answer


async def _given(endpoint: Endpoint, request: Request) -> dict[str, object]:
    """The parameters: of the query, as values of the types of their fields, or of the body."""
    if endpoint.method == "POST":
        return await json_of(request)
    known = endpoint.parameters()
    return {
        name: _value(name, text, known[name].type) if name in known else text
        for name, text in request.query_params.items()
    }


def _value(name: str, text: str, kind: object) -> object:
    """Raises BadParameter."""
    if kind is bool:
        if text not in ("true", "false"):
            raise BadParameter(f"bad {name} (true or false)")
        return text == "true"
    if kind in (int, int | None):
        number = whole_number(text, digits=19)
        if number is None:
            raise BadParameter(f"bad {name} (a whole number)")
        return number
    return text
