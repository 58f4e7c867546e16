"""How much of an output the program of a delivery gets."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from pycron.config import Config
from pycron.delivery.programs import Programs, Sending
from pycron.engine.delivery_jobs import mail_job, ping_job
from pycron.model.delivery import Mail, Occasion
from pycron.model.history import AttemptRecord, RunRecord
from pycron.model.job import Job, Source
from pycron.model.run import AttemptKey, Outcome, RunKey
from pycron.model.settings import Settings
from pycron.ports import History
from pycron.schedule.expressions import NoSchedule
from pycron.system.accounts import Accounts
from pycron.system.output_names import output_name

RUN = RunKey("0123456789abcdef", 1_772_953_200)
JOB = Job(
    id=RUN.job_id, name="sync", source=Source("alice", "alice"), line=1, user="alice",
    schedule=NoSchedule(), command="sync", stdin=None, environment=(),
    settings=Settings(ping_url="https://hc.example/uuid"),
)  # fmt: skip
MAIL = mail_job(JOB, Occasion.OUTPUT, Mail(("alice",), "alice"))
PING = ping_job(JOB, Occasion.SUCCEEDED)


class OneRun:
    """A History of one Run, whose output is in a file."""

    def __init__(self, attempt: AttemptRecord) -> None:
        self._attempt = attempt

    def run(self, key: RunKey) -> RunRecord:
        return RunRecord(
            1, key, JOB.name, "alice", 1, "alice", "@yearly", None, "sync", Outcome.SUCCEEDED, None,
            dead=False, retry_at=None, started_by=None, attempts=(self._attempt,),
        )  # fmt: skip

    def short_output(self, attempt: AttemptKey) -> None:
        return None


def given(
    directory: Path, delivery: Job | None, file: bytes, printed: int, kept: int, **options: Any
) -> tuple[dict[str, Any], bytes]:
    """The facts and the output that the program gets about a Run with this output file."""
    assert delivery is not None
    path = directory / output_name(AttemptKey(RUN, 1))
    path.parent.mkdir()
    path.write_bytes(file)
    attempt = AttemptRecord(1, output_bytes=printed, output_kept=kept)
    sending = Sending(lambda: Config(**options), directory, directory / "receipts", None)
    programs = Programs(cast(History, OneRun(attempt)), sending, Accounts())
    stdin = programs.program(RUN._replace(job_id=delivery.id), delivery).stdin
    assert stdin is not None
    request, _, output = stdin.encode("utf-8", "surrogateescape").partition(b"\n")
    return json.loads(request)["run"], output


def cut_file(limit: int, missing: int) -> bytes:
    """What the runner stores of an output that is longer than the limit."""
    half = limit // 2
    return (
        b"a" * (limit - half) + b"\n[pycron: %d bytes are not kept here]\n" % missing + b"z" * half
    )


def test_an_output_within_the_limit_is_mailed_whole(tmp_path: Path) -> None:
    facts, output = given(tmp_path, MAIL, b"x" * 1000, 1000, 1000, mail_bytes=1000)
    assert output == b"x" * 1000
    assert (facts["printed"], facts["kept"]) == (1000, 1000)


def test_a_longer_output_is_mailed_without_its_middle(tmp_path: Path) -> None:
    facts, output = given(tmp_path, MAIL, b"a" * 600 + b"z" * 601, 1201, 1201, mail_bytes=1001)
    assert output == b"a" * 501 + b"\n[pycron: 200 bytes are not kept here]\n" + b"z" * 500
    assert (facts["printed"], facts["kept"]) == (1201, 1001)


@pytest.mark.parametrize("mail_bytes", [1001, 2000])
def test_what_the_runner_has_cut_is_mailed_as_it_is(tmp_path: Path, mail_bytes: int) -> None:
    """The line in the middle, which comes on top of the limit, says how much is missing in all."""
    file = cut_file(1001, 9000)
    facts, output = given(tmp_path, MAIL, file, 10_001, 1001, mail_bytes=mail_bytes)
    assert output == file
    assert (facts["printed"], facts["kept"]) == (10_001, 1001)


@pytest.mark.parametrize("mail_bytes", [1, 2, 100, 999, 1000])
def test_a_mail_that_is_shorter_than_what_is_kept(tmp_path: Path, mail_bytes: int) -> None:
    file = cut_file(1001, 9000)
    facts, output = given(tmp_path, MAIL, file, 10_001, 1001, mail_bytes=mail_bytes)
    line = b"\n[pycron: %d bytes are not kept here]\n" % (10_001 - mail_bytes)
    tail = mail_bytes // 2
    assert output == b"a" * (mail_bytes - tail) + line + b"z" * tail
    assert (facts["printed"], facts["kept"]) == (10_001, mail_bytes)


def test_the_output_of_a_lost_attempt_has_a_limit_too(tmp_path: Path) -> None:
    _, output = given(tmp_path, MAIL, b"x" * 1500, 0, 0, mail_bytes=1000)
    assert b"\n[pycron: 500 bytes are not kept here]\n" in output


def test_a_ping_has_the_end_of_the_output(tmp_path: Path) -> None:
    file = b"a" * 10_000 + b"z" * 9_999
    _, output = given(tmp_path, PING, file, 19_999, 19_999)
    assert output == b"a" + b"z" * 9_999
