"""What a line means to another cron, and to pycron: the verdicts of `pycron import`."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from pycron.crontab.comparison import Machine, Verdict, compare
from pycron.crontab.other_cron import (
    CRONIE,
    DEBIAN,
    OtherRules,
    debian_field,
    name_is_ignored,
    why_file_is_ignored,
)
from pycron.crontab.reader import ReaderContext
from pycron.model.job import Source
from pycron.schedule.fields import DAY_OF_WEEK, MINUTE
from pycron.system.zone_data import ZoneData

NOW = 1_764_547_200  # 2025-12-01
ZONES = ZoneData("Europe/Berlin")
MACHINE = Machine(ZONES.zone, NOW, {"root", "joe"}.__contains__)
USER, SYSTEM = "joe", None
SAME, CHANGED, WARNING, REFUSED, IGNORED = Verdict

Row = tuple[int, Verdict, str]


def found(text: str, owner: str | None, rules: OtherRules) -> list[Row]:
    context = ReaderContext(zone_exists=ZONES.exists)
    compared = compare(text, Source("t", owner), context, rules, MACHINE)
    return [(each.line, each.verdict, each.code) for each in compared.findings]


@pytest.mark.parametrize(
    ("text", "owner", "debian", "cronie"),
    [
        # the same for all
        ("PATH=/bin\n# x\n\n*/5 * * * * x\n", USER, [(4, SAME, "same")], [(4, SAME, "same")]),
        ("PATH=/bin\n@reboot root x\n", SYSTEM, [(2, SAME, "same")], [(2, SAME, "same")]),
        ("PATH=/bin\n@reboot x\n# no newline", USER, [(2, SAME, "same")], [(2, SAME, "same")]),
        # zones
        ("PATH=/bin\nCRON_TZ=Asia/Kolkata\n0 9 * * * x\n", USER,
         [(2, CHANGED, "setting"), (3, CHANGED, "zone")], [(3, SAME, "same")]),
        ("PATH=/bin\nCRON_TZ=Europe/Berlin\n0 9 * * * x\n", USER,
         [(2, CHANGED, "setting"), (3, SAME, "same")], [(3, SAME, "same")]),
        ("PATH=/bin\nCRON_TZ=America/New_York\n30 2 * * * x\n", USER,
         [(2, CHANGED, "setting"), (3, CHANGED, "zone")], [(3, CHANGED, "zone-shift")]),
        ("PATH=/bin\nCRON_TZ=Nowhere/City\n0 9 * * * x\n", USER,
         [(2, REFUSED, "unknown-zone"), (3, SAME, "same")],
         [(2, REFUSED, "unknown-zone"), (3, SAME, "same")]),
        ("PATH=/bin\nCRON_TZ=Asia/Kolkata 0 9 * * * x\n", USER,
         [(2, CHANGED, "never-ran")], [(2, CHANGED, "never-ran")]),
        # the hour that the clock skips
        ("PATH=/bin\n0,30 2 * * * x\n", USER, [(2, CHANGED, "skipped-hour")],
         [(2, CHANGED, "skipped-hour")]),
        ("PATH=/bin\n30 2,3 * * * x\n0,30 2 * 7 * x\n", USER,
         [(2, SAME, "same"), (3, SAME, "same")], [(2, SAME, "same"), (3, SAME, "same")]),
        ("PATH=/bin\n*/10 * * * * x\n", USER, [(2, SAME, "same")], [(2, SAME, "same")]),
        # one bad line
        ("PATH=/bin\n61 * * * * x\n1 * * * * y\n", USER,
         [(2, IGNORED, "discarded"), (2, REFUSED, "bad-minute")],
         [(2, REFUSED, "bad-minute"), (3, SAME, "same")]),
        ("PATH=/bin\n1 * * * * nobody-here x\n", SYSTEM,
         [(2, IGNORED, "discarded")], [(2, WARNING, "unknown-user")]),
        ("PATH=/bin\n1 * * * * x", USER,
         [(0, IGNORED, "discarded")], [(2, CHANGED, "unterminated")]),
        ("PATH=/bin\nMAILTO=\n1 * * * * x\n", USER,
         [(2, IGNORED, "discarded")], [(3, SAME, "same")]),
        # fields
        ("PATH=/bin\n0~30 4 * * * x\n", USER,
         [(2, CHANGED, "cut-off")], [(2, CHANGED, "stable-random")]),
        ("PATH=/bin\n~ 4 * * * x\n", USER,
         [(2, IGNORED, "discarded")], [(2, CHANGED, "stable-random")]),
        ("PATH=/bin\nH 4 * * * x\n", USER,
         [(2, IGNORED, "discarded")], [(2, CHANGED, "never-ran")]),
        ("PATH=/bin\n@every 90s x\n", USER,
         [(2, IGNORED, "discarded")], [(2, CHANGED, "never-ran")]),
        ("PATH=/bin\n0 4 * * 5#2 x\n", USER,
         [(2, CHANGED, "cut-off")], [(2, CHANGED, "never-ran")]),
        ("PATH=/bin\n0 4 ? * fril x\n", USER,
         [(2, IGNORED, "discarded")], [(2, CHANGED, "never-ran")]),
        ("PATH=/bin\n0 4 l * * x\n", USER,
         [(2, IGNORED, "discarded")], [(2, CHANGED, "never-ran")]),
        ("PATH=/bin\n0 4 * jul THU x\n", USER, [(2, SAME, "same")], [(2, SAME, "same")]),
        ("PATH=/bin\n1-3-5 4 * * * x\n", USER,
         [(2, REFUSED, "bad-minute")], [(2, REFUSED, "bad-minute")]),
        ("PATH=/bin\n0 0 30 2 * x\n", USER,
         [(2, REFUSED, "never-fires")], [(2, REFUSED, "never-fires")]),
        # flags, the command
        ("PATH=/bin\n-1 * * * * root x\n", SYSTEM,
         [(2, IGNORED, "discarded")], [(2, SAME, "same")]),
        ("PATH=/bin\n1 * * * * -n x\n", USER, [(2, CHANGED, "flag")], [(2, SAME, "same")]),
        ("PATH=/bin\n1 * * * * -s x\n", USER, [(2, CHANGED, "flag")], [(2, CHANGED, "flag")]),
        ("PATH=/bin\n1 * * * * a\\\\b\n", USER, [(2, CHANGED, "backslash")], [(2, SAME, "same")]),
        (f"PATH=/bin\n1 * * * * {'x' * 999}\n", USER,
         [(2, IGNORED, "discarded")], [(2, SAME, "same")]),
        ("PATH=/bin\n1 * * * * x\r\n", USER,
         [(2, WARNING, "carriage-return")], [(2, WARNING, "carriage-return")]),
        # the environment, mail
        ("1 * * * * x\n2 * * * * x\n", USER, [(1, SAME, "same"), (2, SAME, "same")],
         [(1, CHANGED, "path"), (2, SAME, "same")]),
        ("PATH=/bin\nRANDOM_DELAY=5\n1 * * * * x\n", USER,
         [(3, CHANGED, "random-delay")], [(3, CHANGED, "random-delay")]),
        ("PATH=/bin\nMAILTO=a|b\n1 * * * * x\n", USER,
         [(2, CHANGED, "mail-unsafe"), (3, SAME, "same")],
         [(2, CHANGED, "mail-unsafe"), (3, SAME, "same")]),
        ("PATH=/bin\nMAILTO=$USER\n1 * * * * x\n", USER,
         [(2, CHANGED, "mail-unsafe"), (3, SAME, "same")], [(3, SAME, "same")]),
        ("PATH=/bin\nMAILTO=-x\n1 * * * * x\n", USER,
         [(2, CHANGED, "mail-unsafe"), (3, SAME, "same")],
         [(2, CHANGED, "mail-unsafe"), (3, SAME, "same")]),
        ('PATH=/bin\nMAILTO="a@b.org,c"\n1 * * * * x\n', USER,
         [(3, SAME, "same")], [(3, SAME, "same")]),
        ('PATH=/bin\nA="b "\n1 * * * * x\n', USER,
         [(2, CHANGED, "quoted-blank"), (3, SAME, "same")], [(3, SAME, "same")]),
        ("PATH=/bin\nCRON_RETRIES=2\n1 * * * * x\n", USER,
         [(2, CHANGED, "setting"), (3, SAME, "same")],
         [(2, CHANGED, "setting"), (3, SAME, "same")]),
        ("PATH=/bin\nCRON_JOB_DIR=/srv\n1 * * * * x\n", USER,
         [(2, REFUSED, "unknown-setting"), (3, SAME, "same")],
         [(2, REFUSED, "unknown-setting"), (3, SAME, "same")]),
    ],
)  # fmt: skip
def test_a_table(text: str, owner: str | None, debian: list[Row], cronie: list[Row]) -> None:
    assert (found(text, owner, DEBIAN), found(text, owner, CRONIE)) == (debian, cronie)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("5", "5"), ("*/7", "*/7"), ("1-5/2,9", "1-5/2,9"), ("5#3", "5"), ("0~30", "0"),
        ("1-3-5", "1-3"), ("*-5", "*"), ("**", "*"), ("55-5", "55-5"), ("1-5/2/3", "1-5/2"),
        ("5/2", None), ("*/0", None), ("60", None), ("~", None), ("H", None), ("", None),
        ("5x", None), ("1,", None), ("1-60", None),
    ],
)  # fmt: skip
def test_what_debian_takes_of_a_field(text: str, taken: str | None) -> None:
    assert debian_field(text, MINUTE) == taken


def test_names_in_a_field_of_debian() -> None:
    assert debian_field("Mon-fri,SUN", DAY_OF_WEEK) == "Mon-fri,SUN"
    assert debian_field("sunday", DAY_OF_WEEK) is None


@pytest.mark.parametrize(
    ("name", "debian", "cronie"),
    [
        ("backup", False, False), ("php-5_x", False, False), ("a.b", True, False),
        ("x~", True, True), ("x.rpmsave", True, True), ("#x", True, True), ("a b", True, False),
    ],
)  # fmt: skip
def test_names_in_cron_d(name: str, debian: bool, cronie: bool) -> None:
    assert (name_is_ignored(DEBIAN, name), name_is_ignored(CRONIE, name)) == (debian, cronie)


@pytest.mark.parametrize(
    ("mode", "links", "is_user_table", "debian", "cronie"),
    [
        (0o600, 1, True, True, True), (0o644, 1, True, False, True), (0o640, 1, True, False, True),
        (0o400, 1, True, False, True), (0o600, 2, True, False, False),
        (0o644, 1, False, True, True), (0o664, 1, False, False, False),
        (0o755, 1, False, True, False), (0o644, 2, False, False, True),
        (0o4600, 1, True, False, False),
    ],
)  # fmt: skip
def test_modes_of_files(
    mode: int, links: int, is_user_table: bool, debian: bool, cronie: bool
) -> None:
    for rules, runs in ((DEBIAN, debian), (CRONIE, cronie)):
        for right_owner in (True, False):
            reason = why_file_is_ignored(
                rules, mode, links, is_user_table=is_user_table, right_owner=right_owner
            )
            assert (reason is None) == (runs and right_owner)


# ---- real tables

CORPUS = Path(os.environ.get("PYCRON_CORPUS", "/nowhere"))
needs_corpus = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="PYCRON_CORPUS does not name the folder of real crontabs"
)


def corpus_findings(rules: OtherRules) -> dict[str, list[Row]]:
    """The Findings of each table. The users are those of the corpus."""
    lines = (CORPUS / "users.txt").read_text().splitlines()
    users = {line for line in lines if line and not line.startswith("#")}
    machine = Machine(ZONES.zone, NOW, users.__contains__)
    context = ReaderContext(zone_exists=ZONES.exists)
    rows = {}
    for expected in corpus_verdicts():
        text = (CORPUS / expected["file"]).read_bytes().decode("utf-8", "surrogateescape")
        source = Source(expected["file"], "bench" if expected["format"] == "user" else None)
        findings = compare(text, source, context, rules, machine).findings
        rows[expected["file"]] = [(each.line, each.verdict, each.code) for each in findings]
    return rows


def corpus_verdicts() -> list[dict[str, str]]:
    return [json.loads(line) for line in (CORPUS / "expected.jsonl").read_text().splitlines()]


@needs_corpus
def test_a_table_is_left_out_if_debian_runs_nothing_of_it() -> None:
    found = corpus_findings(DEBIAN)
    left_out = {file for file, rows in found.items() if any(r[2] == "discarded" for r in rows)}
    assert left_out == {row["file"] for row in corpus_verdicts() if not row["accepted"]}


REFUSALS = {
    "refused not-a-table": 1, "refused bad-hour": 2, "refused bad-day-of-month": 5,
    "refused bad-username": 13, "refused prose": 9, "refused seconds-field": 3,
}  # fmt: skip


@needs_corpus
@pytest.mark.parametrize(
    ("rules", "counts"),
    [
        (DEBIAN, {
            "same same": 766, "ignored discarded": 33, "changed setting": 1, "changed zone": 5,
            "changed skipped-hour": 3, "warning carriage-return": 2, **REFUSALS,
        }),
        (CRONIE, {
            "same same": 627, "changed path": 231, "changed unterminated": 22,
            "changed skipped-hour": 3, "warning carriage-return": 2, **REFUSALS,
        }),
    ],
)  # fmt: skip
def test_the_counts_of_the_corpus(rules: OtherRules, counts: dict[str, int]) -> None:
    rows = [row for found in corpus_findings(rules).values() for row in found]
    assert Counter(f"{verdict} {code}" for _, verdict, code in rows) == counts
