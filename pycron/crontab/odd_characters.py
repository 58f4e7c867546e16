"""Characters that look like ones of ASCII, as word processors and web pages write them."""

import re

# What a person meant, by the character. Quotes of other languages than English are left out.
_MEANT = {
    "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2212": "-",
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"',
    "\u00a0": " ", "\u2007": " ", "\u2009": " ", "\u202f": " ", "\u3000": " ",
    "\u200b": "", "\u200c": "", "\u200d": "", "\u2060": "", "\ufeff": "",
    "\uff0a": "*", "\u2217": "*",
}  # fmt: skip
_NAMES = {"-": "a dash", " ": "a blank of another kind", "": "an invisible character",
          "'": "a typographic quote", '"': "a typographic quote", "*": "another star"}  # fmt: skip
ODD = re.compile(f"[{''.join(_MEANT)}]")
_TABLE = str.maketrans(_MEANT)


def described(character: str) -> str:
    """`a dash, U+2013: write -`."""
    meant = _MEANT[character]
    remedy = "a blank" if meant == " " else meant
    write = f"write {remedy}" if meant else "delete it"
    return f"{_NAMES[meant]}, U+{ord(character):04X}: {write}"


def without_odd(text: str) -> str:
    """The text with the ASCII characters that were meant."""
    return text.translate(_TABLE)
