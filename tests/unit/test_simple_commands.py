"""Which commands are executed without a shell; test_direct.py compares them with real shells."""

from pathlib import Path

import pytest

from pycron.executor.simple_commands import simple_command
from pycron.system.mounts import Slow, quick_path, slow_mounts
from pycron.system.shells import environment_from, shell_at

SIMPLE = {
    "/bin/true": (["/bin/true"], []),
    " /bin/echo \t a  b ": (["/bin/echo", "a", "b"], []),
    "/bin/x -a --b=c d:e,f@g%h+i ../j": (
        ["/bin/x", "-a", "--b=c", "d:e,f@g%h+i", "../j"], []
    ),
    "/bin/x >/dev/null 2>&1": (["/bin/x"], [[1, ">", "/dev/null"], [2, ">&", 1]]),
    "/bin/x 2>&1 >>log a": (["/bin/x", "a"], [[2, ">&", 1], [1, ">>", "log"]]),
    "/bin/x < in 2> err": (["/bin/x"], [[0, "<", "in"], [2, ">", "err"]]),
    "/bin/x>a>b": (["/bin/x"], [[1, ">", "a"], [1, ">", "b"]]),
    "/bin/x a2>f": (["/bin/x", "a2"], [[1, ">", "f"]]),
    "/bin/x 2>f": (["/bin/x"], [[2, ">", "f"]]),
    "/bin/x 2 >f": (["/bin/x", "2"], [[1, ">", "f"]]),
    "/bin/x 1>2": (["/bin/x"], [[1, ">", "2"]]),
    "/bin/x >&2": (["/bin/x"], [[1, ">&", 2]]),
}  # fmt: skip

NOT_SIMPLE = (
    "", "true", "./x", "~/x", "A=b /bin/x", ">f /bin/x", "/bin/x;", "/bin/x &", "/bin/x|/bin/y",
    "/bin/x $a", "/bin/x `y`", "/bin/x 'a'", '/bin/x "a"', "/bin/x a\\ b", "/bin/x *", "/bin/x a?",
    "/bin/x [a]", "/bin/x {a,b}", "/bin/x ~", "/bin/x #a", "/bin/x !a", "/bin/x a\n/bin/y",
    "/bin/x a\r", "/bin/x \u00e4", "/bin/x\u00a0a", "/bin/x (a)", "/bin/x ^a",
    "/bin/x >", "/bin/x >|f", "/bin/x &>f", "/bin/x >&f", "/bin/x >& 2", "/bin/x >&-",
    "/bin/x 2>&1a", "/bin/x 2>&12", "/bin/x 2>&3", "/bin/x 3>f", "/bin/x 12>f", "/bin/x <<a",
    "/bin/x <<<a", "/bin/x <>f", "/bin/x <&0", "/bin/x > $f", "/bin/x >'f'",
)  # fmt: skip


@pytest.mark.parametrize("command", SIMPLE)
def test_a_simple_command(command: str) -> None:
    assert simple_command(command) == SIMPLE[command]


@pytest.mark.parametrize("command", NOT_SIMPLE)
def test_a_command_that_only_a_shell_can_start(command: str) -> None:
    assert simple_command(command) is None


def test_the_environment_that_dash_gives() -> None:
    passed = {"HOME": "/root", "LC_ALL": "C", "SHLVL": "5", "_": "x", "OLDPWD": "/nowhere"}
    assert environment_from("dash", passed, "/bin/x", "/tmp") == passed | {"PWD": "/tmp"}
    assert environment_from("dash", {"PWD": "/tmp"}, "/bin/x", "/tmp") == {"PWD": "/tmp"}


def test_the_environment_that_bash_gives() -> None:
    own = {"PWD": "/tmp", "SHLVL": "0", "_": "/bin/x"}
    assert environment_from("bash", {"A": "b", "_": "x"}, "/bin/x", "/tmp") == own | {"A": "b"}


@pytest.mark.parametrize(
    "name", ["IFS", "BASH_ENV", "ENV", "a.b", "\u00e4", "", "A\nB", "LD_PRELOAD"]
)
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_variables_that_a_shell_does_not_just_pass_on(shell: str, name: str) -> None:
    assert environment_from(shell, {name: ""}, "/bin/x", "/") is None


def test_variables_that_bash_does_not_just_pass_on() -> None:
    for name in ("LC_ALL", "SHLVL", "OLDPWD", "SSH_CLIENT", "PS4"):
        assert environment_from("bash", {name: ""}, "/bin/x", "/") is None


def test_another_working_directory_in_the_environment() -> None:
    assert environment_from("dash", {"PWD": "/tmp"}, "/bin/x", "/var/tmp") is None


def test_another_shell() -> None:
    assert environment_from("zsh", {}, "/bin/x", "/") is None
    assert shell_at("/usr/local/bin/bash") is None
    assert shell_at("/bin/cat") is None


MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda rw
22 21 0:5 / /proc rw shared:2 - proc proc rw
23 21 0:6 / /dev rw - devtmpfs dev rw
24 21 0:7 /data /mnt/nas\\040one rw shared:7 master:1 - nfs4 nas:/data rw
25 21 0:8 / /home rw - autofs systemd-1 rw
"""


def test_slow_mounts() -> None:
    assert set(slow_mounts(MOUNTS)) == {"/proc/", "/mnt/nas one/", "/home/"}
    assert slow_mounts("21 1 0:1 / / rw - 9p root rw\n") == ()


def test_a_path_is_slow_if_a_part_of_it_is(tmp_path: Path) -> None:
    slow = (f"{tmp_path}/nas/",)
    for name in ("quick", "nas", "nas/deep"):
        (tmp_path / name).mkdir()
    links = {"up": "quick/../nas", "here": "nas/deep", "loop": "loop", "fine": "quick"}
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    (tmp_path / "absolute").symlink_to(tmp_path / "nas" / "x")
    for path in ("nas", "nas/x", "quick/../nas/x", "up/x", "here/x", "absolute", "loop", "loop/x"):
        with pytest.raises(Slow):
            quick_path(f"{tmp_path}/{path}", slow)
    assert quick_path(f"{tmp_path}/fine/./x", slow) == f"{tmp_path.resolve()}/quick/x"
    assert quick_path(f"{tmp_path}/nas2", slow).endswith("/nas2")
    assert quick_path("/nowhere/x", slow) == "/nowhere/x"
