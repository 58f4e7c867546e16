"""pycron.toml: defaults, options, and errors."""

import os
from pathlib import Path

import pytest

from pycron.config import OPTIONS, Config, ConfigError, forms, read_config
from pycron.config.options import PoolOptions
from pycron.model.hosts import Cluster
from pycron.model.settings import SETTINGS
from tests.unit.test_crontab import GOOD_VALUES


def complaint(directory: Path, text: str) -> str:
    path = directory / "pycron.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(path, required=True)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def test_without_a_file_there_are_defaults(tmp_path: Path) -> None:
    assert read_config(tmp_path / "none", required=False) == Config()


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "pycron.toml").write_text("# nothing\n[limits]\n")
    assert read_config(tmp_path / "pycron.toml", required=True) == Config()


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none: no such file"):
        read_config(tmp_path / "none", required=True)


# For each form of an option: a value as the file has it, and as the daemon sees it.
EXAMPLES = {
    forms.TRANSPORT: ('"smtp"', "smtp"),
    forms.SECURITY: ('"tls"', "tls"),
    forms.LAYOUT: ('"debian"', "debian"),
    forms.FEW: ("0", 0),
    forms.FLAG: ("true", True),
    forms.SERVICE: ('"pycron"', "pycron"),
    forms.TEXT: ('"wheel"', "wheel"),
    forms.COMMAND: ('"/bin/mail -t"', "/bin/mail -t"),
    forms.PATH: ('"/srv/spool"', Path("/srv/spool")),
    forms.NAME: ('"prod"', "prod"),
    forms.HOST: ('"web1.example.org"', "web1.example.org"),
    forms.ZONE: ('"Europe/Berlin"', "Europe/Berlin"),
    forms.ADDRESS: ('"service=pycron"', "service=pycron"),
    forms.BROKER: ('"redis://b/0"', "redis://b/0"),
    forms.NAMES: ('["default", "gpu"]', ("default", "gpu")),
    forms.USERS: ('["deploy"]', ("deploy",)),
    forms.LEASE: ('"2m"', 120),
    forms.GROUPS: ('{web = ["web1", "web2"]}', {"web": frozenset({"web1", "web2"})}),
    forms.POOLS: ("{reports = 2}", {"reports": 2}),
    forms.PATHS: ('["/etc/crontab"]', (Path("/etc/crontab"),)),
}


def test_every_option_can_be_set(tmp_path: Path) -> None:
    sections: dict[str, list[str]] = {}
    expected = {}
    for key, option in OPTIONS.items():
        section, _, name = key.partition(".")
        value, expected[option.name] = EXAMPLES.get(option.metadata["form"], ("12345", 12345))
        sections.setdefault(section, []).append(f"{name} = {value}")
    text = "".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections.items())
    (tmp_path / "pycron.toml").write_text(text)
    config = read_config(tmp_path / "pycron.toml", required=True)
    assert {name: getattr(config, name) for name in expected} == expected


def test_pools_defaults_and_ceilings(tmp_path: Path) -> None:
    (tmp_path / "pycron.toml").write_text(
        '[pools]\ndb = 3\nweb = {running = 2, users = ["deploy"]}\n'
        '[defaults]\nCRON_TIMEOUT = "1h"\nCRON_RETRIES = 2\n'
        '[ceilings]\nCRON_MEMORY_MAX = "2G"\n'
    )
    config = read_config(tmp_path / "pycron.toml", required=True)
    assert config.pools == {"db": PoolOptions(3), "web": PoolOptions(2, frozenset({"deploy"}))}
    assert config.limits.pools["db"] == 3
    assert config.defaults == {"timeout": 3600, "retries": 2}
    assert config.ceilings == {"memory_max": 2 * 2**30}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[pools]\ndb = 0\n", "bad pools.db: 0 (a whole number above 0)"),
        ("[pools]\ndb = {}\n", "bad pools.db.running: None (a whole number above 0)"),
        ("[pools]\ndb = {running = 1, to = 2}\n", 'unknown option: "pools.db.to"'),
        ('[pools]\ndb = {running = 1, users = "x"}\n', "bad pools.db.users: 'x' (a list of users)"),
        ('[pools]\n"a b" = 1\n', 'bad pool: "a b" (letters, digits and . _ + -, at most 64)'),
        ('[defaults]\nCRON_NAME = "x"\n', 'unknown option: "defaults.CRON_NAME"'),
        ('[defaults]\nCRON_TIMEOT = "1h"\n', "(did you mean CRON_TIMEOUT?)"),
        ('[defaults]\nCRON_TIMEOUT = "soon"\n', "bad defaults.CRON_TIMEOUT: 'soon' (a duration"),
        ('[defaults]\nCRON_TZ = "No/Where"\n', "bad defaults.CRON_TZ: 'No/Where' (no such time"),
        ("[ceilings]\nCRON_PRIORITY = 1001\n", "bad ceilings.CRON_PRIORITY: 1001 (a number from"),
        ("[ceilings]\nCRON_NICE = 5\n", 'unknown option: "ceilings.CRON_NICE"'),
        (
            '[tables]\nlayout = "red hat"\n',
            "bad tables.layout: 'red hat' (pycron, debian or",
        ),
        ('[tables]\nspool = "here"\n', "bad tables.spool: 'here' (an absolute path)"),
        ('[tables]\nsystem = "/a"\n', "bad tables.system: '/a' (a list of absolute paths)"),
        ("pools = 3\n", '"pools" stands outside of a [section]'),
        ('[ceilings]\nCRON_TZ = "UTC"\n', 'unknown option: "ceilings.CRON_TZ"'),
        ("[limits]\nload = nan\n", "bad limits.load: nan (a number above 0)"),
        ('[limits]\nload = "1"\n', "bad limits.load: '1' (a number above 0)"),
    ],
)
def test_bad_pools_defaults_and_ceilings(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


def test_a_host_of_a_cluster(tmp_path: Path) -> None:
    path = tmp_path / "pycron.toml"
    path.write_text("""
        [cluster]
        name = "prod"
        database = "postgresql://pycron:hunter2@db.example.org/pycron"
        host = "web1"
        zone = "Europe/Berlin"
        groups = { web = ["web1", "web2"] }
        [cluster.pools]
        reports = 2
    """)
    config = read_config(path, required=True)
    groups = {"web": frozenset({"web1", "web2"})}
    assert config.cluster("an id") == Cluster("web1", "prod", "Europe/Berlin", groups)
    assert config.cluster_pools == {"reports": 2}
    assert config.cluster_lease == 90
    assert "hunter2" not in repr(config)


def test_a_host_without_a_cluster(tmp_path: Path) -> None:
    """Groups need no database, and without a name of its own the host is called by its id."""
    path = tmp_path / "pycron.toml"
    path.write_text("[cluster]\ngroups = { web = [] }\n")
    config = read_config(path, required=True)
    assert config.cluster("an id") == Cluster("an id", None, "UTC", {"web": frozenset()})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "prod"', "cluster.name and cluster.database go together"),
        ('database = "service=x"', "cluster.name and cluster.database go together"),
        ('name = "a b"', "bad cluster.name: 'a b' (letters, digits and . _ + -, at most 64)"),
        ("name = 1", "bad cluster.name: 1 (letters, digits and . _ + -, at most 64)"),
        ('host = ""', "bad cluster.host: '' (letters, digits and . _ - between them)"),
        ('host = "web1,web2"',
         "bad cluster.host: 'web1,web2' (letters, digits and . _ - between them)"),
        ('database = ["hunter2"]',
         "bad cluster.database: not shown (a connection string of libpq)"),
        ('database = " "', "bad cluster.database: not shown (a connection string of libpq)"),
        ('zone = "Berlin"', "bad cluster.zone: 'Berlin' (no such time zone)"),
        ('lease = "14s"', "bad cluster.lease: '14s' (a duration from 15s to 5m)"),
        ('lease = "301s"', "bad cluster.lease: '301s' (a duration from 15s to 5m)"),
        ("lease = true", "bad cluster.lease: True (a duration from 15s to 5m)"),
        ('groups = ["web1"]', "bad cluster.groups: ['web1'] (names with lists of hosts)"),
        ('groups = { web = "web1" }',
         "bad cluster.groups: {'web': 'web1'} (names with lists of hosts)"),
        ('groups = { web = ["a b"] }',
         "bad cluster.groups: {'web': ['a b']} (names with lists of hosts)"),
        ('groups = { "a b" = [] }',
         "bad cluster.groups: {'a b': []} (names with lists of hosts)"),
        ("pools = 1", "bad cluster.pools: 1 (names with whole numbers above 0)"),
        ("pools = { x = 0 }", "bad cluster.pools: {'x': 0} (names with whole numbers above 0)"),
        ('broker = "redis://b/0"', "cluster.broker needs cluster.database"),
        ('broker = "b:6379"',
         "bad cluster.broker: not shown (a URL such as redis://broker.example.org/0)"),
        ("grups = {}", 'unknown option: "cluster.grups" (did you mean cluster.groups?)'),
    ],
)  # fmt: skip
def test_a_bad_cluster(tmp_path: Path, text: str, said: str) -> None:
    assert complaint(tmp_path, f"[cluster]\n{text}\n") == said


def test_a_load_may_be_a_fraction(tmp_path: Path) -> None:
    (tmp_path / "pycron.toml").write_text("[limits]\nload = 1.5\n")
    assert read_config(tmp_path / "pycron.toml", required=True).gates.load == 1.5


@pytest.mark.parametrize(
    ("text", "attribute", "value"),
    [
        ('[limits]\nfree_memory = "512M"\n', "free_memory", 512 * 2**20),
        ('[limits]\ntable_bytes = "1048576"\n', "table_bytes", 2**20),
        ('[limits]\nuser_table_bytes = "64K"\n', "user_table_bytes", 2**16),
        ('[limits]\noutput_bytes = "1MiB"\n', "output_bytes", 2**20),
        ('[retention]\noutput_bytes = "2G"\n', "retention_output_bytes", 2**31),
        ('[retention]\njob_output_bytes = "1T"\n', "retention_job_output_bytes", 2**40),
        ('[retention]\ndatabase_bytes = "2GB"\n', "retention_database_bytes", 2**31),
        ('[mail]\nbytes = "10K"\n', "mail_bytes", 10_240),
        ('[retention]\ndays = "90d"\n', "retention_days", 90),
        ('[retention]\ndays = "12w"\n', "retention_days", 84),
        ('[retention]\ndays = "48h"\n', "retention_days", 2),
        ("[retention]\ndays = 1000000\n", "retention_days", 1_000_000),
    ],
)
def test_sizes_and_durations(tmp_path: Path, text: str, attribute: str, value: int) -> None:
    (tmp_path / "pycron.toml").write_text(text)
    assert getattr(read_config(tmp_path / "pycron.toml", required=True), attribute) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[limits]\nfree_memory = "lots"\n', "'lots' (a number of bytes, or a size such as 512M"),
        ('[limits]\ntable_bytes = "0"\n', "'0' (a number of bytes"),
        ("[limits]\noutput_bytes = 1.5\n", "1.5 (a number of bytes"),
        ('[limits]\nclients = "1K"\n', "'1K' (a whole number above 0)"),
        ('[retention]\ndays = "36h"\n', "'36h' (a number of days, or whole days such as 90d"),
        ('[retention]\ndays = "90"\n', "'90' (a number of days"),  # 90 seconds in a table
        ("[retention]\ndays = 1000001\n", "1000001 (a number of days"),
        ('[notify.a]\nurl = "x"\ncooldown = "soon"\n', "'soon' (a duration such as 90s"),
        ('[notify.a]\nurl = "x"\ncooldown = -1\n', "-1 (a duration such as 90s"),
        ('[notify.a]\nurl = "x"\ncooldown = true\n', "True (a duration such as 90s"),
        ('[notify.a]\nurl = "x"\non = [[]]\n', "[[]] (a list of failure"),
    ],
)
def test_bad_sizes_and_durations(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


@pytest.mark.parametrize(("value", "seconds"), [('"15m"', 900), ("90", 90), ("0", 0)])
def test_the_cooldown_of_a_notification(tmp_path: Path, value: str, seconds: int) -> None:
    (tmp_path / "pycron.toml").write_text(f'[notify.ops]\nurl = "x"\ncooldown = {value}\n')
    config = read_config(tmp_path / "pycron.toml", required=True)
    assert config.notifications["ops"].cooldown == seconds


def test_an_unknown_option(tmp_path: Path) -> None:
    text = complaint(tmp_path, "[limits]\nclient = 3\n")
    assert text == 'unknown option: "limits.client" (did you mean limits.clients?)'
    text = complaint(tmp_path, "[zzz]\nqqq = 3\n")
    assert text == 'unknown section: "[zzz]" (see pycron.toml(5))'


def test_an_option_outside_of_its_section(tmp_path: Path) -> None:
    assert complaint(tmp_path, "clients = 3\n") == '"clients" stands outside of a [section]'


@pytest.mark.parametrize("value", ["0", "-1", "1.5", '"64"', "true", "[64]", "{a = 1}", "inf"])
def test_a_bad_number(tmp_path: Path, value: str) -> None:
    text = complaint(tmp_path, f"[limits]\nclients = {value}\n")
    assert text.startswith("bad limits.clients: ")
    assert text.endswith("(a whole number above 0)")


@pytest.mark.parametrize("value", ["1", "true", '["wheel"]'])
def test_a_bad_text(tmp_path: Path, value: str) -> None:
    text = complaint(tmp_path, f"[access]\noperators = {value}\n")
    assert text.startswith("bad access.operators: ")


@pytest.mark.parametrize("value", ['""', '"../shadow"', '".hidden"', '"a b"', '"a\\n"', "1"])
def test_a_bad_pam_service(tmp_path: Path, value: str) -> None:
    text = complaint(tmp_path, f"[pam]\nservice = {value}\n")
    assert text.startswith("bad pam.service: ")
    assert text.endswith("(the name of a file in /etc/pam.d)")


def test_a_number_that_is_too_large(tmp_path: Path) -> None:
    assert "clients" in complaint(tmp_path, f"[limits]\nclients = {10**30}\n")


@pytest.mark.parametrize("text", ["[limits", "clients == 3", "[a]\nb=1\nb=2\n", "\0"])
def test_a_file_that_is_no_toml(tmp_path: Path, text: str) -> None:
    assert "(at " in complaint(tmp_path, text)


def test_a_file_that_is_no_utf8(tmp_path: Path) -> None:
    (tmp_path / "pycron.toml").write_bytes(b"# \xff\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "pycron.toml", required=True)


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a directory, no regular file"):
        read_config(tmp_path, required=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pycron.toml").touch(mode=0)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "pycron.toml", required=False)


def test_a_default_zone(tmp_path: Path) -> None:
    (tmp_path / "pycron.toml").write_text('[defaults]\nCRON_TZ = "Europe/Berlin"\n')
    config = read_config(tmp_path / "pycron.toml", required=True)
    assert config.defaults == {"zone": "Europe/Berlin"}


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"CRON_NAME", "CRON_ON", "CRON_SEND"}))
def test_every_setting_can_have_a_default(tmp_path: Path, name: str) -> None:
    """As the text of a table; a number also without quotes."""
    setting = SETTINGS[name]
    text = "UTC" if name == "CRON_TZ" else GOOD_VALUES[name][0].strip("'\"")
    sections = "".join(f'[notify.{each}]\nurl = "json://x"\n' for each in ("ops", "phone"))
    days = (f'{each} = ["2026-12-24"]\n' for each in ("bavaria", "company", "inventory"))
    sections += "[calendars]\n" + "".join(days)
    (tmp_path / "pycron.toml").write_text(f"{sections}[defaults]\n{name} = '{text}'\n")
    config = read_config(tmp_path / "pycron.toml", required=True)
    assert config.defaults == {setting.attribute: setting.parse(text)}


def test_a_host_with_workers(tmp_path: Path) -> None:
    path = tmp_path / "pycron.toml"
    path.write_text('[worker]\nqueues = ["default", "gpu"]\nusers = ["deploy"]\naccount = "w"\n')
    config = read_config(path, required=True)
    assert config.worker_queues == ("default", "gpu")
    assert config.worker_users == ("deploy",)
    assert config.worker_account == "w"
    assert Config().worker_queues == Config().worker_users == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('queues = "default"', "bad worker.queues: 'default' (a list of names)"),
        ('queues = ["a b"]', "bad worker.queues: ['a b'] (a list of names)"),
        ("users = [1]", "bad worker.users: [1] (a list of users)"),
        ('users = [""]', "bad worker.users: [''] (a list of users)"),
    ],
)
def test_a_bad_worker(tmp_path: Path, text: str, said: str) -> None:
    assert complaint(tmp_path, f"[worker]\n{text}\n") == said
