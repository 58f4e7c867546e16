"""What requests contain: forms and JSON objects, of a bounded size, and whole numbers."""

import json
from typing import Any
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

_MOST_BYTES = 65_536
_MOST_FIELDS = 100


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that a browser has sent. Raises HTTPException."""
    body = await _body(request, "application/x-www-form-urlencoded")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise HTTPException(400, "this is no form") from None


async def json_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request; an empty body is an empty object. Raises HTTPException."""
    body = await _body(request, "application/json")
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HTTPException(400, "the body is no JSON object")
    return found


async def _body(request: Request, content_type: str) -> bytes:
    """Also the type has to be right: a form of another site can send only few types."""
    parts: list[bytes] = []
    async for part in request.stream():
        parts.append(part)
        if sum(map(len, parts)) > _MOST_BYTES:
            raise HTTPException(413, f"more than {_MOST_BYTES} bytes")
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if any(parts) and sent != content_type:
        raise HTTPException(415, f"the body has to be {content_type}")
    return b"".join(parts)


def whole_number(text: str, digits: int) -> int | None:
    """The number that a text is; None if it is none, or has more digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= digits else None
