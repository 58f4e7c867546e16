"""Whatever reads foreign text takes linear time: twice the text takes about twice the time.

A quadratic reader takes four times as long. The texts are made so that an expression that gives
something back, or a list that is copied for each element, would show.
"""

import contextlib
import datetime
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pycron.config import ConfigError, read_config
from pycron.crontab import anacrontab, comparison, other_cron
from pycron.crontab.changes import compare
from pycron.crontab.mail_addresses import addresses, unsafe_addresses
from pycron.crontab.other_cron import CRONIE, DEBIAN
from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.telling_word import telling_word
from pycron.delivery.body import output_body
from pycron.lint.check import check
from pycron.lint.found import CheckContext
from pycron.model.job import Source
from pycron.protocol.framing import Decoder
from pycron.schedule.durations import parse_duration
from pycron.schedule.expressions import ScheduleError, parse_cron
from pycron.schedule.fields import FieldError
from pycron.schedule.zone import UTC
from pycron.system.user_lists import users_in
from pycron.tables.spool_form import without_header

MALLORY = Source("mallory", "mallory")
SYSTEM = Source("/etc/pycron.d/x", None)
SHORTEST = 0.01  # seconds of CPU from which on a time says something
MOST = 3.2  # times as long for twice the text
LONGEST = 250_000  # characters; what is quadratic takes minutes for as many


def table(text: str) -> None:
    parse(text, MALLORY, ReaderContext(host="x"))


def system_table(text: str) -> None:
    parse(text, SYSTEM, ReaderContext())


def compared(text: str) -> None:
    machine = comparison.Machine(lambda _: UTC, 0)
    for rules in (DEBIAN, CRONIE):
        comparison.compare(text, MALLORY, ReaderContext(), rules, machine)


def two_versions(text: str) -> None:
    context = ReaderContext(most_entries=10**6)
    old, new = parse(text, MALLORY, context), parse(text + "@daily x\n", MALLORY, context)
    compare(old.jobs, new.jobs)


def linted(text: str) -> None:
    check(text, MALLORY, ReaderContext(), CheckContext(lambda _: UTC, 0, lambda _: False))


def anacron(text: str) -> None:
    today = datetime.date(2026, 1, 1)
    anacrontab.convert(text, anacrontab.Surroundings(DEBIAN, today))


def schedule(text: str) -> None:
    with contextlib.suppress(FieldError, ScheduleError):
        parse_cron((text, "*", "*", "*", "*"), lambda _: 7)


def duration(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_duration(text)


def received_in_pieces(text: str) -> None:
    decoder = Decoder(10**8)
    data = b'"' + text.encode()
    for start in range(0, len(data), 4096):
        list(decoder.feed(data[start : start + 4096]))


def output(text: str) -> None:
    for encoding in (None, "quoted-printable", "base64"):
        output_body(text.encode(), "text/plain", encoding, cut=True)


Reader = Callable[[str], object]

READERS: dict[str, tuple[Reader, Callable[[int], str]]] = {
    "blanks": (table, lambda n: " " * n + "x\n"),
    "blanks before =": (table, lambda n: "A" + " " * n + "x = 1\n"),
    "blanks after a name": (table, lambda n: "CRON_TZ" + " " * n + "x\n"),
    "quotes": (table, lambda n: '"' * n + "\n"),
    "options": (table, lambda n: "@daily " + "-n " * (n // 3) + "x\n"),
    "system options": (system_table, lambda n: "@daily " + "-n " * (n // 3) + "root x\n"),
    "a message": (table, lambda n: "CRON_SEND=a @daily x [" + "1," * (n // 2) + "1]\n"),
    "a deep message": (table, lambda n: "CRON_SEND=a @daily x " + "[" * n + "\n"),
    "an open message": (table, lambda n: 'CRON_SEND=a @daily x {"' + "\\" * n + "\n"),
    "percents": (table, lambda n: "@daily x%" + "%" * n + "\n"),
    "backslashes": (table, lambda n: "@daily x" + "\\" * n + "\n"),
    "settings": (table, lambda n: "CRON_RETRIES=1 " * (n // 15) + "@daily x\n"),
    "a setting": (table, lambda n: "CRON_NOTIFY=" + "a," * (n // 2) + "a @daily x\n"),
    "many lines": (table, lambda n: "\n" * n),
    "many variables": (table, lambda n: "".join(f"V{i % 5000}=\n" for i in range(n // 6))),
    "one variable": (table, lambda n: "a=1\n" * (n // 4)),
    "variables and entries": (
        table,
        lambda n: "".join(f"V{i % 5000}=\n@daily {i}\n" for i in range(n // 16)),
    ),
    "settings and entries": (
        table,
        lambda n: "".join(f"CRON_RETRY_DELAY={i + 1}\n@daily {i}\n" for i in range(n // 32)),
    ),
    "equal entries": (table, lambda n: "@daily x\n" * (n // 9)),
    "mistakes": (table, lambda n: "bad\n" * (n // 4)),
    "unsafe addresses": (table, lambda n: ("MAILTO=" + "a@," * 9000 + "\n") * (n // 27_000)),
    "comparison: MAILTO": (compared, lambda n: "MAILTO=" + " " * n + "x y\n"),
    "comparison: a quote": (compared, lambda n: 'A="' + ' "' * (n // 2) + "x\n"),
    "comparison: zeros": (compared, lambda n: "*/" + "0" * n + "1 * * * * x\n"),
    "comparison: entries": (compared, lambda n: "0 0 * * * x\n" * (n // 12)),
    "a line for another cron": (
        lambda text: other_cron.sends_no_mail(DEBIAN, text),
        lambda n: "MAILTO='" + "' " * (n // 2) + "x",
    ),
    "two versions": (two_versions, lambda n: "".join(f"@daily {i}\n" for i in range(n // 13))),
    "spool header": (
        without_header,
        lambda n: (
            "# DO NOT EDIT THIS FILE - edit the master and reinstall.\n# ("
            + "x installed on " * (n // 15)
        ),
    ),
    "mistakes of all kinds": (
        table,
        lambda n: "x=1 \\\n{{ a\nexport a\n9 9 9 9 9 9 9 x\n" * (n // 36),
    ),
    "linter: entries": (linted, lambda n: "".join(f"0 5 * * * {i}\n" for i in range(n // 14))),
    "linter: variables": (linted, lambda n: "".join(f"A{i % 900}=$B\n" for i in range(n // 8))),
    "linter: backslashes": (linted, lambda n: "@daily x" + "\\" * n + " y\n"),
    "linter: quotes": (linted, lambda n: "@daily x" + "'\"" * (n // 2) + "\n"),
    "linter: open brackets": (linted, lambda n: "@daily x" + "$(" * (n // 2) + "%\n"),
    "linter: passwords": (linted, lambda n: "@daily " + "mysql curl -u " * (n // 14) + "\n"),
    "linter: placeholders": (linted, lambda n: "@daily " + "{{ <a b " * (n // 8) + "\n"),
    "linter: redirects": (linted, lambda n: "@daily x" + " 2>&1 > & [[ ==" * (n // 15) + "\n"),
    "linter: dates": (linted, lambda n: "@daily " + "date +" * (n // 6) + "%\n"),
    "linter: assignments": (linted, lambda n: "@daily " + "A=b " * (n // 4) + "(\n"),
    "linter: comments": (linted, lambda n: "# pycron: ignore=a\n" * (n // 19) + "@daily x\n"),
    "linter: a value": (linted, lambda n: "A=" + " #" * (n // 2) + "\n@daily x\n"),
    "linter: urls": (linted, lambda n: "@daily " + "https://a.b" * (n // 11) + "\n"),
    "anacrontab: blanks": (anacron, lambda n: "1 1 x" + " " * n + "\n"),
    "anacrontab: continued": (anacron, lambda n: "\\\n" * (n // 2) + "x\n"),
    "anacrontab: the guard": (
        lambda text: anacrontab.directories_run(f"run-parts {text}"),
        lambda n: "test -x /usr/sbin/anacron" + " " * n + "x",
    ),
    "anacrontab: a start": (anacrontab.starts_anacron, lambda n: ";" + " " * n + "x"),
    # More than the first characters of a command are not read for its name.
    "a name: one word": (telling_word, lambda n: "/a" * (n // 2)),
    "a name: quotes": (table, lambda n: ("@daily " + "'\"" * 100 + "\n") * (n // 208)),
    "a name: brackets": (table, lambda n: ("@daily " + "$((" * 100 + "\n") * (n // 308)),
    "a name: wrappers": (table, lambda n: ("@daily " + "nice " * 80 + "\n") * (n // 408)),
    "a name: shells": (table, lambda n: ("@daily " + "sh -c '" * 60 + "\n") * (n // 428)),
    "many that share a name": (
        lambda text: parse(text, MALLORY, ReaderContext()).jobs.called("x"),
        lambda n: "".join(f"@daily x {i}\n" for i in range(n // 15)),
    ),
    "a schedule: list": (schedule, lambda n: "1," * (n // 2) + "1"),
    "a schedule: picks": (schedule, lambda n: "~," * (n // 2) + "1"),
    "a schedule: a number": (schedule, lambda n: "1" * n + "x"),
    "a duration": (duration, lambda n: "1s" * (n // 2) + "x"),
    "addresses": (lambda text: addresses(text, "joe"), lambda n: "$USER," * (n // 6)),
    "one address": (unsafe_addresses, lambda n: "a." * (n // 2) + "@"),
    "an allow file": (users_in, lambda n: "a " * (n // 2) + "#" * n),
    "a control message": (received_in_pieces, lambda n: "x" * n),
    "output: blanks": (output, lambda n: " " * n),
    "output: equal signs": (output, lambda n: "=" * n),
    "output: lines": (output, lambda n: "\n[pycron: 1" * (n // 11)),
}


def cpu_seconds(reader: Reader, text: str) -> float:
    start = time.process_time()
    reader(text)
    return time.process_time() - start


@pytest.mark.parametrize(("reader", "text"), READERS.values(), ids=READERS)
def test_twice_the_text_takes_twice_the_time(reader: Reader, text: Callable[[int], str]) -> None:
    size = 4000
    while (once := cpu_seconds(reader, text(size))) < SHORTEST and size < LONGEST:
        size *= 2
    twice = min(cpu_seconds(reader, text(2 * size)) for _ in range(2))
    once = max(once, SHORTEST)
    assert twice < MOST * once, f"{size} characters: {once:.3f} s, twice as many: {twice:.3f} s"


@pytest.mark.parametrize("text", ["[" * 100_000, "x = " + "[" * 100_000])
def test_a_configuration_that_is_nested_too_deeply_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pycron.toml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        read_config(path, required=True)
