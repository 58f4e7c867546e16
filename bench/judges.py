"""Compares pycron with six other readers of cron expressions, on what their own tests contain.

    python bench/judges.py DIRECTORY

DIRECTORY/tests has a checkout of each: cronsim, croniter, robfig (robfig/cron), cronos
(HangfireIO/Cronos), croner and cron-parser. DIRECTORY/node_modules has croner and cron-parser
(`npm install --prefix DIRECTORY croner cron-parser`). Nothing of them is copied here.

The tests of robfig/cron and Cronos are tables: the fire time that a row expects is compared. The
other four are run on each expression that their tests contain: the next 10 fire times from a Sunday
on in UTC are compared, or that they refuse it. Expressions with seconds or years are left out,
unless the seconds are 0.

With --documented, each documented difference is printed, too. Exit status 1 if there is a
difference without a reason that docs/judges.md documents.
"""

import datetime
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

from pycron.schedule.expressions import (
    CronSchedule,
    Schedule,
    ScheduleError,
    parse_cron,
    parse_nickname,
)
from pycron.schedule.fields import FieldError
from pycron.schedule.fire_times import fire_times, next_fire
from pycron.schedule.zone import END_OF_TIME, UTC, Zone

START = datetime.datetime(2026, 2, 1, tzinfo=datetime.UTC)  # a Sunday
FIRES = 10
Times = list[int] | None  # None: the expression is refused

# Why pycron refuses what another reader takes: by the message of the error, or by the bad element.
BY_MESSAGE = {
    "a step needs a range": "a step behind a single value (`5/15`)",
    "runs backwards": "a range that runs backwards (`22-2`)",
    "would never run": "a date that never comes",
}
BY_ELEMENT = {
    r"\?.*": "`?` that is not a whole day field",
    r"L": "`L` as a day of the week",
    r"\d+-L(/\d+)?": "a range that ends with `L`",
    r"L-\d+W|L?W?[/-].*|W|LWL?": "`L-3W`, `L/2` and the like",
    r"[HR](\(.*\))?(/\d+)?": "random and hashed values (`H`, `R`)",
    r"\+.*": "`+`, which means AND to croner",
    r"\w+-\w+(#[\dL]|L)": "a range with `#` or `L` behind it (`MON-FRI#1`)",
}


def why_refused(expression: str) -> str | None:
    """The documented reason why pycron refuses an expression; None if there is none."""
    try:
        parse_cron(tuple(expression.split()))
    except FieldError as error:
        bad = error.text.upper()
        found = (why for form, why in BY_ELEMENT.items() if re.fullmatch(form, bad))
        return _by_message(str(error)) or next(found, None)
    except (ScheduleError, ValueError) as error:
        return _by_message(str(error))
    return None


def _by_message(message: str) -> str | None:
    return next((why for part, why in BY_MESSAGE.items() if part in message), None)


def ours(expression: str) -> Schedule | None:
    """The schedule of an expression; None if pycron refuses it."""
    try:
        if expression.startswith("@"):
            return parse_nickname(expression)
        minute, hour, day, month, weekday = expression.split()
        return parse_cron((minute, hour, day, month, weekday))
    except (FieldError, ScheduleError, ValueError):
        return None


def ten(schedule: Schedule | None, start: int) -> Times:
    if schedule is None:
        return None
    return list(islice(fire_times(schedule, UTC, start + 1, END_OF_TIME), FIRES))


def other_day_rule(schedule: Schedule) -> Schedule:
    """The schedule with OR instead of AND between the day fields, or the reverse."""
    assert isinstance(schedule, CronSchedule)
    return replace(schedule, days=replace(schedule.days, both=not schedule.days.both))


def why_different(expression: str, found: Times, theirs: Times, start: int) -> str | None:
    """The documented reason of a difference; None if there is none."""
    schedule = ours(expression)
    if found is None:
        return why_refused(expression)
    if theirs is None:
        return "another reader refuses what cron takes"
    if isinstance(schedule, CronSchedule):
        if ten(other_day_rule(schedule), start) == theirs:
            return "AND or OR between the day fields (star fields)"
        if re.search(r"(\d+|[a-z]{3})-\1\b", expression.lower()):
            return "a range of one value (`5-5`)"
        if "#" in expression and re.search(r"[\d*],[a-z]+#|-\d,", expression):
            return "weekdays beside a numbered one (`0-6,sat#3`)"
        if re.search(r",\*", expression):
            return "a star behind a comma is no star field"
        if re.search(r"\bL?W|\d+[wW]", expression):
            return "`15W`: months without the day are left out"
    return None


def five_fields(text: str) -> str | None:
    """The expression without seconds; None if it has others than 0, or is none."""
    text = " ".join(text.split())
    if re.fullmatch(r"@[a-z]+", text):
        return text
    words = text.split(" ")
    if len(words) == 6 and re.fullmatch("0+", words[0]):
        words = words[1:]
    return " ".join(words) if len(words) == 5 else None


# ---- judges that are run


def quoted(directory: Path, pattern: str) -> list[str]:
    """The strings in the tests that look like expressions, each once."""
    texts = (path.read_text(errors="replace") for path in sorted(directory.rglob(pattern)))
    strings = (each for text in texts for each in re.findall(r"""["'`]([^"'`\n]+)["'`]""", text))
    found = (five_fields(each) for each in strings)
    looks = re.compile(r"@[a-z]+|[\d*?HhRLlWw/,#~()+-]+( [A-Za-z\d*?/,#~()+-]+){4}")
    return list(dict.fromkeys(each for each in found if each and looks.fullmatch(each)))


def by_cronsim(expressions: list[str]) -> Iterator[Times]:
    from cronsim import CronSim, CronSimError

    for each in expressions:
        try:
            yield [int(fire.timestamp()) for fire in islice(CronSim(each, START), FIRES)]
        except CronSimError:
            yield None


def by_croniter(expressions: list[str]) -> Iterator[Times]:
    from croniter import CroniterBadDateError, croniter

    for each in expressions:
        try:
            found = croniter(each, START, ret_type=datetime.datetime)
        except ValueError:
            yield None
            continue
        try:
            yield [int(found.get_next().timestamp()) for _ in range(FIRES)]
        except CroniterBadDateError:
            yield []


_NODE = """
const { createRequire } = require("module");
const need = createRequire(process.argv[1] + "/x.js");
const [directory, judge, start, most] = process.argv.slice(1);
const all = JSON.parse(require("fs").readFileSync(0));
const from = new Date(Number(start) * 1000);
const run = {
  "croner": (e) => { const { Cron } = need("croner");
    return new Cron(e, { timezone: "UTC", paused: true }).nextRuns(Number(most), from); },
  "cron-parser": (e) => { const { CronExpressionParser } = need("cron-parser");
    const found = CronExpressionParser.parse(e, { currentDate: from, tz: "UTC" });
    const dates = []; for (let i = 0; i < most; i++) dates.push(found.next().toDate());
    return dates; },
}[judge];
console.log(JSON.stringify(all.map((e) => {
  try { return run(e).map((d) => d.getTime() / 1000); } catch (error) { return null; } })));
"""


def by_node(judge: str, directory: Path) -> Callable[[list[str]], list[Times]]:
    def ask(expressions: list[str]) -> list[Times]:
        start = str(int(START.timestamp()))
        done = subprocess.run(
            ["node", "-e", _NODE, str(directory), judge, start, str(FIRES)],
            input=json.dumps(expressions), capture_output=True, text=True, check=True,
        )  # fmt: skip
        answers: list[Times] = json.loads(done.stdout)
        return answers

    return ask


# ---- judges whose tables are read


def rows_of_robfig(directory: Path) -> Iterator[tuple[str, int, Zone, Times]]:
    text = (directory / "spec_test.go").read_text()
    form = re.compile(r'\{"([^"]+)", "([^"]+)", (?:"([^"]*)"|true)\}')
    for begin, spec, expected in form.findall(text):
        zone_name = re.match(r"(?:CRON_)?TZ=(\S+) ", spec) or re.match(r"TZ=(\S+) ", begin)
        expression = five_fields(re.sub(r"^(?:CRON_)?TZ=\S+ ", "", spec))
        zone = Zone(zone_name[1], ZoneInfo(zone_name[1])) if zone_name else _own_zone(begin)
        if expression is None:
            continue
        start = _instant(re.sub(r"^TZ=\S+ ", "", begin))
        if expected == "" and "TestNext" not in text[: text.index(f'"{begin}", "{spec}"')]:
            yield expression, start - 1, zone, [start]
        else:
            yield expression, start, zone, [_instant(expected)] if expected else None


def _own_zone(begin: str) -> Zone:
    """The offset that a time has at its end, as a zone; UTC without one."""
    offset = re.search(r"[+-]\d{4}$", begin)
    if offset is None:
        return UTC
    return Zone(begin, datetime.datetime.strptime(offset[0], "%z").tzinfo or datetime.UTC)


def _instant(text: str) -> int:
    for form in ("%Y-%m-%dT%H:%M:%S%z", "%b %d %H:%M %Y", "%b %d %H:%M:%S %Y"):
        try:
            found = datetime.datetime.strptime(re.sub(r"^[A-Z][a-z]{2} ", "", text), form)
        except ValueError:
            continue
        aware = found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
        return int(aware.timestamp())
    raise ValueError(text)


_CRONOS = re.compile(
    r'InlineData\("([^"]+)",\s*"(\d{4}-\d{2}-\d{2}(?: \d{2}:\d{2})?)",\s*'
    r'"(\d{4}-\d{2}-\d{2}(?: \d{2}:\d{2})?)"\)'
)


def rows_of_cronos(directory: Path) -> Iterator[tuple[str, int, Zone, Times]]:
    """The rows without a zone; those tests include the first instant, or begin after it."""
    text = next(directory.rglob("CronExpressionFacts.cs")).read_text()
    for match in _CRONOS.finditer(text):
        method = re.search(r"public void (\w+)", text[match.end() :])
        expression = five_fields(match[1])
        if expression is None or method is None:
            continue
        begin, expected = (_instant_of_cronos(each) for each in match.groups()[1:])
        inclusive = "InclusiveIsFalse" not in method[1]
        yield expression, begin - inclusive, UTC, [expected]


def _instant_of_cronos(text: str) -> int:
    found = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
    return int(found.timestamp())


# ---- the comparison


def compare_run(
    name: str, expressions: list[str], answers: list[Times], count: Counter[str]
) -> None:
    start = int(START.timestamp())
    for expression, theirs in zip(expressions, answers, strict=True):
        found = ten(ours(expression), start)
        note(
            name, expression, found, theirs, why_different(expression, found, theirs, start), count
        )


def compare_rows(
    name: str, rows: Iterator[tuple[str, int, Zone, Times]], count: Counter[str]
) -> None:
    for expression, start, zone, theirs in rows:
        schedule = ours(expression)
        fire = next_fire(schedule, zone, start) if schedule else None
        found = None if fire is None else [fire]
        why = None
        if found != theirs:
            why = _why_row_differs(expression, schedule, zone, start, theirs)
        note(name, expression, found, theirs, why, count)


def _why_row_differs(
    expression: str, schedule: Schedule | None, zone: Zone, start: int, theirs: Times
) -> str | None:
    if schedule is None:
        return why_different(expression, None, theirs, start)
    other = other_day_rule(schedule) if isinstance(schedule, CronSchedule) else schedule
    fire = next_fire(other, zone, start)
    if theirs is not None and [fire] == theirs:
        return "AND or OR between the day fields (star fields)"
    if zone is not UTC:
        return "daylight saving: the rule of Debian's cron"
    return why_different(expression, [fire] if fire else None, theirs, start)


def note(
    name: str, expression: str, found: Times, theirs: Times, why: str | None, count: Counter[str]
) -> None:
    count["cases"] += 1
    if found == theirs:
        count["equal"] += 1
    elif why:
        count["documented"] += 1
        count[f"  {why}"] += 1
        if "--documented" in sys.argv:
            print(f"{name}: {expression!r}: {why}", file=sys.stderr)
    else:
        count["otherwise"] += 1
        print(f"{name}: {expression!r}: {_shown(found)}, there {_shown(theirs)}", file=sys.stderr)


def _shown(times: Times) -> str:
    if times is None:
        return "refused"
    moments = (datetime.datetime.fromtimestamp(each, datetime.UTC) for each in times[:3])
    return " ".join(f"{each:%Y-%m-%dT%H:%M}" for each in moments)


def main() -> int:
    directory = Path(sys.argv[1]).resolve()
    tests = directory / "tests"
    counts: dict[str, Counter[str]] = {}
    runs: dict[str, tuple[str, Callable[[list[str]], Iterator[Times] | list[Times]]]] = {
        "cronsim": ("test_cronsim.py", by_cronsim),
        "croniter": ("test_croniter*.py", by_croniter),
        "croner": ("*.test.ts", by_node("croner", directory)),
        "cron-parser": ("*.test.ts", by_node("cron-parser", directory)),
    }
    for name, (pattern, judge) in runs.items():
        expressions = quoted(tests / name, pattern)
        compare_run(name, expressions, list(judge(expressions)), counts.setdefault(name, Counter()))
    compare_rows("robfig", rows_of_robfig(tests / "robfig"), counts.setdefault("robfig", Counter()))
    compare_rows("cronos", rows_of_cronos(tests / "cronos"), counts.setdefault("cronos", Counter()))
    print("| judge | cases | equal | different, documented | different otherwise |")
    print("|---|---|---|---|---|")
    for name, count in counts.items():
        keys = ("cases", "equal", "documented", "otherwise")
        print(f"| {name} | " + " | ".join(str(count[key]) for key in keys) + " |")
    reasons: Counter[str] = Counter()
    for count in counts.values():
        reasons.update({key: n for key, n in count.items() if key.startswith("  ")})
    for reason, number in reasons.most_common():
        print(f"{number:5} {reason.strip()}")
    return 1 if any(count["otherwise"] for count in counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
