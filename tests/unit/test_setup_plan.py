"""What `pycron setup` plans, from what there is: pure tables, nothing is installed."""

from dataclasses import replace
from pathlib import Path

import pytest

from pycron.cli.installing.items import (
    Directory,
    File,
    Item,
    Link,
    Target,
    sysusers_accounts,
    tmpfiles_directories,
    unit_text,
    wanted_items,
)
from pycron.cli.installing.machine import Found, Kind, Machine, digest
from pycron.cli.installing.plan import Plan, install_plan, made_of
from pycron.cli.installing.record import Made, Record, merged
from pycron.cli.installing.removal import removal_plan
from pycron.cli.installing.steps import sentence
from pycron.cli.pycron import main

TARGET = Target(
    programs=Path("/opt/p/bin"),
    links=Path("/bin2"),
    share=Path("/share"),
    unit=Path("/etc/s/pycron.service"),
    config=Path("/etc/p/pycron.toml"),
    record=Path("/lib/p/setup.json"),
    trees=(Path("/lib/p"), Path("/run/p")),
    private=0o755,
    accounts=Path("/etc/a.conf"),
    directories=Path("/etc/d.conf"),
)
USER_TARGET = replace(TARGET, accounts=None, directories=None)
RUNNER = Path("/run/p/runner.sock")
DIRECTORY = Found(Kind.DIRECTORY)

UNIT = File(TARGET.unit, b"new")
CONFIG = File(TARGET.config, b"new", yours=True)
LINK = Link(Path("/bin2/pycron"), Path("/opt/p/bin/pycron"))
HAS_PARENTS = {Path(path): DIRECTORY for path in ("/", "/etc", "/etc/s", "/etc/p", "/bin2", "/lib")}


def a_file(text: bytes) -> Found:
    return Found(Kind.FILE, digest(text))


def a_link(target: str, *behind: str) -> Found:
    return Found(Kind.LINK, target, behind)


def made(path: Path, *texts: bytes) -> Made:
    return Made("file", str(path), tuple(map(digest, texts)))


def planned(item: Item, found: Found | None, *before: Made, systemd: bool = False) -> Plan:
    there = HAS_PARENTS if found is None else HAS_PARENTS | {item.path: found}
    machine = Machine(there, systemd=systemd)
    return install_plan(TARGET, [item], {}, machine, Record(before))


def lines(plan: Plan) -> list[str]:
    return [sentence(step) for step in plan.steps]


OURS = made(UNIT.path, b"old")
OUR_LINK = Made("link", str(LINK.path), ("/opt/old/pycron",))
INSTALLATIONS = {
    "nothing is there": (UNIT, None, [], ["write /etc/s/pycron.service"], ""),
    "the same": (UNIT, a_file(b"new"), [], [], ""),
    "the same, by a link of pipx": (UNIT, a_link("/x", "/x", digest(b"new")), [], [], ""),
    "an older one of ours": (UNIT, a_file(b"old"), [OURS], ["replace /etc/s/pycron.service"], ""),
    "ours, but changed": (UNIT, a_file(b"mine"), [OURS], [], "kept"),
    "a foreign file": (UNIT, a_file(b"mine"), [], [], "has not made"),
    "a foreign link": (UNIT, a_link("/x"), [], [], "has not made"),
    "a foreign directory": (UNIT, DIRECTORY, [], [], "has not made"),
    "a socket or a device": (UNIT, Found(Kind.OTHER), [], [], "has not made"),
    "no configuration": (CONFIG, None, [], ["write /etc/p/pycron.toml"], ""),
    "a configuration of anybody": (CONFIG, a_file(b"mine"), [], [], ""),
    "an older configuration of ours": (CONFIG, a_file(b"o"), [made(CONFIG.path, b"o")], [], ""),
    "a dangling configuration": (CONFIG, a_link("/gone", "/gone"), [], [], ""),
    "no link": (LINK, None, [], ["link /bin2/pycron (to /opt/p/bin/pycron)"], ""),
    "the link": (LINK, a_link("/opt/p/bin/pycron"), [], [], ""),
    "the link, by way of another": (LINK, a_link("../y", "/opt/p/bin/pycron", "1"), [], [], ""),
    "an older link of ours": (LINK, a_link("/opt/old/pycron"), [OUR_LINK],
                              ["replace link /bin2/pycron (to /opt/p/bin/pycron)"], ""),
    "a link to another program": (LINK, a_link("/usr/bin/x"), [], [], "has not made"),
    "another program": (LINK, a_file(b"#!"), [OUR_LINK], [], "kept"),
    "a directory": (Directory(Path("/etc/p"), 0o755), DIRECTORY, [], [], ""),
    "no directory": (Directory(Path("/etc/q"), 0o711), None, [],
                     ["make directory /etc/q (mode 0711)"], ""),
    "a file instead of a directory": (Directory(Path("/etc/p"), 0o755), a_file(b""), [], [],
                                      "has not made"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("item", "found", "before", "steps", "said"), INSTALLATIONS.values(), ids=INSTALLATIONS
)
def test_installation(
    item: Item, found: Found | None, before: list[Made], steps: list[str], said: str
) -> None:
    plan = planned(item, found, *before)
    assert lines(plan) == steps
    assert bool(said) == bool(plan.notes or plan.conflicts)
    assert said in "".join(plan.notes + plan.conflicts)
    assert bool(plan.conflicts) == (said == "has not made")
    assert (made_of(item) in plan.after.made) == bool(steps)


def test_a_changed_unit_is_read_by_systemd() -> None:
    assert lines(planned(UNIT, None, systemd=True))[-1] == "run systemctl daemon-reload"
    assert lines(planned(UNIT, a_file(b"new"), systemd=True)) == []
    assert lines(planned(LINK, None, systemd=True)) == ["link /bin2/pycron (to /opt/p/bin/pycron)"]


def test_missing_directories_are_made_and_recorded() -> None:
    plan = planned(File(Path("/share/man/man1/x.1"), b"x"), None)
    assert lines(plan) == [
        "make directory /share (mode 0755)",
        "make directory /share/man (mode 0755)",
        "make directory /share/man/man1 (mode 0755)",
        "write /share/man/man1/x.1",
    ]
    assert plan.after.names("directory") == ["/share", "/share/man", "/share/man/man1"]


def test_what_a_new_version_no_longer_has_is_removed() -> None:
    old, changed = made(Path("/share/old.1"), b"o"), made(Path("/share/changed.1"), b"c")
    gone = made(Path("/share/gone.1"), b"g")
    found = {old.path: a_file(b"o"), changed.path: a_file(b"mine"), **HAS_PARENTS}
    plan = install_plan(TARGET, [], {}, Machine(found), Record((old, changed, gone)))
    assert lines(plan) == ["remove /share/old.1"]
    assert plan.after == Record((changed,))


def test_a_read_only_file_system_leaves_links_and_manual_pages_out() -> None:
    items: list[Item] = [
        LINK,
        File(Path("/share/man/x.1"), b""),
        File(Path("/share/man/y.1"), b""),
        UNIT,
    ]
    machine = Machine(HAS_PARENTS, systemd=False, read_only=TARGET.optional)
    plan = install_plan(TARGET, items, {}, machine, Record())
    assert lines(plan) == ["write /etc/s/pycron.service"]
    assert [note.split(":")[0] for note in plan.notes] == ["left out /bin2", "left out /share"]


ACCOUNTS = {"pycron": None, "pycron-mail": "mail"}
USERADD = ("run useradd --system --user-group --no-create-home --home-dir / "
           "--shell /usr/sbin/nologin --comment mail pycron-mail")  # fmt: skip
WITH_TOOLS = {
    "systemd-sysusers": (["systemd-sysusers", "useradd", "groupadd"],
                         ["run systemd-sysusers /etc/a.conf (makes pycron, pycron-mail)"]),
    "useradd": (["useradd", "groupadd"], ["run groupadd --system pycron", USERADD]),
    "neither": ([], []),
}  # fmt: skip


@pytest.mark.parametrize(("tools", "steps"), WITH_TOOLS.values(), ids=WITH_TOOLS)
def test_accounts(tools: list[str], steps: list[str]) -> None:
    machine = Machine(tools=tools)
    plan = install_plan(TARGET, [], ACCOUNTS, machine, Record())
    assert lines(plan) == steps
    assert plan.after.names("user", "group") == (["pycron-mail", "pycron"][::-1] if steps else [])
    assert bool(plan.notes) == (not steps)


def test_accounts_that_exist_are_not_ours() -> None:
    machine = Machine(users=["pycron-mail"], groups={"pycron": []})
    assert install_plan(TARGET, [], ACCOUNTS, machine, Record()) == Plan()


# ---- removal


def removed(
    found: dict[Path, Found], *before: Made, purge: bool = False, active: bool = False
) -> Plan:
    machine = Machine(found, users=["pycron-mail"], groups={"pycron": [], "ops": ["joe"]},
                      active=active)  # fmt: skip
    return removal_plan(TARGET, machine, Record(before), purge=purge, runner=RUNNER)


NEW_UNIT = made(UNIT.path, b"new")
STOP = "run systemctl disable --now pycron.service"


def test_a_removal_removes_what_was_made() -> None:
    page, directory = made(Path("/share/x.1"), b"x"), Made("directory", "/share")
    link = made_of(LINK)
    found = {
        UNIT.path: a_file(b"new"),
        page.path: a_file(b"x"),
        LINK.path: a_link("/opt/p/bin/pycron"),
        directory.path: Found(Kind.DIRECTORY, entries=frozenset({"x.1"})),
    }
    plan = removed(found, NEW_UNIT, directory, page, link, active=True)
    assert lines(plan) == [
        f"{STOP} (stops the daemon; commands go on)",
        "remove /etc/s/pycron.service",
        "remove /share/x.1",
        "remove /bin2/pycron",
        "run systemctl daemon-reload",
        "remove directory /share",
    ]
    assert (plan.notes, plan.after) == ([], Record())


def test_a_removal_keeps_what_somebody_has_changed_or_added() -> None:
    directory = Made("directory", "/etc/p")
    found = {
        UNIT.path: a_file(b"mine"),
        LINK.path: a_link("/usr/bin/other"),
        directory.path: Found(Kind.DIRECTORY, entries=frozenset({"allow"})),
    }
    plan = removed(found, NEW_UNIT, made_of(LINK), directory)
    assert lines(plan) == [STOP]
    assert [note.split(":")[0] for note in plan.notes] == [
        "kept /etc/s/pycron.service", "kept /bin2/pycron", "kept /etc/p",
    ]  # fmt: skip
    assert plan.after == Record((NEW_UNIT, made_of(LINK), directory))


def test_what_is_gone_already_is_no_longer_recorded() -> None:
    assert removed({}, NEW_UNIT, made_of(LINK), Made("directory", "/etc/p")) == Plan()


def test_the_files_of_an_interrupted_call_are_removed() -> None:
    left = UNIT.path.with_name(".pycron-setup-pycron.service")
    assert lines(removed({left: a_file(b"ne")}, NEW_UNIT)) == [f"remove {left}"]


STATE = {Path("/lib/p"): Found(Kind.DIRECTORY, entries=frozenset({"setup.json", "pycron.db"})),
         Path("/run/p"): DIRECTORY, RUNNER: Found(Kind.OTHER)}  # fmt: skip
USER, GROUP, OPS = Made("user", "pycron-mail"), Made("group", "pycron"), Made("group", "ops")
STATE_DIRECTORY, ABOVE = Made("directory", "/lib/p"), Made("directory", "/lib")


def test_the_state_and_the_accounts_are_kept() -> None:
    plan = removed(STATE, STATE_DIRECTORY, USER, GROUP)
    assert lines(plan) == []
    assert plan.after == Record((USER, GROUP, STATE_DIRECTORY))
    assert len(plan.notes) == 2


def test_a_purge_removes_the_state_and_the_accounts_too() -> None:
    found = STATE | {Path("/lib"): Found(Kind.DIRECTORY, entries=frozenset({"p"}))}
    plan = removed(found, ABOVE, STATE_DIRECTORY, USER, GROUP, OPS, purge=True)
    assert lines(plan) == [
        "dismiss the runner /run/p/runner.sock (it exits when its commands have ended)",
        "run userdel pycron-mail",
        "run groupdel pycron",
        "remove directory /run/p (with all its files)",
        "remove directory /lib/p (with all its files)",
        "remove directory /lib",
    ]
    assert plan.notes == ["kept ops: the group has members (joe)"]
    assert plan.after == Record()  # nothing could hold it


def test_a_state_directory_with_nothing_but_the_record_goes() -> None:
    found = {Path("/lib/p"): Found(Kind.DIRECTORY, entries=frozenset({"setup.json"}))}
    plan = removed(found, STATE_DIRECTORY)
    assert lines(plan) == ["remove /lib/p/setup.json", "remove directory /lib/p"]
    assert plan.after == Record()


# ---- the record


def test_the_record_of_an_upgrade_knows_both_versions_until_it_is_complete() -> None:
    both = merged([OURS, made_of(LINK)], [NEW_UNIT])
    assert both == (made(UNIT.path, b"old", b"new"), made_of(LINK))
    for text in (b"old", b"new"):
        assert lines(planned(UNIT, a_file(text), *both)) == (
            [] if text == b"new" else ["replace /etc/s/pycron.service"]
        )


# ---- the formats of systemd


def test_the_directory_of_the_programs_is_put_into_the_unit() -> None:
    text = "ExecStart=/usr/bin/pycrond\nExecReload=/usr/bin/pycron --system\nX=/usr/bin/env a\n"
    assert unit_text(text, Path("/opt/p/bin")) == (
        "ExecStart=/opt/p/bin/pycrond\nExecReload=/opt/p/bin/pycron --system\nX=/usr/bin/env a\n"
    )


@pytest.mark.parametrize("directory", ["/a b", "/50%", "/$x", "/a'b", "/a\\b", '/a"', "/a\nb"])
def test_a_directory_that_a_unit_cannot_name(directory: str) -> None:
    with pytest.raises(ValueError, match="a unit cannot name"):
        unit_text("", Path(directory))


def test_sysusers_and_tmpfiles() -> None:
    accounts = '# g no -\ng pycron -\nu  pycron-mail  -  "pycron mail"\nu bare -\nm a b\n'
    assert sysusers_accounts(accounts) == {"pycron": None, "pycron-mail": "pycron mail", "bare": ""}
    directories = "# d /no 0700\nd /etc/p 0755 root root -\nx /tmp/x\n\nd /v 0711 root root -\n"
    assert tmpfiles_directories(directories) == [
        Directory(Path("/etc/p"), 0o755), Directory(Path("/v"), 0o711),
    ]  # fmt: skip


SHIPPED = {
    "share/pycron/sysusers.d/pycron.conf": b"g pycron -\n",
    "share/pycron/tmpfiles.d/pycron.conf": b"d /etc/p 0755 root root -\n",
    "share/pycron/systemd/pycron.service": b"ExecStart=/usr/bin/pycrond\n",
    "share/pycron/systemd/pycron-user.service": b"ExecStart=/usr/bin/pycrond\n",
    "share/pycron/systemd/pycron-web.service": b"ExecStart=/usr/bin/pycron --system web\n",
    "share/pycron/systemd/pycron-worker.service": b"ExecStart=/usr/bin/pycron --system worker\n",
    "share/man/man1/pycron.1": b"1",
    "share/fish/vendor_completions.d/pycron.fish": b"2",
    "share/doc/pycron/faq.md": b"3",
}


def test_the_items_of_both_modes() -> None:
    shared = ["/etc/p/pycron.toml", "/share/man/man1/pycron.1",
              "/share/fish/vendor_completions.d/pycron.fish", "/bin2/pycron", "/bin2/pycrond",
              "/bin2/pycrontab", "/etc/s/pycron.service"]  # fmt: skip
    system = [str(item.path) for item in wanted_items(TARGET, SHIPPED, "")]
    assert system == ["/etc/p", "/etc/a.conf", "/etc/d.conf", *shared, "/etc/s/pycron-web.service",
                      "/etc/s/pycron-worker.service"]  # fmt: skip
    items = wanted_items(USER_TARGET, SHIPPED, "")
    assert [str(item.path) for item in items] == ["/lib/p", *shared]
    assert items[-1] == File(TARGET.unit, b"ExecStart=/opt/p/bin/pycrond\n")


def test_programs_that_are_in_their_place_already_get_no_link() -> None:
    items = wanted_items(replace(TARGET, links=TARGET.programs), SHIPPED, "")
    assert not [item for item in items if isinstance(item, Link)]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--system", "--purge"],
        ["--user", "--purge", "--dry-run"],
        ["--user", "--cluster", "--remove", "--dry-run"],
    ],
)
def test_wrong_uses(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["setup", *options]) == 2
    assert capsys.readouterr().err.startswith("pycron: ")
