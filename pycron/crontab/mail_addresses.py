"""The addresses in MAILTO and MAILFROM: crontab(5) of Debian and cronie."""

import re

# pycron.delivery.addresses takes the same. The first character is none that a mail program could
# take for an option, a path or a pipe; cron calls such an address safe.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
LOCAL_PART = rf"(?=[A-Za-z0-9_]){_ATOM}(?:\.{_ATOM})*"
LONGEST_ADDRESS = 254
_DOMAIN = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[A-Za-z0-9.:]+\]"
_ADDRESS = re.compile(rf"(?=.{{1,{LONGEST_ADDRESS}}}\Z){LOCAL_PART}(?:@(?:{_DOMAIN}))?", re.ASCII)
_USER_VARIABLE = re.compile(r"\$(?:\{(USER|LOGNAME)\}|(USER|LOGNAME)(?![A-Za-z0-9_]))")


def addresses(text: str, user: str) -> tuple[str, ...]:
    """The addresses of a list with commas, without repetition; the user for an unsafe one.

    $USER and $LOGNAME, also in braces, stand for the user. The carriage return of a file from
    Windows is no part of an address.
    """
    found = (each if _is_safe(each) else user for each in _split(text, user))
    return tuple(dict.fromkeys(found))


def unsafe_addresses(text: str) -> list[str]:
    """The parts of a list that are no addresses."""
    return [each for each in _split(text, "user") if not _is_safe(each)]


def _split(text: str, user: str) -> list[str]:
    expanded = _USER_VARIABLE.sub(lambda _: user, text)
    return [part for each in expanded.split(",") if (part := each.strip(" \t\r"))]


def _is_safe(text: str) -> bool:
    return _ADDRESS.fullmatch(text) is not None
