"""The Job that tries out an entry: how its command runs is kept, everything else is left out."""

import pytest

from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.delivery_jobs import HOOK_SETTINGS
from pycron.engine.tested_job import job_of_test
from pycron.model.job import Job, Source
from pycron.model.settings import SETTINGS, MailOn, Setting, Settings
from pycron.schedule.expressions import NoSchedule

ENTRY = (
    "CRON_NAME=x CRON_TIMEOUT=1h CRON_KILL_AFTER=3s CRON_MEMORY_MAX=1G CRON_NICE=7 CRON_UMASK=077"
    " CRON_CWD=/usr CRON_POOL=p CRON_PRIORITY=5 CRON_RETRIES=3 CRON_CONCURRENCY=queue"
    " CRON_MAX_RUNNING=2 CRON_CATCHUP=all CRON_START_DEADLINE=1m CRON_JITTER=1h CRON_MAIL_ON=always"
    " CRON_ON_FAILURE=x CRON_NOTIFY=ops CRON_PING_URL=https://example.org/x CRON_EXPECT_WITHIN=1h"
    " CRON_TZ=Europe/Berlin @daily -q command%input\n"
)


def job() -> Job:
    (only,) = parse(f"A=1\n{ENTRY}", Source("joe", "joe"), ReaderContext()).jobs
    return only


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=list(SETTINGS))
def test_only_settings_of_the_process_are_kept(setting: Setting) -> None:
    name = setting.attribute
    value = getattr(job_of_test(job(), environment=False).settings, name)
    if name in HOOK_SETTINGS:
        assert value == getattr(job().settings, name) != getattr(Settings(), name)
    else:
        assert value == (MailOn.NEVER if name == "mail_on" else getattr(Settings(), name))


def test_it_is_another_job_with_the_same_command() -> None:
    one, other = job(), job_of_test(job(), environment=False)
    assert (other.command, other.stdin, other.user) == (one.command, one.stdin, one.user)
    assert other.environment == one.environment
    assert other.id != one.id
    assert isinstance(other.schedule, NoSchedule)
    assert (other.name, other.flags) == ("x:test", "")


def test_the_environment_is_printed_in_place_of_the_command() -> None:
    shown = job_of_test(job(), environment=True)
    assert (shown.command, shown.stdin) == ("/usr/bin/env", None)
    assert shown.environment == job().environment
