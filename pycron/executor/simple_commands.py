"""Which commands are so simple that a shell could do nothing but execute them.

Such a command consists of words and redirections whose characters mean nothing else to any shell,
and its first word is an absolute path: no word is expanded, and nothing but a program can have
this name. What is not known to be harmless is left to the shell.

No clock, no files: a function of the text.
"""

import re

from pycron.protocol.runner_messages import RedirectionRow

_HARMLESS = r"[A-Za-z0-9_./:,@%+=-]"
_BLANKS = r"[ \t]*"
# Digits before < or > are the number of a descriptor, and no word.
_TOKEN = re.compile(
    rf"{_BLANKS}(?:"
    rf"(?P<descriptor>[012]?)(?:(?P<operator>>>|>|<){_BLANKS}(?P<target>{_HARMLESS}+)"
    rf"|>&(?P<source>[012])(?!{_HARMLESS}))"
    rf"|(?P<word>(?![0-9]+[<>]){_HARMLESS}+))"
)


def simple_command(command: str) -> tuple[list[str], list[RedirectionRow]] | None:
    """The words and the redirections of a command, in their order; None: only a shell can tell."""
    words: list[str] = []
    redirections: list[RedirectionRow] = []
    text = command.strip(" \t")
    if not text.startswith("/"):
        return None
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            return None
        at = token.end()
        if token["word"] is not None:
            words.append(token["word"])
            continue
        operator = token["operator"] or ">&"
        descriptor = int(token["descriptor"] or operator != "<")
        target = token["target"] if token["source"] is None else int(token["source"])
        redirections.append([descriptor, operator, target])
    return words, redirections
