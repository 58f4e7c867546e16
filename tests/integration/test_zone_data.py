"""Zone data: its origin, the zone of the machine, and unknown names."""

import importlib.resources
import os
import shutil
from pathlib import Path

import pytest

from pycron.system import zone_data, zone_file
from pycron.system.zone_data import UnknownZone, ZoneData

PACKAGE = Path(str(importlib.resources.files("tzdata").joinpath("zoneinfo")))
MARCH = 1_772_971_200  # 2026-03-08T12:00Z


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with zone files, but without /etc/localtime and TZ, which each test sets."""
    folder = tmp_path / "usr" / "zoneinfo"
    for name in ("UTC", "Europe/Berlin", "America/New_York"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / name, folder / name)
    (folder / "tzdata.zi").write_text("# version 9999a\n")
    monkeypatch.setattr(zone_data, "_SYSTEM", folder)
    monkeypatch.setattr(zone_data, "_LOCALTIME", tmp_path / "localtime")
    monkeypatch.setattr(zone_data, "_TIMEZONE", tmp_path / "timezone")
    monkeypatch.delenv("TZ", raising=False)
    return folder


# ---- which data


def test_the_newer_zone_data_is_used(system: Path) -> None:
    zones = ZoneData()
    assert (zones.origin, zones.version) == ("system", "9999a")
    (system / "tzdata.zi").write_text("# version 1999z\n")
    assert zones.stale()
    zones.reload()
    assert zones.origin == "tzdata package"
    assert zones.version > "2025"
    assert not zones.stale()


def test_the_systems_zone_data_is_used_if_both_are_of_one_release(system: Path) -> None:
    shutil.copy(PACKAGE / "tzdata.zi", system / "tzdata.zi")
    assert ZoneData().origin == "system"


def test_a_machine_without_zone_files(system: Path) -> None:
    shutil.rmtree(system)
    zones = ZoneData()
    assert zones.origin == "tzdata package"
    assert zones.zone("Europe/Berlin").offset_at(MARCH) == 3600


def zone_files() -> list[Path]:
    return [path for path in PACKAGE.rglob("*") if path.is_file() and is_zone(path)]


def is_zone(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"TZif"


def test_all_zone_files_are_sound() -> None:
    files = zone_files()
    assert len(files) > 500
    for path in files:
        zone_file.check(path.read_bytes())


def test_what_a_sound_zone_file_may_have() -> None:
    data = (PACKAGE / "Europe" / "Berlin").read_bytes()
    second = data.rindex(b"TZif")
    zone_file.check(b"TZif2" + bytes(39) + data[second:])  # nothing in the first block
    zone_file.check(data.replace(b"M10.5.0/3", b"M10.5.0/-167"))  # the largest offset of a rule


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def test_a_zone_file_that_was_cut_short_anywhere_is_none(name: str) -> None:
    data = (PACKAGE / name).read_bytes()
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"it is cut short|its footer names no zone"):
            zone_file.check(data[:length])


@pytest.mark.parametrize(
    ("place", "byte", "reason"),
    [
        (0, b"t", "it is no zone file"),
        (4, b"\x80", "it is no zone file"),
        (-2, b"\x80", "its footer names no zone"),
        ("names", b"\xff", "its names are damaged"),
        ("name of the last type", b"\xff", "a type is damaged"),
        ("whether it is DST", b"\x02", "a type is damaged"),
        ("its offset", b"\x7f", "a type is damaged"),
    ],
)
def test_a_zone_file_with_a_wrong_byte_is_none(place: int | str, byte: bytes, reason: str) -> None:
    data = bytearray((PACKAGE / "Europe" / "Berlin").read_bytes())
    names = data.rindex(b"LMT\0")  # they follow the types, which have six bytes each
    places = {
        "names": names,
        "name of the last type": names - 1,
        "whether it is DST": names - 2,
        "its offset": names - 6,
    }
    data[places[place] if isinstance(place, str) else place] = byte[0]
    with pytest.raises(ValueError, match=reason):
        zone_file.check(bytes(data))


def test_a_damaged_zone_file_of_the_system_is_replaced_by_that_of_the_package(
    system: Path,
) -> None:
    data = (PACKAGE / "Europe" / "Berlin").read_bytes()
    (system / "Europe" / "Berlin").write_bytes(data[:-3])
    assert ZoneData().zone("Europe/Berlin").offset_at(MARCH) == 3600
    (system / "Europe" / "Berlin").with_name("Atlantis").write_bytes(data[:-3])
    assert not ZoneData().exists("Europe/Atlantis")


def test_a_machine_that_does_not_say_its_release(system: Path) -> None:
    (system / "tzdata.zi").unlink()
    assert ZoneData().origin == "tzdata package"
    (system / "+VERSION").write_text("9999b\n")
    assert ZoneData().version == "9999b"


def test_the_offsets_are_those_of_the_newer_zone_data(system: Path) -> None:
    shutil.copy(PACKAGE / "Asia" / "Tokyo", system / "Europe" / "Berlin")
    assert ZoneData().zone("Europe/Berlin").offset_at(MARCH) == 9 * 3600


def test_a_change_is_seen_after_reload(system: Path) -> None:
    zones = ZoneData()
    assert zones.zone("Europe/Berlin").offset_at(MARCH) == 3600
    shutil.copy(PACKAGE / "Asia" / "Tokyo", system / "Europe" / "Berlin")
    (system / "tzdata.zi").write_text("# version 9999b\n")
    assert zones.zone("Europe/Berlin").offset_at(MARCH) == 3600  # until reload
    assert zones.stale()
    zones.reload()
    assert zones.zone("Europe/Berlin").offset_at(MARCH) == 9 * 3600


# ---- names


@pytest.mark.parametrize(
    "name",
    [
        "", " ", ".", "..", "../UTC", "Europe/../UTC", "/etc/localtime", "//UTC", "Europe/Berlin/",
        "Europe//Berlin", "America", "Europe", "tzdata.zi", "zone.tab", "zone1970.tab",
        "leapseconds", "iso3166.tab", "Europe/Berlin\n", "Europe/Berlin\0", "Europe\\Berlin",
        "Mars/Olympus", "UTC/x", "europe/berlín", "x" * 100_000, "a/" * 5000 + "a", "\udcff",
        "__init__", "__pycache__",
    ],
)  # fmt: skip
def test_unknown_zones(system: Path, name: str) -> None:
    (system / "leapseconds").write_text("no zone\n")
    zones = ZoneData()
    assert not zones.exists(name)
    with pytest.raises(UnknownZone):
        zones.zone(name)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "Etc/GMT+12", "Asia/Kolkata", "EST5EDT",
                                  "America/Argentina/Buenos_Aires"])  # fmt: skip
def test_known_zones(system: Path, name: str) -> None:
    """Zones that the system does not have come from the package."""
    assert ZoneData().exists(name)
    assert ZoneData().zone(name).name == name


def test_a_zone_is_loaded_once(system: Path) -> None:
    zones = ZoneData()
    assert zones.zone("Europe/Berlin") is zones.zone("Europe/Berlin")
    assert zones.zone(None) is zones.machine


# ---- the machine's zone


def test_the_zone_is_utc_if_none_is_set(system: Path) -> None:
    assert ZoneData().machine.name == "UTC"


@pytest.mark.parametrize("value", ["Europe/Berlin", ":Europe/Berlin"])
def test_the_variable_tz(system: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    (system.parent.parent / "localtime").symlink_to(system / "America" / "New_York")
    zones = ZoneData()
    monkeypatch.setenv("TZ", value)
    assert zones.stale()
    zones.reload()
    assert zones.machine.name == "Europe/Berlin"


@pytest.mark.parametrize("value", ["", ":", "nonsense", "../../etc/passwd", "\udcff"])
def test_a_bad_tz_is_passed_over(system: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TZ", value)
    (system.parent.parent / "localtime").symlink_to(system / "America" / "New_York")
    assert ZoneData().machine.name == "America/New_York"


def test_the_link_localtime(system: Path) -> None:
    localtime = system.parent.parent / "localtime"
    localtime.symlink_to(system / "America" / "New_York")
    zones = ZoneData()
    assert zones.machine.name == "America/New_York"
    localtime.unlink()
    localtime.symlink_to(system / "Europe" / "Berlin")
    assert zones.stale()
    zones.reload()
    assert zones.machine.name == "Europe/Berlin"


def test_localtime_as_a_copy(system: Path) -> None:
    shutil.copy(PACKAGE / "Europe" / "Berlin", system.parent.parent / "localtime")
    machine = ZoneData().machine
    assert machine.name == "localtime"
    assert machine.offset_at(MARCH) == 3600


@pytest.mark.parametrize("content", [b"", b"TZif2", b"no zone at all\n" * 10])
def test_a_localtime_that_is_half_written(system: Path, content: bytes) -> None:
    """cp(1) is not atomic: the daemon may read a part of the file."""
    (system.parent.parent / "localtime").write_bytes(content)
    (system.parent.parent / "timezone").write_text("Europe/Berlin\n")
    assert ZoneData().machine.name == "Europe/Berlin"


def test_the_file_timezone(system: Path) -> None:
    (system.parent.parent / "timezone").write_text("Europe/Berlin\n")
    assert ZoneData().machine.name == "Europe/Berlin"


def test_a_zone_that_was_set(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    assert ZoneData("Europe/Berlin").machine.name == "Europe/Berlin"
    with pytest.raises(UnknownZone):
        ZoneData("Mars/Olympus")


def test_on_this_machine_as_it_is() -> None:
    zones = ZoneData()
    assert zones.origin in ("system", "tzdata package")
    assert zones.zone("Europe/Berlin").offset_at(MARCH) == 3600
    assert not zones.stale()
    assert not zones.exists("/etc/localtime")
    assert not zones.exists(os.path.relpath("/etc/localtime", "/usr/share/zoneinfo"))
