"""What was probably meant by a verb or an argument that does not exist."""

import difflib
from collections.abc import Sequence

from pycron.model.text import printable

# Words of other programs, or of everyday language, and the command that does this here.
_MEANT = {
    "logs": "log", "output": "log", "tail": "log -f",
    "run": "start JOB (now), test JOB (try it), runs (what ran)",
    "exec": "start", "execute": "start", "trigger": "start", "launch": "start",
    "history": "runs", "failed": "runs --failed", "failures": "runs --failed",
    "jobs": "list", "ls": "list", "entries": "list", "timers": "list",
    "ps": "top", "running": "top", "watch": "top", "queue": "top",
    "stop": "kill (end a Run), pause (start nothing)", "cancel": "kill", "abort": "kill",
    "disable": "pause", "hold": "pause", "suspend": "pause",
    "enable": "resume", "unpause": "resume", "continue": "resume",
    "retry": "dead redrive", "redrive": "dead redrive", "drop": "dead drop",
    "info": "show RUN, status", "inspect": "show", "describe": "explain", "detail": "show",
    "lint": "check", "validate": "check", "verify": "check", "doctor": "check",
    "try": "test", "dry-run": "simulate", "forecast": "simulate", "heatmap": "calendar",
    "upcoming": "next", "schedule": "next", "due": "next",
    "restart": "reload", "version": "--version", "help": "--help", "mail": "test-mail",
    "install": "setup", "uninstall": "setup --remove", "migrate": "import",
}  # fmt: skip
# What pycrontab does, in the forms of crontab(1).
_TABLES = ("edit", "crontab", "add", "remove", "delete")


def hint_at_verb(unknown: str, verbs: Sequence[str]) -> str:
    """A sentence that says that there is no such verb, and what to write."""
    return f'no verb "{printable(unknown)}" ({_hint(unknown.lower(), verbs)})'


def _hint(unknown: str, verbs: Sequence[str]) -> str:
    if unknown in _MEANT:
        return f"did you mean: {_commands(_MEANT[unknown], verbs)}?"
    if unknown in _TABLES:
        return "pycrontab -e edits a table, pycrontab -l prints it"
    alike = difflib.get_close_matches(unknown[:40], verbs, n=1, cutoff=0.6)
    return f"did you mean: pycron {alike[0]}?" if alike else "pycron --help lists them"


# What the first argument of a verb that takes none may have meant.
_ARGUMENTS = {
    "runs": "pycron runs --job {}", "list": "pycron list --match {}, pycron show {}",
    "status": "pycron show {}", "top": "pycron show {}", "reload": "pycron reload",
    "dead": "pycron dead redrive {}", "why": "pycron why JOB 'yesterday 02:30', with quotes",
}  # fmt: skip


def hint_at_arguments(verb: str, unknown: Sequence[str], options: Sequence[str]) -> str:
    """A sentence about arguments that a verb does not take. `options`: those that it has."""
    first = printable(unknown[0])
    alike = difflib.get_close_matches(first[:40], options, n=1, cutoff=0.6)
    hint = f"pycron {verb} --help lists what it takes" if verb else "pycron --help"
    if first.startswith("-") and alike:
        hint = f"did you mean {alike[0]}?"
    elif not first.startswith("-") and verb in _ARGUMENTS:
        hint = f"did you mean: {_ARGUMENTS[verb].replace('{}', first)}?"
    return f"unrecognized arguments: {printable(' '.join(unknown))} ({hint})"


def _commands(meant: str, verbs: Sequence[str]) -> str:
    """The commands with the name of the program in front, without verbs that do not exist."""
    found = [each for each in meant.split(", ") if each.split()[0] in verbs or each[0] == "-"]
    return ", ".join(f"pycron {each}" for each in found)
