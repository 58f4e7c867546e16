"""The pycron.toml of `pycron setup`: it has every option, and changes nothing."""

import re
import tomllib
from pathlib import Path

import pytest

from pycron.config import OPEN_SECTIONS, OPTIONS, Config, read_config
from pycron.config.template import template

TEXT = template("systemctl reload pycron")


def test_the_text_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pycron.toml"
    path.write_text(TEXT)
    assert tomllib.loads(TEXT) == {}
    assert read_config(path, required=True) == Config()


def uncommented(text: str) -> str:
    """The text with every option and section in use, except for options without a default."""
    return re.sub(r"^#(?=\[|\w+ = [^ ])", "", text, flags=re.MULTILINE)


def test_every_option_has_its_default(tmp_path: Path) -> None:
    """With all of them in use, the values are those of an empty configuration."""
    path = tmp_path / "pycron.toml"
    path.write_text(uncommented(TEXT))
    config, default = read_config(path, required=True), Config()
    for option in OPTIONS.values():
        assert getattr(config, option.name) == getattr(default, option.name)
    assert config.pools
    assert config.notifications
    assert config.senders


@pytest.mark.parametrize("key", OPTIONS)
def test_an_option_has_its_section_its_name_and_its_help(key: str) -> None:
    section, _, name = key.partition(".")
    _, _, rest = TEXT.partition(f"\n#[{section}]\n")
    body = rest.split("\n#[")[0]
    assert re.search(rf"^# .*\n#{name} = ", body, re.MULTILINE)
    assert OPTIONS[key].metadata["help"].casefold() in body.casefold()


def test_every_section_is_there() -> None:
    named = {section for section, _, _ in (key.partition(".") for key in OPTIONS)}
    with_names = {"notify.ops", "senders.shop"}
    assert {*named, *OPEN_SECTIONS, *with_names} - {"senders"} == set(
        re.findall(r"^#\[(.+)\]$", TEXT, re.MULTILINE)
    )
