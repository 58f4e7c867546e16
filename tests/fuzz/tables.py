"""Texts made from the grammar of tables: nearly right, and wrong in one place."""

import random
from collections.abc import Callable

_VALUES = ["*", "0", "59", "61", "7", "31", "jan", "SUN", "mon-fri", "1-5", "5-1", "*/5", "*/0",
           "1-9/2", "~", "0~30", "~/2", "H", "H(0-7)", "H/3", "L", "LW", "15W", "31W", "5#2", "5L",
           "", "4294967296", "9" * 600, "1-5-9", "*/99999", "é", "\udcff", "1\u00b2"]  # fmt: skip
_NICKNAMES = ["@daily", "@reboot", "@every 90s", "@every 0s", "@every", "@Daily", "@hourly", "@x"]
_NAMES = ["A", "MAILTO", "MAILFROM", "CRON_TZ", "RANDOM_DELAY", "SHELL", "PATH", "'a b'", '"x', "",
          "CRON_NAME", "CRON_RETRIES", "CRON_TIMEOUT", "CRON_RETRY_ON", "CRON_NOTIFY", "CRON_NICE",
          "CRON_MEMORY_MAX", "CRON_ON_FAILURE", "CRON_PING_URL", "CRON_XYZ", "CRON_CONCURRENCY",
          "CRON_UMASK", "CRON_CWD", "CRON_EXPECT_WITHIN", "CRON_PRIORITY"]  # fmt: skip
_TEXTS = ["1", "x", "", "'", '"', '"a b"', "a@b", "$USER,${LOGNAME}", "Europe/Berlin", "../../etc",
          "1h", "-1", "75,signal,1-9", "https://x/y", "-20", "512M", "/tmp", "a,b,c", "forbid",
          "\t", "é", "%in%put\\%", "\\", "-n -q", "root", "-nqs", "true # x", "\x1b[2J",
          "x" * 5000]  # fmt: skip
_BLANKS = [" ", "\t", "", "  ", " " * 300]
_ENDS = ["\n", "\n", "\n", "\r\n", "\n\n", ""]


class Maker:
    """Makes texts from random numbers; equal numbers make equal texts."""

    def __init__(self, numbers: random.Random) -> None:
        self._numbers = numbers

    def _one(self, choices: list[str]) -> str:
        return self._numbers.choice(choices)

    def field(self) -> str:
        return ",".join(self._one(_VALUES) for _ in range(self._numbers.choice([1, 1, 1, 2, 5])))

    def schedule(self) -> str:
        if self._numbers.random() < 0.2:
            return self._one(_NICKNAMES)
        return " ".join(self.field() for _ in range(self._numbers.choice([5, 5, 5, 5, 4, 6])))

    def entry(self) -> str:
        words = [self.schedule(), *(self._one(_TEXTS) for _ in range(self._numbers.randrange(4)))]
        return self._one(["", "-", " "]) + (self._one(_BLANKS) or " ").join(words)

    def assignment(self) -> str:
        blank = self._one(_BLANKS)
        return f"{self._one(_NAMES)}{blank}={blank}{self._one(_TEXTS)}"

    def line(self) -> str:
        makers: list[Callable[[], str]] = [
            self.entry, self.entry, self.assignment, lambda: "# " + self._one(_TEXTS),
            lambda: f"{self.assignment()} {self.entry()}", lambda: "",
        ]  # fmt: skip
        return self._numbers.choice(makers)()

    def table(self) -> str:
        lines = (self.line() + self._one(_ENDS) for _ in range(self._numbers.randrange(1, 8)))
        return self.spoilt("".join(lines))

    def spoilt(self, text: str) -> str:
        """The text, sometimes with a few characters changed, doubled or cut out."""
        while text and self._numbers.random() < 0.3:
            at = self._numbers.randrange(len(text))
            cut = self._numbers.randrange(0, 3)
            text = (
                text[:at] + self._one(["", "\0", "=", '"', "%", "@", " " * 50]) + text[at + cut :]
            )
        return text
