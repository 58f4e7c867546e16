"""The description of a code of the linter, for `pycron check --explain`."""

import textwrap

from pycron.lint.code import Code
from pycron.model.text import visible

_WIDTH = 78


def explained(code: Code) -> str:
    """A code, what it means, and its example as it is and as it should be."""
    parts = [f"{code.name} ({code.severity})", textwrap.fill(code.about, _WIDTH)]
    if code.bad:
        parts += ["Instead of", _shown(code.bad), "write", _shown(code.good)]
    return "\n\n".join(parts)


def _shown(table: str) -> str:
    return textwrap.indent(visible(table), "    ")
