"""The body of a mail: what was printed, in a form from which mail programs get the same bytes.

Pure: no clock, file, process or socket.
"""

import base64
import codecs
import re
from dataclasses import dataclass

LONGEST_LINE = 998  # RFC 5322, without the end of the line

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_QUOTED = r'"(?:[ !#-\[\]-~]|\\[ -~])*"'
_CONTENT_TYPE = re.compile(rf"{_WORD}/{_WORD}(?: *; *{_WORD}=(?:{_WORD}|{_QUOTED}))* *;?")
_LONGEST_TYPE = 500
_CUT = re.compile(rb"\n\[pycron: \d+ bytes are (?:not kept|left out) here\]\n")

# A mailbox file quotes the one at the beginning of a line; for sendmail, the other ends the mail.
_CHANGED_ON_THE_WAY = re.compile(rb"^(?:From |\.$)", re.MULTILINE)
_QUOTABLE = re.compile(rb"[^\n\t -<>-~]|[\t ](?=\n|\Z)|F(?=rom )|(?m:^\.$)")
_UNQUOTED = bytes({*b"\n\t", *range(32, 127)} - {*b"="})
# A longest piece of a line that does not end within a quoted byte; at least two bytes follow it.
_PIECE = re.compile(rb"(?=.{76}).{72,74}(?<!=)(?<!=.)")


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes between the header and the end of a mail, and what the header says about them.

    `content_disposition`: None if the body is to be shown.
    """

    data: bytes
    content_type: str
    transfer_encoding: str
    content_disposition: str | None = None


def text_body(text: str) -> Body:
    """A body that pycron has written."""
    return output_body(text.encode(errors="backslashreplace"))


def output_body(
    output: bytes,
    content_type: str | None = None,
    transfer_encoding: str | None = None,
    *,
    cut: bool = False,
    eight_bit: bool = True,
) -> Body:
    """The output as a body; the type and the encoding that the table asks for hold if they can.

    `cut`: pycron has not kept the middle. `eight_bit`: bytes above 127 may be sent as they are.
    """
    encoding = _transfer_encoding(output, (transfer_encoding or "").strip(" ").lower(), eight_bit)
    data = _encoded(output, encoding)
    charset = _charset(output, cut)
    if asked := _valid_type(content_type):
        return Body(data, _with_charset(asked, charset), encoding)
    if charset == "iso-8859-1" and 0 in output:
        disposition = 'attachment; filename="output"'
        return Body(data, "application/octet-stream", encoding, disposition)
    return Body(data, f"text/plain; charset={charset}", encoding)


def _valid_type(content_type: str | None) -> str | None:
    """The CONTENT_TYPE of a table if it is one; not multipart: its bodies have parts."""
    text = (content_type or "").strip(" ")
    if len(text) > _LONGEST_TYPE or "=?" in text or not _CONTENT_TYPE.fullmatch(text):
        return None
    return None if text.lower().startswith(("multipart/", "message/")) else text


def _with_charset(content_type: str, charset: str) -> str:
    lower = content_type.lower()
    if not lower.startswith("text/") or re.search(r"; *charset\*?=", lower):
        return content_type
    return f"{content_type.rstrip(' ;')}; charset={charset}"


def _charset(output: bytes, cut: bool) -> str:
    """UTF-8 if it is that, else the charset in which all bytes are characters."""
    pieces = _CUT.split(output) if cut else [output]
    last = len(pieces) - 1
    fits = all(_is_utf8(piece, begun=n > 0, open_end=n < last) for n, piece in enumerate(pieces))
    return "utf-8" if fits else "iso-8859-1"


def _is_utf8(piece: bytes, *, begun: bool, open_end: bool) -> bool:
    """Whether a piece is UTF-8, where the cut before or after it may be within a character."""
    if begun:
        piece = piece[:3].lstrip(bytes(range(0x80, 0xC0))) + piece[3:]
    try:
        codecs.getincrementaldecoder("utf-8")().decode(piece, final=not open_end)
    except UnicodeDecodeError:
        return False
    return True


def _transfer_encoding(output: bytes, asked: str, eight_bit: bool) -> str:
    if asked in ("quoted-printable", "base64"):
        return asked
    if _survives(output):
        if asked == "8bit" and eight_bit:
            return asked
        if output.isascii():
            return "7bit"
    quoted = len(output.translate(None, _UNQUOTED))
    smaller = len(output) + 2 * quoted <= len(output) * 4 / 3
    return "quoted-printable" if smaller else "base64"


def _survives(output: bytes) -> bool:
    """Whether the output arrives unchanged without an encoding (apart from its bytes above 127)."""
    return (
        output.endswith(b"\n")
        and b"\0" not in output
        and b"\r" not in output
        and max(map(len, output.split(b"\n"))) <= LONGEST_LINE
        and not _CHANGED_ON_THE_WAY.search(output)
    )


def _encoded(output: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        return base64.encodebytes(output)
    if encoding == "quoted-printable":
        return _quoted_printable(output)
    return output


def _quoted_printable(output: bytes) -> bytes:
    """Quoted-printable (RFC 2045) that keeps every byte; the standard library's loses bare CRs."""
    quoted = _QUOTABLE.sub(lambda found: b"=%02X" % found[0][0], output)
    lines = b"\n".join(map(_in_pieces, quoted.split(b"\n")))
    return lines if lines.endswith(b"\n") else lines + b"=\n"


def _in_pieces(line: bytes) -> bytes:
    return _PIECE.sub(rb"\g<0>=\n", line) if len(line) > 75 else line
