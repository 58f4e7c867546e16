"""Deliveries of a real daemon: who gets which mail, what is recorded, and what stays secret."""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support.fake_sendmail import FakeSendmail
from tests.support.http_server import http_server
from tests.support.operated_daemon import OWN_NAME, OperatedDaemon, operated_daemon
from tests.support.thoroughness import slow_after
from tests.support.waiting import until

NEVER = "@yearly"


@contextmanager
def mailing_daemon(
    directory: Path, table: str, config: str = ""
) -> Iterator[tuple[OperatedDaemon, FakeSendmail]]:
    sendmail = FakeSendmail(directory)
    with operated_daemon(directory, table, sendmail.config + config) as op:
        yield op, sendmail


def mails(sendmail: FakeSendmail, count: int) -> list[EmailMessage]:
    """The messages, as soon as there are so many."""
    return until(lambda: (found := sendmail.messages())[count - 1 :] and found, patience=30)


def body(message: EmailMessage) -> bytes:
    content = message.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


# ---- mail


def test_a_mail_has_the_output_of_the_run_unchanged(tmp_path: Path) -> None:
    command = r"printf 'gr\303\274n\r\000\377 \n.\nFrom here'"
    with mailing_daemon(tmp_path, f"CRON_NAME=print {NEVER} {command}\n") as (op, sendmail):
        run_id = op.start("print")
        (mail,) = mails(sendmail, 1)
        assert body(mail) == b"gr\xc3\xbcn\r\x00\xff \n.\nFrom here"
        assert mail["To"] == OWN_NAME
        assert mail["From"].startswith('"(Cron Daemon)" <')
        assert mail["Subject"].startswith(f"Cron <{OWN_NAME}@")
        assert (mail["X-Cron-Run"], mail["X-Cron-Outcome"]) == (run_id, "succeeded")
        (delivery,) = until(lambda: [d for d in deliveries(op) if d["outcome"]])
        assert (delivery["job"], delivery["delivery"]) == ("print:mail", "mail output")
        assert (delivery["about"], delivery["outcome"]) == (run_id, "succeeded")
        assert op.row("show", run_id)["delivery_list"][0]["run_id"] == delivery["run_id"]


def deliveries(op: OperatedDaemon) -> list[dict[str, object]]:
    return op.rows("runs", "--deliveries")


@pytest.mark.parametrize(
    ("before", "command", "wanted"),
    slow_after(
        4,
        [
            ("", "true", 0),
            ("", "echo x", 1),
            ("MAILTO=''\n", "echo x; exit 3", 0),
            ("CRON_MAIL_ON=failure\n", "exit 3", 1),
            ("MAILTO=a@example.org,$USER\n", "echo x", 1),
            ("CRON_MAIL_ON=failure\n", "echo x", 0),
            ("CRON_MAIL_ON=always\n", "true", 1),
            ("CRON_MAIL_ON=never\n", "echo x; exit 3", 0),
        ],
    ),
)
def test_which_runs_are_mailed(tmp_path: Path, before: str, command: str, wanted: int) -> None:
    with mailing_daemon(tmp_path, f"{before}CRON_NAME=j {NEVER} {command}\n") as (op, sendmail):
        run_id = op.start("j")
        op.daemon.wait_for("attempt_ended", run_id=run_id)
        assert len(op.row("show", run_id)["delivery_list"]) == wanted
        assert len(mails(sendmail, wanted) if wanted else sendmail.messages()) == wanted


def test_the_last_attempt_is_mailed_once(tmp_path: Path) -> None:
    settings = "CRON_RETRIES=2 CRON_RETRY_DELAY=1s CRON_RETRY_JITTER=0"
    table = f"CRON_NAME=bad {settings} {NEVER} echo $CRON_ATTEMPT; exit 7\n"
    with mailing_daemon(tmp_path, table) as (op, sendmail):
        run_id = op.start("bad")
        op.daemon.wait_for("attempt_ended", run_id=run_id, attempt=3)
        (mail,) = mails(sendmail, 1)
        assert body(mail) == b"3\n"
        assert mail["X-Cron-Attempts"] == "3"
        assert "7" in mail["Subject"]
        assert len(op.row("show", run_id)["delivery_list"]) == 1


@pytest.mark.slow
def test_a_daemon_that_is_killed_sends_each_mail_once(tmp_path: Path) -> None:
    """The mail of a Run that ended before the kill is sent by the next daemon."""
    chance = random.Random("mailed once")
    with mailing_daemon(tmp_path, "CRON_NAME=j @every 1s echo $CRON_RUN_ID\n") as (op, sendmail):
        mails(sendmail, 1)
        for _ in range(6):
            time.sleep(chance.uniform(0.02, 1.5))  # a random moment is the point
            op.kill_daemon()
        op.row("pause", "j")
        until(lambda: not op.rows("top")[0]["running"] and op.row("top")["counts"]["waiting"] == 0)
        until(lambda: all(each["outcome"] for each in deliveries(op)), patience=30)
        printed = [run["run_id"] for run in op.runs("j") if run["outcome"] == "succeeded"]
        assert len(printed) > 3
        sent = [body(mail).decode().strip() for mail in sendmail.messages()]
        assert Counter(sent) == Counter(printed)


@pytest.mark.slow
def test_many_mails_of_one_job_are_summed_up(tmp_path: Path) -> None:
    table = "CRON_NAME=often @every 1s echo x\n"
    with mailing_daemon(tmp_path, table, "job_hour = 2\n") as (op, sendmail):
        mails(sendmail, 2)
        op.daemon.wait_for("attempt_ended", job="often", count=4)
        summed = [each for each in deliveries(op) if each["outcome"] == "skipped"]
        (summary,) = [each for each in deliveries(op) if each["delivery"] == "mail summary"]
        assert summed
        assert {each["reason"] for each in summed} == {f"summed up in {summary['run_id']}"}
        assert len(sendmail.messages()) == 2


def test_a_mail_that_cannot_be_sent_is_a_dead_letter_and_can_be_redriven(tmp_path: Path) -> None:
    with mailing_daemon(tmp_path, f"CRON_NAME=j {NEVER} echo x\n") as (op, sendmail):
        sendmail.does("echo 'no such user' >&2; exit 67")  # EX_NOUSER: another try is no use
        run_id = op.start("j")
        failed = op.daemon.wait_for("delivery_failed", job="j:mail")
        (dead,) = op.rows("dead", "list")
        assert (dead["run_id"], dead["about"]) == (failed["run_id"], run_id)
        assert "no such user" in op.run("log", failed["run_id"]).stdout
        sendmail.does("exit 0")
        op.row("dead", "redrive", failed["run_id"])
        until(lambda: op.row("show", failed["run_id"])["outcome"] == "succeeded")
        assert len(sendmail.messages()) == 2


@pytest.mark.slow
def test_without_a_sendmail_program_the_log_says_so_once(tmp_path: Path) -> None:
    table = "MAILTO=root\nCRON_NAME=j @every 1s echo x\n"
    config = f'[mail]\nsendmail = "{tmp_path}/none"\n'
    with operated_daemon(tmp_path, table, config) as op:
        op.daemon.wait_for("attempt_ended", count=3)
        assert len(op.daemon.log("mail_nowhere")) == 1
        assert op.row("status")["mail"].startswith("nowhere: there is no sendmail program")
        (problem,) = op.rows("check")
        assert (problem["code"], problem["line"]) == ("mail-nowhere", 1)
        assert deliveries(op) == []
        assert op.run("log", "j").stdout == "x\n"


@pytest.mark.slow
def test_transport_none_turns_mail_off(tmp_path: Path) -> None:
    with operated_daemon(
        tmp_path, f"CRON_NAME=j {NEVER} echo x\n", '[mail]\ntransport = "none"\n'
    ) as op:
        run_id = op.start("j")
        op.daemon.wait_for("attempt_ended", run_id=run_id)
        assert op.row("show", run_id)["delivery_list"] == []
        assert op.row("status")["mail"].startswith("off")
        assert "mail is off" in op.run("test-mail").stderr


def test_test_mail_shows_what_the_program_says(tmp_path: Path) -> None:
    with mailing_daemon(tmp_path, f"{NEVER} true\n") as (op, sendmail):
        sendmail.does("echo queued as 4711")
        done = op.run("test-mail")
        assert (done.returncode, "queued as 4711" in done.stdout) == (0, True)
        (mail,) = sendmail.messages()
        assert mail["To"] == OWN_NAME
        sendmail.does("echo 'no such user' >&2; exit 67")
        done = op.run("test-mail")
        assert (done.returncode, "no such user" in done.stdout) == (1, True)


def test_the_foreground_mails_only_on_request(tmp_path: Path) -> None:
    """Without MAILTO and without [mail], a container has no owner who reads mail."""
    with operated_daemon(tmp_path, f"CRON_NAME=j {NEVER} echo x\n") as op:
        run_id = op.start("j")
        op.daemon.wait_for("attempt_ended", run_id=run_id)
        assert op.row("show", run_id)["delivery_list"] == []
        assert op.daemon.log("mail_nowhere") == []


# ---- late


@pytest.mark.slow
def test_a_late_run_and_its_end_are_told_once(tmp_path: Path) -> None:
    command = f"while [ ! -e {tmp_path}/gate ]; do sleep 0.05; done"
    table = f"CRON_NAME=slow CRON_EXPECT_WITHIN=1s {NEVER} {command}\n"
    with mailing_daemon(tmp_path, table) as (op, sendmail):
        run_id = op.start("slow")
        (late,) = mails(sendmail, 1)
        assert late["X-Cron-Run"] == run_id
        assert "late" in late["Subject"]
        op.open_gate()
        _, recovered = mails(sendmail, 2)
        assert "recovered" in recovered["Subject"]
        told = [each["delivery"] for each in op.row("show", run_id)["delivery_list"]]
        assert told == ["mail late", "mail recovered"]


def test_a_run_in_time_is_not_late(tmp_path: Path) -> None:
    table = f"CRON_NAME=fast CRON_EXPECT_WITHIN=1h {NEVER} true\n"
    with mailing_daemon(tmp_path, table) as (op, _):
        run_id = op.start("fast")
        op.daemon.wait_for("attempt_ended", run_id=run_id)
        assert op.row("show", run_id)["delivery_list"] == []
        assert op.row("top")["counts"] == {"running": 0, "waiting": 0}


# ---- pings and notifications


@pytest.mark.slow
def test_the_pings_of_a_failure_and_a_recovery_come_in_order(tmp_path: Path) -> None:
    with http_server() as server:
        url = server.url("/token")
        settings = "CRON_RETRIES=2 CRON_RETRY_DELAY=1s CRON_RETRY_JITTER=0"
        command = f"echo out; [ -e {tmp_path}/gate ] || exit 3"
        table = f"CRON_NAME=j CRON_PING_URL={url} {settings} {NEVER} {command}\n"
        with operated_daemon(tmp_path, table) as op:
            failed = op.start("j")
            until(lambda: len(server.received) == 2, patience=30)
            assert op.row("show", failed)["outcome"] == "failed"
            op.open_gate()
            op.start("j")
            until(lambda: len(server.received) == 4, patience=30)
            assert [each.path for each in server.received] == [
                "/token/start", "/token/3", "/token/start", "/token",
            ]  # fmt: skip
            assert [each.body for each in server.received] == [b"", b"out\n", b"", b"out\n"]
            rids = [each.query["rid"] for each in server.received]
            assert rids[0] == rids[1] != rids[2] == rids[3]
            assert_secret(op, tmp_path, "token")


def test_a_notification_tells_a_failure_and_a_recovery(tmp_path: Path) -> None:
    pytest.importorskip("apprise")
    with http_server() as server:
        url = server.url("/token").replace("http://", "json://")
        config = f'[notify.ops]\nurl = "{url}"\non = ["failure", "recovery"]\n'
        command = f"[ -e {tmp_path}/gate ]"
        table = f"CRON_NAME=j CRON_NOTIFY=ops {NEVER} {command}\n"
        with operated_daemon(tmp_path, table, config) as op:
            op.start("j")
            until(lambda: len(server.received) == 1, patience=30)
            op.open_gate()
            op.start("j")
            until(lambda: len(server.received) == 2, patience=30)
            titles = [json.loads(each.body)["title"] for each in server.received]
            assert "failed" in titles[0]
            assert "succeeded again" in titles[1]
            assert_secret(op, tmp_path, "token")


def assert_secret(op: OperatedDaemon, directory: Path, secret: str) -> None:
    """The secret of a URL is in no answer and in no log."""
    run_ids = [row["run_id"] for row in op.rows("runs") + deliveries(op)]
    said = [op.run(verb, "--json").stdout for verb in ("list", "runs", "top", "status", "check")]
    said += [op.run("show", run_id).stdout for run_id in run_ids]
    said += [op.run("log", run_id).stdout for run_id in run_ids]
    said.append((directory / "log").read_text())
    assert not [text for text in said if secret in text]


def test_a_foreground_daemon_that_ends_sends_the_last_mail(tmp_path: Path) -> None:
    with mailing_daemon(tmp_path, f"CRON_NAME=j {NEVER} echo last\n") as (op, sendmail):
        op.daemon.wait_for("attempt_ended", run_id=op.start("j"))
        op.daemon.stop()
        (mail,) = sendmail.messages()
        assert body(mail) == b"last\n"
