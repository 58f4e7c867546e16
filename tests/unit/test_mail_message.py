"""The mail about a Run: what arrives is what was printed, and nobody can inject a header."""

import email
import email.policy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.delivery import mail
from pycron.delivery.__main__ import main
from pycron.delivery.addresses import envelope_of
from pycron.delivery.check import MAIL_OCCASIONS, BadRequest, checked
from pycron.delivery.message import build
from pycron.delivery.request import MailRequest, RunFacts

RUN_ID = "0123456789abcdef-20260308T070000Z"
DATE = 1772953260.5
SYNC = "Cron <alice@db1.example.com> /usr/local/bin/sync"
HEADERS = {
    "From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type",
    "Content-Transfer-Encoding", "Content-Disposition", "Auto-Submitted", "Precedence",
    "X-Cron-Run", "X-Cron-Outcome", "X-Cron-Attempts", "X-Cron-Duration", "X-Cron-Cut",
}  # fmt: skip
FACTS: dict[str, Any] = {
    "run_id": RUN_ID, "job": "sync", "command": "/usr/local/bin/sync", "user": "alice",
    "host": "db1.example.com", "fire_time": 1772953200, "outcome": "succeeded", "exit_status": 0,
    "signal": None, "attempts": 1, "duration": 1.25, "reason": None, "printed": 6, "kept": 6,
}  # fmt: skip


def facts(**changes: Any) -> RunFacts:
    return cast(RunFacts, FACTS | changes)


def mail_request(**changes: Any) -> MailRequest:
    """A request to mail about a Run; the keys of a Run may be among the changes."""
    run = facts(**{key: changes.pop(key) for key in FACTS.keys() & changes.keys()})
    request: dict[str, Any] = {
        "kind": "mail", "occasion": "output", "run": run, "to": ["alice"], "sender": "alice",
        "content_type": None, "transfer_encoding": None, "summed": [], "summed_count": 0,
        "transport": {"kind": "sendmail", "argv": ["/usr/sbin/sendmail", "-i", "-t"]},
    }  # fmt: skip
    return cast(MailRequest, request | changes)


def built(output: bytes = b"hello\n", eight_bit: bool = True, **changes: Any) -> bytes:
    request = mail_request(**changes)
    return build(request, envelope_of(request), output, DATE, eight_bit=eight_bit)


def parsed(message: bytes) -> EmailMessage:
    read = email.message_from_bytes(message, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    return read


def received(message: bytes) -> bytes:
    """The decoded body."""
    body = parsed(message).get_payload(decode=True)
    assert isinstance(body, bytes)
    return body


def shown(message: bytes) -> str:
    """The body as a reader of mail sees it."""
    return str(parsed(message).get_content())


def raw(message: bytes, name: str) -> str | None:
    """The value of a header as it was written, unfolded."""
    header = message.partition(b"\n\n")[0].decode().replace("\n ", " ")
    found = re.search(rf"^{name}: (.*)$", header, re.MULTILINE)
    return found[1] if found else None


def subject(**changes: Any) -> str:
    return str(parsed(built(**changes))["Subject"])


def check_form(message: bytes) -> None:
    """The limits of RFC 5322 and RFC 2045 hold, and there are no other headers than ours."""
    header, _, body = message.partition(b"\n\n")
    assert b"\r" not in message
    assert b"\0" not in message
    assert header.isascii()
    assert all(line.strip() for line in header.split(b"\n"))
    assert max(len(line) for line in header.split(b"\n")) <= 998
    assert max(len(line) for line in body.split(b"\n")) <= 998
    assert body.endswith(b"\n")
    assert not re.search(rb"^From |^\.$", message, re.MULTILINE)
    names = [line.partition(b":")[0].decode() for line in header.split(b"\n") if line[:1] != b" "]
    assert len(names) == len(set(names))
    assert set(names) <= HEADERS
    assert not parsed(message).defects
    smtp_form = message.replace(b"\n", b"\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", smtp_form)


OUTPUTS = {
    "ascii": b"hello\n",
    "utf-8": "grün, 日本語, \N{PILE OF POO}\n".encode(),
    "latin-1": "grün\n".encode("latin-1"),
    "utf-16": "grün\n".encode("utf-16"),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + b"\xcb\x48\xcd\xc9\xc9\xe7\x02\x00" * 9,
    "all bytes": bytes(range(256)),
    "all bytes, backwards": bytes(reversed(range(256))) * 3,
    "NUL": b"a\0b\n",
    "NULs only": b"\0" * 1000,
    "a long line": b"x" * 10_000 + b"\n",
    "a long line of umlauts": "ü".encode() * 10_000,
    "998 bytes": b"x" * 998 + b"\n",
    "999 bytes": b"x" * 999 + b"\n",
    "bare CR": b"10%\r50%\r100%\n",
    "CR at the end": b"done\r",
    "CRLF": b"one\r\ntwo\r\n",
    "CR CR LF": b"one\r\r\ntwo\n\r\n",
    "no final newline": b"hello",
    "no final newline, umlaut": "grün".encode(),
    "one byte": b"x",
    "a newline": b"\n",
    "newlines": b"\n\n\n",
    "spaces at the ends of lines": b"one \ntwo\t\n \n\t\nend ",
    "a dot": b".\n",
    "a dot without newline": b".",
    "dots": b".\n..\n.x\nend\n.\n",
    "dot after a soft break": b"=" * 25 + b"." + b"\n",
    "From": b"From alice\nFrom: x\n>From y\n",
    "From in a long line": (b"x" * 73 + b"From ") * 5,
    "equals signs": b"a=b\n=41\n=\n==\n",
    "a header": b"To: mallory\nBcc: mallory\n\nhello\n",
    "a header first": b"\nSubject: x\n",
    "escape sequences": b"\x1b[31mred\x1b[0m\x07\x08\x0b\x0c\x7f\n",
    "other line separators": "a\x85b\u2028c\u2029d\x1ce\n".encode(),
    "a boundary": b"--boundary\nContent-Type: text/html\n\n--boundary--\n",
    "surrogates in UTF-8": b"\xed\xa0\x80\n",
    "a byte order mark": b"\xef\xbb\xbfhello\n",
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_what_arrives_is_what_was_printed(output: bytes) -> None:
    message = built(output)
    check_form(message)
    assert received(message) == output


@given(st.binary(min_size=1) | st.text(min_size=1).map(lambda text: text.encode(errors="replace")))
def test_any_output_arrives_as_it_was_printed(output: bytes) -> None:
    message = built(output)
    check_form(message)
    assert received(message) == output


LINES = [b"x" * 80, b"From ", b".", b"\n", b"\r", b" ", b"\t", b"=", b"\xc3\xbc", b"\xff", b"\0"]


@given(
    st.lists(st.sampled_from(LINES), min_size=1, max_size=60).map(b"".join),
    st.sampled_from(["7bit", "8bit", "binary", "quoted-printable", "base64", "BASE64 ", "x\r\ny"]),
    st.booleans(),
)
def test_any_output_arrives_in_any_transfer_encoding(
    output: bytes, encoding: str, eight_bit: bool
) -> None:
    message = built(output, transfer_encoding=encoding, eight_bit=eight_bit)
    check_form(message)
    assert received(message) == output
    assert eight_bit or message.isascii()


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1))
def test_utf8_is_shown_as_it_was_printed(text: str) -> None:
    message = built(text.encode())
    assert shown(message) == text


def test_a_large_output_arrives() -> None:
    output = b"".join(b"line %d \xe4\n" % number for number in range(100_000))
    assert received(built(output)) == output


@pytest.mark.parametrize(
    ("output", "content_type"),
    [
        (b"hello\n", "text/plain; charset=utf-8"),
        ("grün\n".encode(), "text/plain; charset=utf-8"),
        (b"a\0b\n", "text/plain; charset=utf-8"),
        ("grün\n".encode("latin-1"), "text/plain; charset=iso-8859-1"),
        (b"\xff\0\n", "application/octet-stream"),
    ],
)
def test_content_type(output: bytes, content_type: str) -> None:
    message = built(output)
    assert raw(message, "Content-Type") == content_type
    assert parsed(message).is_attachment() == (content_type == "application/octet-stream")


@pytest.mark.parametrize(
    ("output", "asked", "encoding"),
    [
        (b"hello\n", None, "7bit"),
        (b"hello\n", "8bit", "8bit"),
        (b"hello\n", "base64", "base64"),
        (b"hello\n", "Quoted-Printable", "quoted-printable"),
        (b"hello\n", "binary", "7bit"),
        (b"hello\n", "x-uuencode", "7bit"),
        (b"hello", "7bit", "quoted-printable"),
        ("grün\n".encode(), None, "base64"),
        ("grün und blau\n".encode(), None, "quoted-printable"),
        ("grün und blau\n".encode(), "7bit", "quoted-printable"),
        ("grün\n".encode(), "8bit", "8bit"),
        ("auf der grünen Wiese\r\n".encode(), "8bit", "quoted-printable"),
        ("日本語\n".encode(), None, "base64"),
        (b"\0" * 100, "8bit", "base64"),
        (b"x" * 998 + b"\n", None, "7bit"),
        (b"x" * 999 + b"\n", None, "quoted-printable"),
    ],
)
def test_transfer_encoding(output: bytes, asked: str | None, encoding: str) -> None:
    message = built(output, transfer_encoding=asked)
    assert parsed(message)["Content-Transfer-Encoding"] == encoding
    assert received(message) == output


def test_eight_bits_are_sent_only_where_they_may_be() -> None:
    output = "grün\n".encode()
    assert output in built(output, transfer_encoding="8bit")
    message = built(output, transfer_encoding="8bit", eight_bit=False)
    assert message.isascii()
    assert received(message) == output


@pytest.mark.parametrize(
    ("asked", "content_type"),
    [
        ("text/html", "text/html; charset=utf-8"),
        ("text/html; charset=iso-8859-15", "text/html; charset=iso-8859-15"),
        ('text/plain; charset="x-user-defined"', 'text/plain; charset="x-user-defined"'),
        ("text/html;", "text/html; charset=utf-8"),
        ("application/json", "application/json"),
    ],
)
def test_the_content_type_of_the_table_is_obeyed(asked: str, content_type: str) -> None:
    assert raw(built(content_type=asked), "Content-Type") == content_type


@pytest.mark.parametrize(
    "asked",
    [
        "", "html", "text/html\nBcc: mallory", "text/html\rX: y", "text/html; a=\u2028", "text/\0",
        "text/plain; charset=", "text/plain; =utf-8", 'text/plain; name="', "text/hütml", "a/b c",
        "text/plain; name==?utf-8?q?x?=", "multipart/mixed; boundary=x", "message/rfc822",
        "text/plain; name=" + "x" * 1000,
    ],
)  # fmt: skip
def test_a_content_type_that_is_none_is_not_used(asked: str) -> None:
    message = built(content_type=asked)
    check_form(message)
    assert raw(message, "Content-Type") == "text/plain; charset=utf-8"


def test_the_header_of_a_mail() -> None:
    assert built(outcome="failed", exit_status=7, attempts=3, occasion="failed") == (
        b'From: "(Cron Daemon)" <alice>\n'
        b"To: alice\n"
        b"Subject: Cron <alice@db1.example.com> /usr/local/bin/sync (failed: exit\n status 7)\n"
        b"Date: Sun, 08 Mar 2026 07:01:00 +0000\n"
        b"Message-ID: <0123456789abcdef-20260308T070000Z.failed@db1.example.com>\n"
        b"MIME-Version: 1.0\n"
        b"Content-Type: text/plain; charset=utf-8\n"
        b"Content-Transfer-Encoding: 7bit\n"
        b"Auto-Submitted: auto-generated\n"
        b"Precedence: bulk\n"
        b"X-Cron-Run: 0123456789abcdef-20260308T070000Z\n"
        b"X-Cron-Outcome: failed\n"
        b"X-Cron-Attempts: 3\n"
        b"X-Cron-Duration: 1.250\n"
        b"\n"
        b"hello\n"
    )


def test_a_mail_that_is_sent_twice_has_one_id() -> None:
    def id_of(message: bytes) -> str:
        return str(parsed(message)["Message-ID"])

    assert id_of(built(b"a\n")) == id_of(built(b"a\n", to=["bob"]))
    assert id_of(built(b"a\n")) != id_of(built(b"a\n", occasion="recovered"))
    assert id_of(built(b"a\n")) != id_of(built(b"a\n", run_id="0123456789abcdef-20260308T080000Z"))


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({}, ""),
        ({"outcome": None}, ""),
        ({"outcome": "failed", "exit_status": 7}, " (failed: exit status 7)"),
        ({"outcome": "failed", "exit_status": None, "signal": 9}, " (killed by signal 9)"),
        ({"outcome": "failed", "exit_status": None, "reason": "no sh"}, " (failed)"),
        ({"outcome": "killed", "signal": 15}, " (killed by signal 15)"),
        ({"outcome": "killed", "exit_status": 0}, " (killed)"),
        ({"outcome": "timed_out", "signal": 15}, " (timed out)"),
        ({"outcome": "out_of_memory", "signal": 9}, " (ran out of memory)"),
        ({"outcome": "missed"}, " (missed)"),
        ({"outcome": "skipped"}, " (skipped)"),
        ({"outcome": "cancelled"}, " (cancelled)"),
        ({"outcome": "lost"}, " (lost)"),
        ({"occasion": "late", "outcome": None}, " (late)"),
        ({"occasion": "recovered"}, " (recovered)"),
        ({"occasion": "test"}, " (test)"),
        ({"occasion": "summary", "summed_count": 540}, " (540 more Runs)"),
        ({"occasion": "summary", "summed_count": 1}, " (1 more Run)"),
    ],
)
def test_the_subject_says_how_the_run_ended(changes: dict[str, Any], end: str) -> None:
    assert subject(**changes) == SYNC + end


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("a  b   c", "a  b   c"),
        ("a\tb", "a b"),
        ("first\nsecond", "first"),
        ("\n first \nsecond", "first"),
        ("echo grün", "echo grün"),
        ("echo =?utf-8?q?x?=", "echo =?utf-8?q?x?="),
        ("echo \x1b[31m", "echo \\x1b[31m"),
        ("a\rBcc: x", "a\\rBcc: x"),
        ("a\u2028Bcc: x\x85y", "a\\u2028Bcc: x\\x85y"),
        ("a\udcffb\ud800", "a\\xffb\\ud800"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 197 + "..."),
        (" ".join("x" * 120), (" ".join("x" * 120))[:197] + "..."),
        ("", ""),
    ],
)
def test_the_command_in_the_subject(command: str, text: str) -> None:
    message = built(command=command, outcome="lost")
    check_form(message)
    assert str(parsed(message)["Subject"]) == f"Cron <alice@db1.example.com> {text} (lost)"


@given(st.text(alphabet=" \tab", min_size=70, max_size=250))
def test_any_number_of_spaces_in_a_command(command: str) -> None:
    message = built(command=command)
    check_form(message)
    whole = command.strip().replace("\t", " ")
    cut = whole if len(whole) <= 200 else whole[:197] + "..."
    assert raw(message, "Subject") == f"Cron <alice@db1.example.com> {cut}"


def test_a_cut_output_says_so() -> None:
    """50 MB were printed, of which pycron keeps 1 MB."""
    half = "ü".encode() * (2**18)
    output = half + b"\n[pycron: 51380224 bytes are not kept here]\n" + half
    message = built(output, printed=50 * 2**20, kept=2**20)
    check_form(message)
    assert parsed(message)["X-Cron-Cut"] == "printed=52428800 kept=1048576"
    assert received(message) == output


def test_an_output_that_is_not_cut_has_no_such_header() -> None:
    assert parsed(built())["X-Cron-Cut"] is None


@pytest.mark.parametrize("cut", [b"not kept", b"left out"])
@pytest.mark.parametrize("character", ["ü", "語", "\N{PILE OF POO}"])
def test_a_cut_within_a_character_does_not_change_the_charset(character: str, cut: bytes) -> None:
    text = character.encode()
    line = b"\n[pycron: 9 bytes are %s here]\n" % cut
    for at in range(len(text)):
        output = b"a" + text[:at] + line + text[at:] + b"b"
        assert b"charset=utf-8" in built(output, printed=99, kept=9)
        if at:
            assert b"charset=iso-8859-1" in built(output)


def test_an_output_of_latin_1_that_is_cut_keeps_its_charset() -> None:
    output = b"gr\xfcn\n[pycron: 9 bytes are not kept here]\ngr\xfcn\n"
    assert b"charset=iso-8859-1" in built(output, printed=99, kept=9)


START = 'The Run of "sync" with the fire time 2026-03-08T07:00:00Z '


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "succeeded and printed nothing."),
        ({"occasion": "recovered"}, "succeeded again and printed nothing."),
        (
            {"occasion": "failed", "outcome": "failed", "exit_status": 7},
            "failed: exit status 7 and printed nothing.",
        ),
        (
            {"outcome": "failed", "exit_status": None, "attempts": 0, "reason": "no\nshell"},
            "failed (no\\nshell).",
        ),
        ({"outcome": "missed", "attempts": 0}, "was missed."),
        ({"occasion": "late", "outcome": None}, "is late: it has not ended."),
        ({"occasion": "late", "outcome": "timed_out"}, "is late: it timed out."),
        (
            {"outcome": "timed_out", "printed": 540},
            "timed out; the 540 bytes that it printed are not kept.",
        ),
    ],
)
def test_if_nothing_was_printed_the_mail_says_what_happened(
    changes: dict[str, Any], sentence: str
) -> None:
    facts_of_silence: dict[str, Any] = {"printed": 0, "kept": 0, "content_type": "text/html"}
    message = built(b"", **facts_of_silence | changes)
    check_form(message)
    assert shown(message) == START + sentence + "\n"
    assert parsed(message).get_content_type() == "text/plain"


@pytest.mark.parametrize("occasion", ["output", "failed", "recovered", "late"])
def test_what_was_printed_is_the_body_on_every_occasion(occasion: str) -> None:
    assert received(built(b"hello\n", occasion=occasion)) == b"hello\n"


def test_a_summary_lists_the_runs() -> None:
    summed = [
        {"run_id": "a-2", "fire_time": 1772953260, "outcome": "timed_out"},
        {"run_id": "a\n-1", "fire_time": 1772953200, "outcome": None},
    ]
    job = "sync; rm x"
    message = built(b"x\n", occasion="summary", summed=summed, summed_count=540, job=job)
    check_form(message)
    assert shown(message) == (
        '540 more Runs of "sync; rm x" have something to report.\n'
        "They are in one mail, because a mail for each would be too many.\n"
        "\n"
        "The newest:\n"
        "  2026-03-08T07:01:00Z  timed_out      a-2\n"
        "  2026-03-08T07:00:00Z  not ended      a\\n-1\n"
        "\n"
        "All Runs: pycron runs --job 'sync; rm x'\n"
    )


def test_a_test_says_that_it_is_one() -> None:
    text = "This is a test of the mail settings of pycron on db1.example.com.\n"
    assert shown(built(b"", occasion="test")) == text


HOSTILE = {
    "newline": "x\nBcc: mallory@example.org",
    "CRLF": "x\r\nBcc: mallory@example.org\r\n\r\nbody",
    "CR": "x\rBcc: mallory@example.org",
    "folded": "x\n Bcc: mallory",
    "NUL": "x\0y",
    "line separators": "x\u2028Bcc: a\u2029b\x85c\x0bd\x0ce\x1cf",
    "non-ASCII": "grün日本語",
    "right to left": "\u202eevil",
    "surrogates": "\udcff\ud800",
    "very long": "x" * 100_000,
    "very long, with spaces": "x " * 50_000,
    "very long, non-ASCII": "ü" * 50_000,
    "spaces": " " * 5000,
    "encoded newline": "=?utf-8?q?x=0ABcc:_mallory?=",
    "address": 'x" <mallory@example.org>, "y',
    "list": "mallory@example.org, bob@example.org",
    "comment": "x(y)z",
    "quotes": '"x\\"y"',
    "empty": "",
    "markup": "<x@y>",
    "option": "-oQ/tmp",
    "program": "|/bin/sh",
    "file": "/etc/passwd",
    "include": ":include:/etc/passwd",
}
IN_A_RUN = ("run_id", "job", "command", "user", "host", "reason")


@pytest.mark.parametrize("field", [*IN_A_RUN, "sender", "content_type", "transfer_encoding"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("output", [b"hello\n", b""], ids=["output", "none"])
def test_no_field_can_inject_a_header(field: str, text: str, output: bytes) -> None:
    changes: dict[str, Any] = {field: text, "outcome": "failed"}
    message = built(output, **changes)
    check_form(message)
    read = parsed(message)
    assert received(message) == output or not output
    (sender,) = read["From"].addresses
    assert sender.addr_spec == envelope_of(mail_request(**changes)).sender
    assert read["To"].addresses[0].username == "alice"


@given(st.data())
def test_any_text_in_any_field(data: st.DataObject) -> None:
    text = st.text(st.characters(codec=None, exclude_categories=[])) | st.sampled_from(
        list(HOSTILE.values())
    )
    fields = (*IN_A_RUN, "sender", "content_type", "transfer_encoding")
    changes: dict[str, Any] = {field: data.draw(text) for field in fields}
    changes["to"] = ["alice", *data.draw(st.lists(text, max_size=3))]
    changes["occasion"] = data.draw(st.sampled_from(MAIL_OCCASIONS))
    message = built(data.draw(st.sampled_from([b"hello\n", b""])), **changes)
    check_form(message)
    read = parsed(message)
    assert (
        tuple(a.addr_spec for a in read["To"].addresses)
        == envelope_of(mail_request(**changes)).recipients
    )


ADDRESSES = [
    ("bob", "bob"),
    (" bob ", "bob"),
    ("bob@example.org", "bob@example.org"),
    ("bob+cron@example.org", "bob+cron@example.org"),
    ("bob.b%x!y@example.org", "bob.b%x!y@example.org"),
    ("_bob@a_b.example", "_bob@a_b.example"),
    ("bob@[192.0.2.1]", "bob@[192.0.2.1]"),
    ("bob@[IPv6:2001:db8::1]", "bob@[IPv6:2001:db8::1]"),
    ("bob@bücher.example", "bob@xn--bcher-kva.example"),
]


@pytest.mark.parametrize(("text", "address"), ADDRESSES)
def test_addresses(text: str, address: str) -> None:
    envelope = envelope_of(mail_request(to=[text], sender=text))
    assert envelope.recipients == (address,)
    assert envelope.sender == address
    assert parsed(built(to=[text]))["To"] == address


@pytest.mark.parametrize(
    "text",
    [
        "", "@", "bob@", "@example.org", "bob@@example.org", ".bob@x", "bob.@x", "b..b@x", "bøb@x",
        "bob@x..y", "bob@-x", "bob@" + "x" * 64, "b" * 255 + "@x", "bob@[x", "Bob <bob@x>", "a b@x",
        "bob@x,eve@x", "bob@x;eve@x", "bob@x\n", "\\bob", "bob@\xad", "bob@" + "ü" * 300,
        *(text for name, text in HOSTILE.items() if name not in ("empty", "spaces")),
    ],
)  # fmt: skip
def test_texts_that_are_no_addresses(text: str) -> None:
    envelope = envelope_of(mail_request(to=[text, "bob"], sender=text))
    assert envelope.recipients == ("bob",)
    assert envelope.refused == (text,)
    assert envelope.sender == "alice"


def test_a_mail_server_gets_the_host_with_each_name() -> None:
    """A sendmail program gets the name alone, and knows what its mail server adds."""
    to = ["bob", "eve@example.org"]
    envelope = envelope_of(mail_request(to=to, transport=SMTP))
    assert envelope.recipients == ("bob@db1.example.com", "eve@example.org")
    assert envelope.sender == "alice@db1.example.com"
    envelope = envelope_of(mail_request(to=to))
    assert envelope.recipients == ("bob", "eve@example.org")
    assert envelope.sender == "alice"


def test_each_recipient_is_named_once() -> None:
    to = ["bob", " bob", "bob@db1.example.com", "eve"]
    assert envelope_of(mail_request(to=to)).recipients == ("bob", "bob@db1.example.com", "eve")
    envelope = envelope_of(mail_request(to=to, transport=SMTP))
    assert envelope.recipients == ("bob@db1.example.com", "eve@db1.example.com")


def test_many_recipients_are_folded() -> None:
    to = [f"recipient-{number}@example.org" for number in range(100)]
    message = built(to=to)
    check_form(message)
    assert max(map(len, message.split(b"\n"))) <= 78
    assert [address.addr_spec for address in parsed(message)["To"].addresses] == to


def test_a_host_and_a_user_without_a_name_for_mail() -> None:
    unnamed: dict[str, Any] = {"host": "a b", "user": "x y", "sender": "x y", "to": ["bob"]}
    envelope = envelope_of(mail_request(transport=SMTP, **unnamed))
    assert envelope.host == "localhost"
    assert envelope.sender == "root@localhost"
    assert envelope.recipients == ("bob@localhost",)
    assert envelope_of(mail_request(**unnamed)).sender == "root"


def line_of(request: object) -> bytes:
    return json.dumps(request).encode() + b"\n"


def test_a_good_request() -> None:
    for request in (
        mail_request(), mail_request(duration=1, outcome=None), mail_request(newer="key"),
        mail_request(transport=SMTP), mail_request(transport=SMTP | {"password": None}),
    ):  # fmt: skip
        assert checked(line_of(request)) == request


SMTP = {
    "kind": "smtp", "host": "mail", "port": 587, "security": "starttls", "user": "u",
    "password": "hunter2",
}  # fmt: skip
SUMMED = {"run_id": "a", "fire_time": 1, "outcome": None}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"kind": "fax"}, "kind"),
    ({"kind": None}, "kind"),
    ({"kind": []}, "kind"),
    ({"occasion": "started"}, "occasion"),
    ({"to": []}, "to"),
    ({"to": "alice"}, "to"),
    ({"to": ["alice", None]}, "to"),
    ({"sender": 1}, "sender"),
    ({"content_type": 1}, "content_type"),
    ({"summed": [SUMMED | {"run_id": None}]}, "summed"),
    ({"summed": [SUMMED | {"fire_time": 2**50}]}, "summed"),
    ({"summed": [SUMMED | {"outcome": "fine"}]}, "summed"),
    ({"summed_count": -1}, "summed_count"),
    ({"run": None}, "run"),
    ({"run": FACTS | {"job": None}}, "run.job"),
    ({"run": FACTS | {"fire_time": 1.5}}, "run.fire_time"),
    ({"run": FACTS | {"fire_time": True}}, "run.fire_time"),
    ({"run": FACTS | {"fire_time": 2**52}}, "run.fire_time"),
    ({"run": FACTS | {"printed": 2**60}}, "run.printed"),
    ({"run": FACTS | {"outcome": "fine"}}, "run.outcome"),
    ({"run": FACTS | {"duration": -1.0}}, "run.duration"),
    ({"run": FACTS | {"duration": 1e300}}, "run.duration"),
    ({"transport": {"kind": "sendmail"}}, "transport"),
    ({"transport": {"kind": "sendmail", "argv": []}}, "transport.argv"),
    ({"transport": {"kind": "sendmail", "argv": [""]}}, "transport.argv"),
    ({"transport": {"kind": "sendmail", "argv": ["a", "\0"]}}, "transport.argv"),
    ({"transport": SMTP | {"security": "maybe"}}, "transport"),
    ({"transport": SMTP | {"port": 0}}, "transport.port"),
    ({"transport": SMTP | {"port": 65536}}, "transport.port"),
    ({"transport": SMTP | {"host": ""}}, "transport.host"),
    ({"transport": SMTP | {"password": ["hunter2"]}}, "transport"),
]


@pytest.mark.parametrize(("changes", "key"), BAD, ids=repr)
def test_a_bad_request_is_refused_by_the_name_of_its_key(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(BadRequest, match=f"^{re.escape(key)}$"):
        checked(line_of(mail_request() | changes))


@pytest.mark.parametrize("key", ["run", "to", "transport"])
def test_a_request_without_a_key(key: str) -> None:
    request = {name: value for name, value in mail_request().items() if name != key}
    with pytest.raises(BadRequest, match=f"^{key}$"):
        checked(line_of(request))


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"{", b"[]", b"\xff{}", b"[" * 100_000, b'{"kind": NaN}', b'"hunter2',
        b"1" * 10_000, b"null",
    ],
)  # fmt: skip
def test_no_request_at_all(line: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(BytesIO(line)) == 64
    message = capsys.readouterr().err
    assert message.startswith("bad request: ")
    assert "hunter2" not in message


@pytest.fixture
def through_sendmail(tmp_path: Path) -> Callable[[bytes], bytes]:
    """Send an output as a mail, and return the message that the sendmail program got."""
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\ncat >"{tmp_path}/message"\n')
    program.chmod(0o755)
    transport = {"kind": "sendmail", "argv": [str(program), "-i", "-t"]}

    def send(output: bytes, **changes: Any) -> bytes:
        assert mail.send(mail_request(transport=transport, **changes), output) == 0
        return (tmp_path / "message").read_bytes()

    return send


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_what_a_sendmail_program_gets(
    output: bytes, through_sendmail: Callable[[bytes], bytes]
) -> None:
    message = through_sendmail(output)
    check_form(message)
    assert received(message) == output


def test_a_sendmail_program_gets_a_large_message(
    through_sendmail: Callable[[bytes], bytes],
) -> None:
    output = bytes(range(256)) * (2**14)
    assert received(through_sendmail(output)) == output


def test_a_mail_needs_nothing_of_mail_servers_and_other_kinds() -> None:
    program = (
        "import sys; import pycron.delivery.__main__, pycron.delivery.mail; print(*sys.modules)"
    )
    loaded = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert "pycron.delivery.mail" in loaded
    assert not {"ssl", "smtplib", "urllib.request"} & set(loaded)
