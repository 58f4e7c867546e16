"""The most telling word of a command: what people call a Job that has no CRON_NAME.

It is the script, the directory of run-parts, or the program behind what prepares it (`cd … &&`,
`test -x X ||`) and what wraps it (`sudo`, `env`, `flock`, `timeout`). The shell's grammar is read
only as far as this needs, and only in the first characters of a command.
"""

import re
from collections.abc import Iterator
from itertools import islice

_READ = 500  # characters
_MOST_COMMANDS = 20
_LONGEST = 32  # characters of the word
_MOST_SHELLS = 3  # shells within each other: sh -c "sh -c …"

# The name of a program that needs no reading of the shell's grammar, and what does need it.
_NAME = re.compile(r"""(?:[^/=;&|<>()'"\\`{}]*+/)*+([A-Za-z0-9][A-Za-z0-9._+-]{0,31})""")
_SEVERAL = re.compile(r"[\n;&|()]")  # it may have several commands
# No repetition gives anything back (`++`), so reading takes time that is linear in the command.
_TOKEN = re.compile(
    r"""(?P<redirect>[0-9]*+(?:<<<?|>>|[<>])[&|]?[ \t]*+[^ \t\n;&|<>()]*+)"""
    r"""|(?P<word>(?:[^ \t\n;&|<>()'"\\`$]++|\$\((?:[^()]++|\((?:[^()]++|\([^()]*+\))*+\))*+\)|\$"""
    r"""|\\.|'[^']*+'|`[^`]*+`"""
    r"""|"(?:[^"\\]|\\.)*+")++)"""
    r"""|(?P<end>[\n;&|()]++)|[ \t]++|.""",
    re.DOTALL,
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*+=")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._+-]")

# Words of the shell behind which a command follows, and words behind which none does.
_BEFORE_A_COMMAND = frozenset(("if", "then", "elif", "else", "while", "until", "do", "{", "!"))
_NO_COMMAND = frozenset(("for", "case", "select", "function", "esac", "fi", "done", "}"))
# What only prepares or guards the command that matters.
_PREPARING = frozenset((
    "cd", "pushd", "popd", "test", "[", "[[", ":", "true", "false", "sleep", "echo", "printf",
    "export", "set", "unset", "umask", "ulimit", ".", "source", "type", "which", "hash", "trap",
    "wait", "exit", "read", "return", "alias", "shopt", "eval", "exec", "command", "logger", "date",
    "grep", "pgrep", "mountpoint", "ping", "mkdir", "cat",
))  # fmt: skip
# Programs that run another one: their short options that have a value, and how many words stand
# between the options and the command.
_WRAPPERS = {
    "sudo": ("ugpCThrDR", 0), "doas": ("uC", 0), "env": ("uCS", 0), "nice": ("n", 0),
    "ionice": ("cnpPu", 0), "chrt": ("TPD", 1), "taskset": ("", 1), "nohup": ("", 0),
    "setsid": ("", 0), "time": ("fo", 0), "timeout": ("ks", 1), "flock": ("wE", 1),
    "lckdo": ("W", 1), "setlock": ("", 1), "run-one": ("", 0), "chronic": ("", 0),
    "cronic": ("", 0), "stdbuf": ("ioe", 0), "systemd-cat": ("tp", 0), "systemd-run": ("puEMHd", 0),
    "systemd-inhibit": ("", 0), "runuser": ("ugG", 0), "chroot": ("", 1), "gosu": ("", 1),
    "su-exec": ("", 1), "setuidgid": ("", 1), "chpst": ("ueEnrmdofpcP", 0), "exec": ("a", 0),
    "command": ("", 0), "dbus-run-session": ("", 0), "xvfb-run": ("efnpsw", 0),
    "xargs": ("aIEdnPLs", 0), "npx": ("", 0), "npm": ("", 1), "bundle": ("", 1), "poetry": ("", 1),
    "pipenv": ("", 1), "uv": ("", 1),
}  # fmt: skip
_LONG_WITH_VALUE = frozenset((
    "--user", "--group", "--adjustment", "--class", "--classdata", "--signal", "--kill-after",
    "--timeout", "--wait", "--unit", "--property", "--identifier", "--priority", "--chdir",
))  # fmt: skip
_SHELLS = frozenset(("sh", "bash", "dash", "ash", "zsh", "ksh"))
_OTHER_USER = frozenset(("su", "runuser"))  # they have the command of a shell behind any words
# Programs that run a script, and their short options that have a value.
_INTERPRETERS = {
    **dict.fromkeys(_SHELLS, "oO"),
    "python": "WX", "pypy": "WX", "perl": "", "ruby": "rI", "php": "dcz", "ea-php": "dcz",
    "node": "r", "nodejs": "r", "java": "", "Rscript": "",
}  # fmt: skip
_NAMES_SCRIPT = ("-m", "-jar", "-f")  # options of interpreters whose value says what is run
_TEXT = re.compile("-[a-z]*c|--command|-[eErR]")  # options whose value is the program itself
_SPECIAL = frozenset((*_BEFORE_A_COMMAND, *_NO_COMMAND, *_PREPARING, *_WRAPPERS, *_OTHER_USER,
                      *_INTERPRETERS, "run-parts"))  # fmt: skip


def telling_word(command: str) -> str:
    """The word, of characters that a CRON_NAME may have; `job` if a command has none."""
    first, *_ = command.split(maxsplit=1) or [""]
    plain = _NAME.fullmatch(first)
    if plain:
        program = plain[1]
        general = _unversioned(program)
        is_all = general in _PREPARING and not _SEVERAL.search(command, 0, _READ)
        if is_all or general not in _SPECIAL:
            return program
    return _telling(command[:_READ], _MOST_SHELLS) or "job"


def _telling(command: str, shells: int) -> str:
    """The word of the first command that does more than prepare another one; "" without any."""
    preparing = ""
    for words in islice(_commands(command), _MOST_COMMANDS):
        word, is_preparing = _program(words, shells)
        if word and not is_preparing:
            return word
        preparing = preparing or word
    return preparing


def _commands(text: str) -> Iterator[list[str]]:
    """The words of each simple command, without redirections."""
    words: list[str] = []
    for token in _TOKEN.finditer(text):
        if token["word"]:
            words.append(token["word"])
        elif token["end"]:
            yield words
            words = []
    yield words


def _program(words: list[str], shells: int) -> tuple[str, bool]:
    """The telling word of a simple command, and whether that only prepares another one."""
    words = _without_beginning(words)
    wrapper = ""
    while words:
        program = _base(words[0])
        inner = _inner_command(program, words)
        if inner is not None:
            return (_telling(inner, shells - 1) if shells else _cleaned(program)), False
        if _unversioned(program) in _INTERPRETERS:
            return _script(program, words[1:])
        if program == "run-parts":
            operands = [word for word in words[1:] if not word.startswith("-")]
            return _cleaned(_base((operands or words)[-1])), False
        behind = _wrapped(program, words)
        if behind is None:
            return _cleaned(program), program in _PREPARING
        wrapper = wrapper or _cleaned(program)
        words = _without_beginning(behind)
    return wrapper, True


def _without_beginning(words: list[str]) -> list[str]:
    """The words without assignments and words of the shell in front of the program."""
    for index, word in enumerate(words):
        if word in _NO_COMMAND:
            return []
        if word not in _BEFORE_A_COMMAND and not _ASSIGNMENT.match(word):
            return words[index:]
    return []


def _inner_command(program: str, words: list[str]) -> str | None:
    """The command that a shell runs, as in `sh -c TEXT`, `su USER -c TEXT`, `flock FILE -c TEXT`.

    None if there is none.
    """
    behind = words
    if program in _OTHER_USER:
        at = next((index for index, word in enumerate(words) if _TEXT.fullmatch(word)), len(words))
        behind = words[at:]
    elif program in _SHELLS:
        behind = _behind_options(words[1:], _INTERPRETERS[program])
    if len(behind) < 2 or not _TEXT.fullmatch(behind[0]):
        return None
    text = behind[1]
    return text[1:-1] if text[0] in "'\"" else text


def _script(interpreter: str, words: list[str]) -> tuple[str, bool]:
    """As `_program`: the script or module that an interpreter runs, else the interpreter."""
    behind = _behind_options(words, _INTERPRETERS[_unversioned(interpreter)])
    if behind[:1] and behind[0] in _NAMES_SCRIPT:
        behind = behind[1:]
    if not behind or _TEXT.fullmatch(behind[0]):
        return _cleaned(interpreter), True
    return _cleaned(_base(behind[0])) or _cleaned(interpreter), False


def _behind_options(words: list[str], with_value: str) -> list[str]:
    """The words from the first one that is no option, or whose value says what is run."""
    index = 0
    while index < len(words) and words[index].startswith("-") and words[index] != "-":
        word = words[index]
        if word == "--":
            return words[index + 1 :]
        if word in _NAMES_SCRIPT or _TEXT.fullmatch(word):
            break
        index += 2 if _has_value_behind(word, with_value) else 1
    return words[index:]


def _has_value_behind(option: str, with_value: str) -> bool:
    """Whether the next word is the value of an option. `with_value`: the letters that have one."""
    if option.startswith("--"):
        return option in _LONG_WITH_VALUE
    letters = option[1:]
    first = next((index for index, letter in enumerate(letters) if letter in with_value), None)
    return first == len(letters) - 1


def _wrapped(program: str, words: list[str]) -> list[str] | None:
    """The command that a program runs, if it is known to run one."""
    if program not in _WRAPPERS or (program == "command" and words[1:2] in (["-v"], ["-V"])):
        return None
    with_value, operands = _WRAPPERS[program]
    index = 1
    while index < len(words) and words[index].startswith("-"):
        word = words[index]
        index += 2 if _has_value_behind(word, with_value) else 1
        if word == "--":
            break
    return words[index + operands :]


def _base(word: str) -> str:
    """The last part of a path, without quotes."""
    return word.strip("\"'").rstrip("/").rpartition("/")[2]


def _unversioned(program: str) -> str:
    """The program without its version: `python3.11`, `php8.2`."""
    return program.rstrip("0123456789.") or program


def _cleaned(word: str) -> str:
    return _NOT_IN_NAMES.sub("", word)[:_LONGEST].lstrip(".-+_")
