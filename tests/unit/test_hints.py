"""The hint at the name that was probably meant; no guess is better than a wild one."""

import pytest

from pycron.config.options import OPTIONS
from pycron.model.settings import SETTINGS
from pycron.model.text import hint_at


@pytest.mark.parametrize(
    ("unknown", "meant"),
    [
        ("CRON_TIMEZONE", "CRON_TZ"),
        ("CRON_MEM", "CRON_MEMORY_MAX"),
        ("CRON_MAX_MEMORY", "CRON_MEMORY_MAX"),
        ("CRON_RETRY", "CRON_RETRIES"),
        ("CRON_RETRYS", "CRON_RETRIES"),
        ("CRON_ONFAILURE", "CRON_ON_FAILURE"),
        ("CRON_TIMOUT", "CRON_TIMEOUT"),
        ("CRON_CONCURENCY", "CRON_CONCURRENCY"),
        ("CRON_NICENESS", "CRON_NICE"),
        ("CRON_DIR", "CRON_CWD"),
        ("CRON_KILL", "CRON_KILL_AFTER"),
        ("CRON_tz", "CRON_TZ"),
        ("CRON_USER", None),
        ("CRON_LOG", None),
        ("CRON_", None),
        ("CRON_" + "x" * 100_000, None),
    ],
)
def test_a_setting(unknown: str, meant: str | None) -> None:
    expected = f"did you mean {meant}?" if meant else "see pycrontab(5)"
    assert hint_at(unknown, SETTINGS, "pycrontab(5)") == expected


@pytest.mark.parametrize(
    ("unknown", "meant"),
    [
        ("limits.runing", "limits.running"),
        ("limit.running", "limits.running"),
        ("limits.users_running", "limits.user_running"),
        ("retention.day", "retention.days"),
        ("mail.sendmial", "mail.sendmail"),
        ("limits.foo", None),
        ("foo.bar", None),
        ("", None),
    ],
)
def test_an_option(unknown: str, meant: str | None) -> None:
    expected = f"did you mean {meant}?" if meant else "see pycron.toml(5)"
    assert hint_at(unknown, OPTIONS, "pycron.toml(5)") == expected


def test_a_single_known_name() -> None:
    assert hint_at("urll", ["url"], "x") == "did you mean url?"
    assert hint_at("password", ["url"], "x") == "see x"


def test_no_known_name() -> None:
    assert hint_at("a", [], "x") == "see x"
