"""Network namespaces on one machine: each is a host, and a bridge in one of its own joins them."""

import os
import subprocess
from pathlib import Path

_NETS = Path("/run/netns")


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True)


class Network:
    """The namespaces `pycron-NAME`, with the addresses 10.77.0.1 and so on in their order."""

    def __init__(self, names: list[str]) -> None:
        self._switch = f"pycron-sw-{names[0]}"
        self.addresses = {name: f"10.77.0.{i}" for i, name in enumerate(names, 1)}
        self.remove()
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "br0", "up")
        for i, (name, address) in enumerate(self.addresses.items()):
            net = f"pycron-{name}"
            _ip("netns", "add", net)
            _ip("-n", self._switch, "link", "add", f"p{i}", "type", "veth", "peer", "name", "eth0",
                "netns", net)  # fmt: skip
            _ip("-n", self._switch, "link", "set", f"p{i}", "master", "br0", "up")
            _ip("-n", net, "addr", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", net, "link", "set", "eth0", "up")
            _ip("-n", net, "link", "set", "lo", "up")

    def remove(self) -> None:
        for name in (*(f"pycron-{each}" for each in self.addresses), self._switch):
            if (_NETS / name).exists():
                _ip("netns", "del", name, check=False)

    def inside(self, name: str) -> tuple[str, ...]:
        """The command that runs another one in a namespace."""
        return ("nsenter", f"--net={_NETS / f'pycron-{name}'}")

    def inode(self, name: str) -> int:
        return os.stat(_NETS / f"pycron-{name}").st_ino

    def drop(self, name: str, ways: str) -> None:
        """Drop packets of a host: `in`, `out` or `both`."""
        for way in ("in", "out") if ways == "both" else (ways,):
            hook = "input" if way == "in" else "output"
            rule = (
                f"add table inet f; add chain inet f {way} {{ type filter hook {hook} priority 0;"
            )
            self._nft(name, f"{rule} policy drop; }}")

    def heal(self, name: str) -> None:
        self._nft(name, "add table inet f; delete table inet f")

    def _nft(self, name: str, rules: str) -> None:
        subprocess.run([*self.inside(name), "nft", rules], check=True, capture_output=True)

    def processes(self, name: str) -> list[tuple[int, str]]:
        """The processes in a namespace, with their command lines."""
        found, inode = [], self.inode(name)
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if os.stat(entry / "ns/net").st_ino == inode:
                    line = (
                        (entry / "cmdline")
                        .read_bytes()
                        .replace(b"\0", b" ")
                        .decode(errors="replace")
                    )
                    found.append((int(entry.name), line))
            except OSError:  # it has ended, or is nobody's to look at
                continue
        return found
