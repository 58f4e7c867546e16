"""The configuration of a running daemon: what a reload changes, and what it leaves alone."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pycron.config import Config, ConfigError, Configuration, FileState, NotificationOptions
from pycron.config.configuration import compare
from pycron.config.options import PoolOptions


def any_zone(_name: str) -> bool:
    return True


def written(directory: Path, text: str) -> Path:
    path = directory / "pycron.toml"
    path.write_text(text)
    return path


def test_nothing_differs() -> None:
    assert compare(Config(), Config()) == FileState()


BASE = Config(pools={"db": PoolOptions(2)})


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"running": 5, "mail_bytes": 9}, ("limits.running", "mail.bytes")),
        ({"has_mail": True}, ("[mail]",)),
        ({"pools": {"db": PoolOptions(2), "net": PoolOptions(1)}}, ("pools.net",)),
        ({"pools": {}}, ("pools.db",)),
        ({"pools": {"db": PoolOptions(3)}}, ("pools.db",)),
        ({"defaults": {"timeout": 9}}, ("defaults.CRON_TIMEOUT",)),
        ({"ceilings": {"retries": 9}}, ("ceilings.CRON_RETRIES",)),
        ({"notifications": {"ops": NotificationOptions("json://x")}}, ("notify.ops",)),
    ],
)
def test_the_options_that_differ_are_named(changes: dict[str, Any], keys: tuple[str, ...]) -> None:
    assert compare(BASE, replace(BASE, **changes)) == FileState(at_reload=keys)


def test_a_reload_exchanges_all_options(tmp_path: Path) -> None:
    path = written(tmp_path, "[limits]\nrunning = 5\n")
    configuration = Configuration(path)
    before = configuration.config
    path.write_text("[limits]\nrunning = 6\n[pools]\ndb = 1\n")
    state = FileState(at_reload=("limits.running", "pools.db"))
    assert configuration.look(any_zone) == state
    assert configuration.config is before
    assert configuration.reload(any_zone) == state
    assert configuration.current() == Config(running=6, pools={"db": PoolOptions(1)})
    assert configuration.look(any_zone) == FileState()


def test_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, "[limits]\nrunning = 5\n")
    configuration = Configuration(path)
    path.write_text("[pools]\ndb = 1\n[limits]\nrunning = 0\n")
    with pytest.raises(ConfigError, match=r"bad limits\.running: 0"):
        configuration.reload(any_zone)
    assert configuration.config == Config(running=5)
    error = configuration.look(any_zone).error
    assert error is not None
    assert str(error) == f"{path}: bad limits.running: 0 (a whole number above 0)"
    assert (error.problem.file, error.problem.line) == (str(path), 0)


def test_an_option_that_needs_a_new_start_keeps_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pycron.config.configuration.AT_START", frozenset({"limits.clients"}))
    path = written(tmp_path, "[limits]\nclients = 5\n")
    configuration = Configuration(path)
    path.write_text("[limits]\nclients = 6\nrunning = 7\n")
    state = configuration.reload(any_zone)
    assert state == FileState(at_reload=("limits.running",), at_start=("limits.clients",))
    assert configuration.config == Config(clients=5, running=7)
    assert configuration.look(any_zone) == FileState(at_start=("limits.clients",))
    path.write_text("[limits]\nclients = 5\nrunning = 7\n")
    assert configuration.look(any_zone) == FileState()


def test_a_daemon_that_cannot_use_an_option(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    configuration = Configuration(
        path, objection=lambda config: "no pools here" if config.pools else None
    )
    path.write_text("[pools]\ndb = 1\n")
    with pytest.raises(ConfigError, match="no pools here"):
        configuration.reload(any_zone)
    assert configuration.config == Config()
    with pytest.raises(ConfigError, match="no pools here"):
        Configuration(path, objection=lambda _: "no pools here")


def test_a_file_that_was_removed(tmp_path: Path) -> None:
    """Without a file the defaults hold, unless the file was named."""
    path = written(tmp_path, "[limits]\nrunning = 5\n")
    usual, named = Configuration(path), Configuration(path, required=True)
    path.unlink()
    usual.reload(any_zone)
    assert usual.config == Config()
    with pytest.raises(ConfigError, match="no such file"):
        named.reload(any_zone)
    assert named.config == Config(running=5)


def test_a_daemon_without_a_file(tmp_path: Path) -> None:
    configuration = Configuration(None)
    assert configuration.reload(any_zone) == FileState()
    assert configuration.config == Config()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = written(tmp_path, "[limits]\nrunning = 5\n")
    configuration = Configuration(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="no regular file: it can be read only at the start"):
        configuration.reload(any_zone)


def test_a_zone_is_checked_by_the_zone_data_of_the_daemon(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    configuration = Configuration(path)
    path.write_text('[defaults]\nCRON_TZ = "Mars/Olympus"\n')
    with pytest.raises(ConfigError, match="no such time zone"):
        configuration.reload({"UTC"}.__contains__)
    configuration.reload({"Mars/Olympus"}.__contains__)
    assert configuration.config.defaults == {"zone": "Mars/Olympus"}


def test_no_message_shows_a_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Configuration(written(tmp_path, '[defaults]\nCRON_PING_URL = "ftp://hunter2"\n'))
    assert "bad defaults.CRON_PING_URL: not shown" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_daemon_that_keeps_everything_in_memory_has_less(tmp_path: Path) -> None:
    """Whatever the file says, also after a reload; smaller limits of the file hold."""
    path = tmp_path / "pycron.toml"
    path.write_text('[retention]\noutput_bytes = "1T"\n')
    configuration = Configuration(path)
    configuration.keep_within(64 * 2**20)
    keep = configuration.config.keep
    assert (keep.runs, keep.output_bytes, keep.database_bytes) == (4096, 8 * 2**20, 8 * 2**20)
    assert configuration.config.output_bytes == 2**20
    path.write_text('[limits]\noutput_bytes = "10K"\n[retention]\noutput_bytes = "2T"\n')
    assert configuration.reload(lambda _: True).at_reload == ("limits.output_bytes",)
    assert configuration.config.keep == keep
    assert configuration.config.output_bytes == 10 * 2**10
