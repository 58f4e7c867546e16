"""The text of a new pycron.toml: every option with its help and its default, as comments."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pycron.config import forms
from pycron.config.options import OPTIONS, Config

_HEAD = """\
# The configuration of pycron; pycron.toml(5) describes it.
#
# Each option has its default here. To set one, remove the # in front of the option and of the
# [section] above it; then: {reload}
"""

_TAIL = """
# Pools: how many commands of each may run at once. A table chooses one with CRON_POOL=database.
#[pools]
#database = 3

# Days that tables name: CRON_EXCEPT=inventory. A calendar is also "/etc/pycron/company.ics" or, for
# public holidays, "holidays:DE-BY". Both need: pip install 'pycrond[calendars]'
#[calendars]
#inventory = ["2026-06-30", "2026-12-28..2026-12-31"]

# Defaults of the settings of tables, and the highest values that a table can choose.
#[defaults]
#CRON_MAIL_ON = "failure"
#[ceilings]
#CRON_TIMEOUT = "12h"

# Where notifications go: a URL of apprise. A table chooses one with CRON_NOTIFY=ops.
#[notify.ops]
#url = "mailtos://user:password@example.org"
#on = ["failure", "recovery", "late"]
#cooldown = "15m"
#users = ["deploy"]

# Workers that get messages: a table chooses a sender with CRON_SEND=shop. It is celery or rq.
#[senders.shop]
#celery = "redis://:password@broker.example.org/5"
#queue = "shop"
#users = ["deploy"]
"""


def template(reload: str) -> str:
    """The text. `reload`: the command after which a change is in force."""
    parts = [_HEAD.format(reload=reload)]
    section = ""
    for key, option in OPTIONS.items():
        before, _, name = key.partition(".")
        if before != section:
            section = before
            parts.append(f"\n#[{section}]\n")
        parts.append(_option(name, getattr(Config(), option.name), option.metadata))
    return "".join((*parts, _TAIL))


def _option(name: str, default: Any, metadata: Mapping[str, Any]) -> str:
    words: str = metadata["help"]
    start = "; takes effect at the next start" if metadata["at_start"] else ""
    sentence = f"{words[:1].upper()}{words[1:]} ({metadata['form'].words}){start}."
    return f"# {sentence}\n#{name} = {_written(default, metadata['form'])}\n"


def _written(value: Any, form: forms.Form) -> str:
    """A default as TOML has it; nothing for an option that is not set."""
    if value is None:
        return " # not set"
    if value == {}:
        return "{}"
    if form is forms.SIZE:
        return _size(value)
    return json.dumps(str(value) if isinstance(value, Path) else value)


def _size(value: int) -> str:
    for letter, unit in (("G", 2**30), ("M", 2**20), ("K", 2**10)):
        if value % unit == 0:
            return f'"{value // unit}{letter}"'
    return str(value)
