"""Text for people: made safe to print, and suggestions for misspelt names."""

import re
from collections.abc import Iterable

_LONGEST_NAME = 64  # characters that `hint_at` compares
_ALIKE = 0.55  # one of two words is not enough
_SYNONYMS = {"timezone": "tz", "zone": "tz", "dir": "cwd", "directory": "cwd", "workdir": "cwd"}


def printable(text: str) -> str:
    """The text made safe for a terminal: control characters and bytes that are no UTF-8 escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def visible(text: str) -> str:
    """The same, but lines and tabs stay: for a text of several lines."""
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def hint_at(unknown: str, known: Iterable[str], manual: str) -> str:
    """A hint for an unknown name: the known name that was probably meant, or else the manual."""
    found = _most_alike(unknown, list(known)) if len(unknown) <= _LONGEST_NAME else None
    return f"did you mean {found}?" if found else f"see {manual}"


def _most_alike(unknown: str, known: list[str]) -> str | None:
    """The name that shares most of its words with the unknown one; None if none shares enough.

    Words that all known names have, such as CRON, count for nothing.
    """
    words = {name: _words(name) for name in known}
    common = set.intersection(*map(set, words.values())) if len(known) > 1 else set()
    ours = [word for word in _words(unknown) if word not in common]
    likeness = {
        name: _likeness(ours, [word for word in theirs if word not in common])
        for name, theirs in words.items()
    }
    best = max(likeness, key=likeness.__getitem__, default=None)
    return best if best is not None and likeness[best] >= _ALIKE else None


def _words(name: str) -> list[str]:
    return [_stem(_SYNONYMS.get(word, word)) for word in re.split("[._]", name.lower()) if word]


def _stem(word: str) -> str:
    """The word without the ending of a plural."""
    return f"{word[:-3]}y" if word.endswith("ies") else word.removesuffix("s")


def _likeness(ours: list[str], theirs: list[str]) -> float:
    """From 0 to 1: how much of the words of both names is alike."""
    if not ours or not theirs:
        return 0.0
    alike = sum(max(_likeness_of_words(word, other) for other in theirs) for word in ours)
    joined = _likeness_of_words("".join(ours), "".join(theirs))  # ONFAILURE, ON_FAILURE
    return max(2 * alike / (len(ours) + len(theirs)), joined)


def _likeness_of_words(one: str, other: str) -> float:
    import difflib  # 300 KiB, and only a mistake asks for it

    if one == other:
        return 1.0
    short, long = sorted((one, other), key=len)
    if len(short) >= 3 and long.startswith(short):
        return 0.9
    ratio = difflib.SequenceMatcher(None, one, other).ratio()
    return ratio if ratio >= 0.75 else 0.0
