"""The OpenAPI document of /api/v1, made of the endpoints and of the types of their answers."""

import re
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from pycron import __version__
from pycron.web.endpoints import Endpoint

Schema = dict[str, Any]

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
_ERRORS = {
    "400": "A parameter is wrong.",
    "401": "The token is missing, wrong or revoked.",
    "403": "The token is only for reading.",
    "404": "There is no such thing that the user may see.",
    "409": "The daemon refuses.",
    "503": "The daemon does not answer, or too much is asked at once.",
}


def document(endpoints: Iterable[Endpoint], prefix: str) -> Schema:
    paths: dict[str, Schema] = {}
    types: dict[str, Schema] = {}
    for endpoint in endpoints:
        operation = _operation(endpoint, types)
        paths.setdefault(prefix + endpoint.path, {})[endpoint.method.lower()] = operation
    paths[f"{prefix}/runs/{{run_id}}/output"] = {"get": _of_output()}
    paths[f"{prefix}/openapi.json"] = {"get": _of_document()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "pycron", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": types,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _answers(schema: Schema, content_type: str = "application/json") -> Schema:
    good = {"description": "The answer.", "content": {content_type: {"schema": schema}}}
    error = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    content = {"application/json": {"schema": error}}
    bad = {code: {"description": text, "content": content} for code, text in _ERRORS.items()}
    return {"200": good, **bad}


def _parameter(name: str, kind: Any, *, where: str = "query", required: bool = False) -> Schema:
    schema = _schema(kind, {})
    return {"name": name, "in": where, "required": required or where == "path", "schema": schema}


def _of_output() -> Schema:
    return {
        "summary": "The output of an Attempt, raw.",
        "parameters": [_parameter("run_id", str, where="path"), _parameter("attempt", int)],
        "responses": _answers({"type": "string"}, "text/plain"),
    }


def _of_document() -> Schema:
    return {"summary": "This document.", "responses": _answers({"type": "object"})}


def _operation(endpoint: Endpoint, types: dict[str, Schema]) -> Schema:
    in_path = re.findall(r"{(\w+)}", endpoint.path)
    others = {name: each for name, each in endpoint.parameters().items() if name not in in_path}
    found: Schema = {
        "summary": endpoint.says,
        "parameters": [_parameter(name, str, where="path") for name in in_path],
        "responses": _answers(_schema(endpoint.answer, types)),
    }
    if endpoint.method == "GET":
        found["parameters"] += [_parameter(name, each.type) for name, each in others.items()]
    elif others:
        properties = {name: _schema(each.type, {}) for name, each in others.items()}
        body = {"type": "object", "properties": properties}
        found["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return found


def _schema(kind: Any, types: dict[str, Schema]) -> Schema:
    """The schema of a type; that of a TypedDict becomes one of `types`."""
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if is_typeddict(kind):
        return _reference(kind, types)
    origin, members = get_origin(kind), get_args(kind)
    if origin is NotRequired:
        return _schema(members[0], types)
    if origin in (Union, UnionType):
        return {"anyOf": [_schema(member, types) for member in members]}
    if origin is list:
        return {"type": "array", "items": _schema(members[0], types)}
    assert origin is dict, kind
    return {"type": "object", "additionalProperties": _schema(members[1], types)}


def _reference(kind: Any, types: dict[str, Schema]) -> Schema:
    if kind.__name__ not in types:
        types[kind.__name__] = {}  # a type may contain itself
        hints = get_type_hints(kind, include_extras=True)
        types[kind.__name__] = {
            "type": "object",
            "properties": {name: _schema(each, types) for name, each in hints.items()},
            "required": sorted(kind.__required_keys__),
        }
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
