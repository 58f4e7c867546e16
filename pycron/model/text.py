"""Text for people: made safe to print, and suggestions for misspelt names."""

from collections.abc import Iterable

_LONGEST_NAME = 64  # characters that `hint_at` compares


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
    """A hint for an unknown name: the known name that is most like it, or else the manual."""
    import difflib  # 300 KiB, and only a mistake asks for it

    # A longer text is like no name, and to compare it takes time.
    close = difflib.get_close_matches(unknown, known, 1) if len(unknown) <= _LONGEST_NAME else []
    return f"did you mean {close[0]}?" if close else f"see {manual}"
