"""What the shells of commands are, and what they do to the environment of a program.

tests/integration/test_direct.py compares what is written here with dash and bash.

Imported by the runner: it stays small.
"""

import os
import re
from collections.abc import Mapping

DASH, BASH = "dash", "bash"
# The paths by which a shell is known. A program of the same name elsewhere may be anything.
SHELL_PATHS = frozenset(
    f"{directory}/{name}" for directory in ("/bin", "/usr/bin") for name in ("sh", DASH, BASH)
)
# A shell that gets one of these variables does more than to pass it on: it drops or changes it,
# reads a file, or says something. So do the dynamic loader and malloc in each program that starts.
_USED = r"BASH\w*|ENV|IFS|OPTIND|PPID|(?:LD|GLIBC|MALLOC)_\w*"
_USED_BY_BASH = (
    rf"{_USED}|COMP_WORDBREAKS|EPOCHREALTIME|EPOCHSECONDS|HISTCMD|LC_\w*|LINENO|OLDPWD|OPTERR"
    r"|POSIXLY_CORRECT|PS[0-9]|S?RANDOM|SECONDS|SHELLOPTS|SHLVL|SSH2?_CLIENT"
)
# Names that a shell passes on, each with a NUL at its end.
_PASSED_ON = {
    shell: re.compile(rf"(?:(?!(?:{used})\0)[A-Za-z_][A-Za-z0-9_]*\0)*")
    for shell, used in ((DASH, _USED), (BASH, _USED_BY_BASH))
}


def shell_at(path: str) -> str | None:
    """DASH or BASH; None if the program there is another shell, or nobody knows what it is."""
    if path not in SHELL_PATHS:
        return None
    name = os.path.basename(os.path.realpath(path))
    return name if name in _PASSED_ON else None


def environment_from(
    shell: str, passed: Mapping[str, str], program: str, directory: str
) -> dict[str, str] | None:
    """The environment of a program that is all that this shell executes (`SHELL -c PROGRAM`).

    `passed`: the environment of the shell. `program`: an absolute path, as the command has it.
    `directory`: the working directory, as getcwd(3) says it. None: only the shell can tell.
    """
    names = "".join([f"{name}\0" for name in passed])
    if shell not in _PASSED_ON or not _PASSED_ON[shell].fullmatch(names):
        return None
    if passed.get("PWD", directory) != directory:
        return None
    environment = {**passed, "PWD": directory}
    if shell == BASH:
        environment["SHLVL"], environment["_"] = "0", program
    return environment
