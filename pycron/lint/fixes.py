"""What a bad line should read, where the reader's error leaves only one text."""

import re
from dataclasses import replace

from pycron.crontab.odd_characters import without_odd
from pycron.model.problem import Problem

_FIVE_FIELDS = re.compile(r"[ \t]*+(?:[^ \t]++[ \t]*+){1,5}")
_WRITE = re.compile(r"\(.*?write (?P<text>[^()]+)\)$")


def with_fix(problem: Problem, lines: list[str]) -> Problem:
    """The problem of a line with its fix, if there is one."""
    if not 0 < problem.line <= len(lines):
        return problem
    line = lines[problem.line - 1]
    if problem.code == "carriage-return":
        return replace(problem, fix=line.rstrip("\r"))
    if problem.code == "odd-character" and (fields := _FIVE_FIELDS.match(line)):
        return replace(problem, fix=without_odd(fields[0]) + line[fields.end() :])
    match = _WRITE.search(problem.message)
    if match and problem.code == "export":
        return replace(problem, fix=match["text"])
    return problem
