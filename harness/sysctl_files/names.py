"""Recognises names of sysctls in files that also contain other things."""

import functools
import re
from pathlib import Path

from harness.sysctl_files.lines import normalised

_FORM = re.compile(
    r"(?:/proc/sys/)?(net|vm|kernel|fs|user|dev|abi|debug|crypto|sunrpc|xen)((?:[./][\w*?@:%+-]+)+)", re.A
)
_NET = {
    "appletalk", "ax25", "bridge", "can", "core", "dccp", "decnet", "ethernet", "hsr", "ieee802154", "ipv4", "ipv6",
    "ipx", "irda", "iw_cm", "lapb", "llc", "mpls", "mptcp", "netfilter", "netrom", "nf_conntrack_max", "phonet", "rds",
    "rose", "rxrpc", "sctp", "smc", "tipc", "token-ring", "unix", "vrf", "vsock", "x25",
}  # fmt: skip
"""The folders of /proc/sys/net in this kernel and in others."""

_OF_A_SYSCTL = re.compile(r"[a-z][a-z0-9]*(?:[_-][a-z0-9]+)+")
_OF_A_FILE = re.compile(r".*\.(md|txt|py|sh|conf|ya?ml|json|img|bin|log|[ch]|rs|go|js|com|org|io|net|dev)")
_NUMBERS = re.compile(r"\s*-?\d[\d\s-]*|.*(\{\{|\$).*", re.S)
_LONGEST = 512


def is_name(text: str, value: str = "") -> bool:
    """Whether a text has the form of a sysctl's name. If its value is a number, less typical forms count, too."""
    match = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    if not match:
        return False
    names = re.split(r"[./]", match[2])[1:]
    if match[1] == "net" and names[0] in _NET and (len(names) > 1 or names[0] == "nf_conntrack_max"):
        return True
    if value and _NUMBERS.fullmatch(value[:_LONGEST]):
        return True
    return _is_of_linux_form(match[1], names, text) or bool(in_linux(text))


def _is_of_linux_form(root: str, names: list[str], text: str) -> bool:
    """Whether it looks like vm.dirty_ratio or fs.inotify.max_user_watches: joined words, and not a path."""
    return (
        root in ("vm", "kernel", "fs")
        and len(names) <= 2
        and "/" not in text
        and not _OF_A_FILE.fullmatch(text)
        and bool(_OF_A_SYSCTL.fullmatch(names[-1]))
    )


def in_linux(key: str) -> str:
    """The kernel's source file that defines a key, in any build of Linux; empty if none is known."""
    names = normalised(key.removeprefix("/proc/sys/")).split(".")
    found = _linux().get(".".join(names), "")
    if not found and len(names) > 3:
        found = _linux().get(".".join([*names[:3], "*", *names[4:]]), "")
    return found


@functools.cache
def _linux() -> dict[str, str]:
    """The keys of linux_keys.txt, each with its source file; `*` stands for an interface."""
    found, file = {}, ""
    for line in Path(__file__).with_name("linux_keys.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            file = line.strip("[]")
        elif line and not line.startswith("#"):
            found[line] = file
    return found
