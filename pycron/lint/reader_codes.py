"""The codes of the reader of tables, of files, and of the machine."""

from pycron.lint.code import Code, error, warning

_FIELD = (
    "The field has a value that cron does not know, is cut off by other crons, or never matches."
    " pycrontab(5) has the grammar of the five fields."
)

ENTRIES: tuple[Code, ...] = (
    error("bad-minute", _FIELD, "61 4 * * * x", "59 4 * * * x"),
    error("bad-hour", _FIELD, "0 24 * * * x", "0 0 * * * x"),
    error("bad-day-of-month", _FIELD, "0 4 32 * * x", "0 4 31 * * x"),
    error("bad-month", _FIELD, "0 4 1 13 * x", "0 4 1 12 * x"),
    error("bad-day-of-week", _FIELD, "0 4 * * 8 x", "0 4 * * 7 x"),
    error(
        "bad-time-specifier",
        "The line begins with @, but not with a nickname that cron knows.",
        "@nightly x",
        "@daily x",
    ),
    error(
        "every-unit",
        "@every takes one word: a duration with its unit. Without the unit, the next word would"
        " be the command.",
        "@every 10 minutes x",
        "@every 10m x",
    ),
    error(
        "never-fires",
        "No month has such a day, so the entry would never be due.",
        "0 0 30 2 * x",
        "0 0 28 2 * x",
    ),
    error("bad-command", "The entry has no command.", "0 4 * * *", "0 4 * * * x"),
    error(
        "bad-option",
        "Before the command stand options of OpenBSD's cron: -n, -q and -s only.",
        "0 4 * * * -x y",
        "0 4 * * * -q y",
    ),
    error(
        "bad-username",
        "A system table has the user before the command.",
        "0 4 * * * /usr/local/sbin/backup",
        "0 4 * * * root /usr/local/sbin/backup",
        system=True,
    ),
    warning(
        "unknown-user",
        "The machine does not know the user, so the command fails when it is due. A directory"
        " service may know the user later. If the word is a command, the user column is missing.",
        "0 4 * * * cd /srv && make",
        "0 4 * * * root cd /srv && make",
        system=True,
    ),
    error(
        "prose",
        "The line is neither an entry, a variable nor a comment.",
        "Backup of the shop:\n0 4 * * * x",
        "# Backup of the shop:\n0 4 * * * x",
    ),
    error("same-id", "Two entries have one id; a change of the command makes another one."),
    error("too-many-entries", "The configuration limits the number of entries of a table."),
    error("too-many-problems", "The table has more than a hundred errors; the rest was not read."),
)

VARIABLES: tuple[Code, ...] = (
    error("bad-variable", "There is no name before the =.", "=x\n@daily y", "A=x\n@daily y"),
    error(
        "bad-quotes",
        "Nothing may follow the closing quote of a value, also no comment; and each quote needs a"
        " partner.",
        'TOKEN="a1" # of March\n@daily x',
        '# of March\nTOKEN="a1"\n@daily x',
    ),
    error(
        "export",
        "A table is no shell script: a variable is NAME=value.",
        "export LANG=C\n@daily x",
        "LANG=C\n@daily x",
    ),
    error("too-many-variables", "The variables of a table have at most 65536 characters."),
    error(
        "bad-setting",
        "The value is none that this setting takes; pycrontab(5) describes each setting.",
        "CRON_TIMEOUT=1 hour\n@daily x",
        "CRON_TIMEOUT=1h\n@daily x",
    ),
    error(
        "unknown-setting",
        "Names that begin with CRON_ are settings of pycron, and this is none.",
        "CRON_MEM=1G\n@daily x",
        "CRON_MEMORY_MAX=1G\n@daily x",
    ),
    error(
        "unknown-zone",
        "The time zone database has no such zone. Names are like Europe/Berlin.",
        "CRON_TZ=Europe/Munich\n@daily x",
        "CRON_TZ=Europe/Berlin\n@daily x",
    ),
    warning("above-ceiling", "The configuration limits the value for users' tables ([ceilings])."),
    warning("unknown-pool", "The configuration has no such pool, so there is no limit."),
    warning("pool-denied", "The pool is for other users, so the Jobs count against none."),
    error(
        "unknown-calendar",
        "The configuration has no such calendar ([calendars]). It is a warning where the"
        " configuration cannot be read.",
    ),
    error(
        "bad-message",
        "The entry has CRON_SEND, so its text is the name of a task and its arguments: a list, an"
        " object, or a list and an object, as JSON.",
        "CRON_SEND=shop 0 4 * * * shop.tasks.refresh days=3",
        'CRON_SEND=shop 0 4 * * * shop.tasks.refresh {"days": 3}',
    ),
    error("unknown-sender", "The configuration has no such section [senders.NAME]."),
    error("sender-denied", "The section [senders.NAME] is for other users."),
    warning("unknown-notification", "The configuration has no such section [notify.NAME]."),
    warning("notification-denied", "The section [notify.NAME] is for other users."),
    warning(
        "mail-unsafe",
        "A part of the value is no mail address. The name of the user is taken instead.",
        "MAILTO=<ops@example.org>\n@daily x",
        "MAILTO=ops@example.org\n@daily x",
    ),
    warning(
        "mail-nowhere",
        "This machine has nothing that sends mail, so MAILTO has no effect.",
    ),
)

FILES: tuple[Code, ...] = (
    warning(
        "byte-order-mark",
        "The file begins with a byte order mark, which editors of Windows write. pycron passes over"
        " it. Other crons take it for a part of the first line, which is then void.",
        "\ufeffMAILTO=ops@example.org\n@daily x",
        "MAILTO=ops@example.org\n@daily x",
    ),
    warning(
        "carriage-return",
        "The line ends as on Windows. cron takes the carriage return for a part of the command.",
        "@daily x\r",
        "@daily x",
    ),
    warning(
        "unterminated",
        "The last line has no newline at its end. Debian's cron refuses such a table; cronie drops"
        " the line.",
    ),
    error("long-line", "A line has at most 131072 characters."),
    error("binary", "The file has a NUL byte: it is no text, and nothing in it runs."),
    error("not-a-table", "More entries are bad than good, so nothing in the file runs."),
    error("too-large", "The configuration limits the size of a table (limits.table_bytes)."),
    error("missing", "There is no such file."),
    error("unreadable", "The file cannot be read."),
    error("not-a-file", "Tables are regular files."),
    error("symlink", "A symbolic link is no table here: put the file itself there."),
    error("wrong-owner", "The file belongs to somebody else than the rules for its place allow."),
    error("writable", "Others can write to the file, so its commands could be anybody's."),
    error("mode", "The rules of the other cron, whose place this is, refuse the mode."),
    error("hard-link", "The file has a further name, which somebody else could have made."),
    warning("version-not-kept", "The table is installed, but `--restore` will not have it."),
    warning(
        "ignored-file",
        "The daemon passes over the file because of its name: in a directory of system tables, a"
        " name has letters, digits, _ and - only (run-parts). So editors' backups and the copies of"
        " package managers are no tables, and neither is php8.2 or back.up.",
    ),
)

MACHINE: tuple[Code, ...] = (
    error("bad-configuration", "pycron.toml cannot be used; the daemon keeps the last good one."),
    error(
        "shared-name-twice",
        "Two tables of this host have a shared job (CRON_ON=any) of one user and one CRON_NAME. For"
        " the cluster they are one job, so only one of the commands runs at a fire time.",
    ),
    warning("other-cron", "Another cron on this machine runs the same tables."),
)
