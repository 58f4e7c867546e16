"""The name of a Job without CRON_NAME: a word that people recognise, and digits where needed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.table import Table
from pycron.crontab.telling_word import telling_word
from pycron.model.job import Source


def read(*lines: str) -> Table:
    text = "".join(f"{line}\n" for line in lines)
    return parse(text, Source("alice", "alice"), ReaderContext())


def names(*lines: str) -> list[str]:
    return [job.name for job in read(*lines).jobs]


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("/usr/local/bin/backup --full", "backup"),
        ("backup", "backup"),
        ("~/bin/mail-count --notify", "mail-count"),
        ('"/opt/my app/run.sh" -v', "run.sh"),
        ("$BIN/harvest --all > $LOGS/harvest.log 2>&1", "harvest"),
        # what only prepares it
        ("cd /srv/app && ./sync --all", "sync"),
        ("test -x /usr/sbin/aide || aide --check", "aide"),
        ("[ -x /usr/lib/php/sessionclean ] && /usr/lib/php/sessionclean", "sessionclean"),
        ("if [ -x /usr/bin/x-graph ]; then nice /usr/bin/x-graph; fi", "x-graph"),
        ("command -v debian-sa1 > /dev/null && debian-sa1 1 1", "debian-sa1"),
        ('[ "$(date +%u)" = 7 ] && first-sunday', "first-sunday"),
        ("[ $(($(date +%j) % 3)) -eq 0 ] && water", "water"),
        ("sleep 45; /opt/warmup --sitemap x", "warmup"),
        (". /etc/profile; export A=1; A=2 B='x y' report", "report"),
        ("umask 0077; exec >/var/log/x 2>&1; mkdir -p /srv/x && copy", "copy"),
        ("mountpoint -q /media/copy && rsync -a /srv /media/copy", "rsync"),
        ("for f in /srv/*; do gzip $f; done", "gzip"),
        # the directory of run-parts
        ("cd / && run-parts --report /etc/cron.hourly", "cron.hourly"),
        ("test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily/; }",
         "cron.daily"),
        # what wraps it
        ("sudo -u www-data -H /srv/bin/tidy", "tidy"),
        ("/usr/bin/env -i LANG=C PATH=/bin tidy", "tidy"),
        ("flock -n /run/lock/tidy.lock /srv/bin/tidy", "tidy"),
        ("flock -w 60 /run/tidy.lock -c 'nice -n 10 tidy --all'", "tidy"),
        ("timeout -k 10 1h nice -n19 ionice -c 3 chronic /srv/bin/tidy", "tidy"),
        ("timeout --signal=KILL 60 tidy", "tidy"),
        ("nohup setsid time -f %e tidy &", "tidy"),
        ("systemd-cat -t tidy /srv/bin/tidy", "tidy"),
        ("su - postgres -c 'pg_dump shop'", "pg_dump"),
        ("bash -lc 'cd /srv && bundle exec rake orders:expire'", "rake"),
        # the script of an interpreter
        ("sh /etc/daily.local", "daily.local"),
        ("python3 /opt/report.py --today", "report.py"),
        ("/opt/venv/bin/python -W ignore -m invoices.monthly", "invoices.monthly"),
        ("php8.2 -d memory_limit=1G /srv/moodle/cron.php", "cron.php"),
        ("java -jar /opt/batch.jar", "batch.jar"),
        ("perl -e 'sleep rand 60'; certbot renew", "certbot"),
        ("python3 -c 'print(1)'", "python3"),
        # nothing but preparation
        ("echo hello", "echo"),
        ("test -w /srv || logger down", "test"),
        ("sleep 5 && true", "sleep"),
        # nothing at all
        ("[", "job"),
        ("...", "job"),
        ("\x0b", "job"),
        ("'", "job"),
        ("einsendeschlu\udcdf", "einsendeschlu"),
        ("/srv/" + "x" * 100, "x" * 32),
    ],
)  # fmt: skip
def test_the_most_telling_word(command: str, word: str) -> None:
    assert telling_word(command) == word


@given(st.text(alphabet="ab /$(){}'\"`\\;&|<>=-.[]\n\tsh", max_size=80) | st.text())
def test_a_word_is_a_name(command: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,31}", telling_word(command), re.ASCII)


def test_a_part_of_the_id_follows_only_where_the_table_needs_it() -> None:
    table = read("@daily /bin/copy /a", "@daily tidy", "@hourly /bin/copy /b")
    first, tidy, second = table.jobs
    assert tidy.name == "tidy"
    assert first.name == f"copy-{first.id[:6]}"
    assert second.name == f"copy-{second.id[:6]}"


def test_a_line_that_is_inserted_moves_no_name_to_another_job() -> None:
    before = {job.id: job.name for job in read("@daily copy /a", "@daily copy /b").jobs}
    after = {
        job.id: job.name for job in read("@daily copy /x", "@daily copy /a", "@daily copy /b").jobs
    }
    assert before.items() <= after.items()


def test_a_cron_name_goes_before_a_word() -> None:
    table = read("CRON_NAME=copy @daily x", "@daily /bin/copy")
    named, derived = table.jobs
    assert (named.name, derived.name) == ("copy", f"copy-{derived.id[:6]}")
    assert table.jobs.called("copy") == [named]


def test_the_id_does_not_depend_on_the_name() -> None:
    [alone] = read("@daily /bin/copy /a").jobs
    both = read("@daily /bin/copy /a", "@daily /bin/copy /b").jobs
    assert alone.id == both[0].id
    assert alone.id == "373b12ed65fdc97b"


def test_a_job_is_found_by_each_of_its_names() -> None:
    jobs = read("@daily copy /a", "@daily copy /b", "@daily tidy").jobs
    one, two, tidy = jobs
    assert jobs.called("copy") == [one, two]
    assert jobs.called(one.name) == [one]
    assert (
        jobs.called("tidy") == jobs.called(f"tidy-{tidy.id[:6]}") == jobs.called(tidy.id) == [tidy]
    )
    assert jobs.called(f"copy-{tidy.id[:6]}") == []


def test_of_many_that_share_a_word_the_first_are_found() -> None:
    """To make a Job of each of a million entries would stop the daemon for seconds."""
    jobs = read(*(f"@daily copy {number}" for number in range(300))).jobs
    assert [job.line for job in jobs.called("copy")] == list(range(1, 102))
    assert jobs.called(jobs[299].name) == [jobs[299]]


def test_entries_that_are_taken_out_leave_the_other_names() -> None:
    """An entry with an error of @after is no Job; the names of the others stay their own."""
    lines = ["@daily copy /a", "@after nobody copy /b", "@daily tidy", "CRON_NAME=x @daily y"]
    found = names(*lines)
    assert [name.partition("-")[0] for name in found] == ["copy", "tidy", "x"]
