"""The forms in which `pycron check` prints problems: for people, programs, GitHub and SARIF."""

import json
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import quote

from pycron import __version__
from pycron.cli.printing import print_json
from pycron.lint.codes import CODES
from pycron.model.problem import Problem, Severity, problem_row


def problem_details(problem: Problem) -> dict[str, str | int | None]:
    """A Problem as a row of JSON, with what only the linter knows."""
    more = {"end_column": problem.end_column, "remedy": problem.remedy, "fix": problem.fix}
    return {**problem_row(problem), **more}


def _text(problems: Iterable[Problem]) -> None:
    for problem in problems:
        print(f"{problem} [{problem.code}]")


def _json(problems: Iterable[Problem]) -> None:
    print_json(map(problem_details, problems))


# ---- commands of a workflow: docs.github.com, "Workflow commands for GitHub Actions"

_GITHUB = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def _github(problems: Iterable[Problem]) -> None:
    for problem in problems:
        place = {"file": problem.file, "title": problem.code}
        if problem.line:
            place |= {"line": str(problem.line), "col": str(problem.column)}
        if problem.end_column:
            place |= {"endColumn": str(problem.end_column)}
        shown = ",".join(f"{key}={_property(value)}" for key, value in place.items())
        print(f"::{_GITHUB[problem.severity]} {shown}::{_data(_sentence(problem))}")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _sentence(problem: Problem) -> str:
    return f"{problem.message} ({problem.remedy})" if problem.remedy else problem.message


# ---- SARIF 2.1.0 (OASIS)


def _sarif(problems: Sequence[Problem]) -> None:
    used = sorted({problem.code for problem in problems})
    driver = {
        "name": "pycron check",
        "version": __version__,
        "rules": [_rule(code) for code in used],
    }
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": [_result(each) for each in problems]}],
    }
    print(json.dumps(log, indent=2))


def _rule(code: str) -> dict[str, object]:
    about = CODES[code].about if code in CODES else code
    return {"id": code, "fullDescription": {"text": about}}


def _result(problem: Problem) -> dict[str, object]:
    uri = {"uri": quote(problem.file)}
    place: dict[str, object] = {"artifactLocation": uri}
    if problem.line:
        region = {"startLine": problem.line, "startColumn": problem.column}
        if problem.end_column:
            region["endColumn"] = problem.end_column
        place["region"] = region
    result: dict[str, object] = {
        "ruleId": problem.code,
        "level": problem.severity.value,
        "message": {"text": _sentence(problem)},
        "locations": [{"physicalLocation": place}],
    }
    if problem.fix is not None:
        result["fixes"] = [_fix(problem, uri)]
    return result


def _fix(problem: Problem, uri: dict[str, str]) -> dict[str, object]:
    """The whole line is replaced, but not the newline at its end."""
    region = {"startLine": problem.line, "startColumn": 1, "endLine": problem.line}
    replacement = {"deletedRegion": region, "insertedContent": {"text": problem.fix}}
    change = {"artifactLocation": uri, "replacements": [replacement]}
    return {"description": {"text": problem.remedy or "mend it"}, "artifactChanges": [change]}


FORMATS: dict[str, Callable[[Sequence[Problem]], None]] = {
    "text": _text, "json": _json, "github": _github, "sarif": _sarif,
}  # fmt: skip
