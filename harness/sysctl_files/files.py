"""Recognises files of sysctls (sysctl.d(5)) that other files or commands write, and the commands that write them."""

import itertools
import re

from harness.sysctl_files.lines import LONGEST

_NAME = re.compile(r"sysctl(?:\.d(?:/[^\s;&|<>()\"'\]]*)?|[^\s;&|<>()\"'\]]{0,200}\.conf)(?![\w./-])")
_FILE = re.compile(r"(^|/)sysctl\.d(/|$)|sysctl.*\.conf$|(\$\{?|\{\{\s*)\w*sysctl", re.I)
"""A path, or a variable whose name contains sysctl."""

_DIRECTORY = re.compile(r"(^|/)sysctl\.d(/|$)")
_IN_ETC = re.compile(r"(^|/)etc(/|$)")
_NOT_KNOWN = re.compile(r"(?:[$*]|\}\})[^/]*$")
"""The end of a path whose name contains a variable or a glob."""

_LAST = re.compile(r"[\"'\]]{0,2}\s{0,9}(\d?[>;&|)\n\"']|$)")
_COMMAND_ENDS = re.compile(r"[;&|\n]")
_PATH_BEGINS = re.compile(r"[\s\"'<>=\[]")
_FURTHEST = 500
"""The most characters between a program and the file that it writes to."""

_NAMES_LIMIT = 25
"""The most names in one text that are examined; if there are more, assume that one is written."""

_COPIES = {"cp", "mv", "ln", "install", "rsync", "scp", "COPY", "ADD"}
_EDITS = {"sed", "perl"}
_FETCHES = {"curl", "wget"}
_PROGRAMS = re.compile(rf"(?<![\w.-])({'|'.join(sorted(_COPIES | _EDITS | _FETCHES | {'tee'}))})\s")


def is_sysctl_file(path: str) -> bool:
    """Whether this is the name of a file of sysctls, or of a directory of such files."""
    return len(path) <= LONGEST and bool(_FILE.search(path.strip()))


def is_read_at_boot(path: str) -> bool:
    """Whether a boot may read this file of sysctls, or this directory of such files, at this path."""
    if not is_sysctl_file(path):
        return False
    folder, _, name = path.strip().rpartition("/")
    if _DIRECTORY.search(folder):
        return "." not in name or name.endswith(".conf") or bool(_NOT_KNOWN.search(name))
    return not folder or bool(_IN_ETC.search(folder) or _NOT_KNOWN.search(folder)) or name == "sysctl.d"


def fills_a_file(command: str) -> bool:
    """Whether this looks like a command that writes to a file of sysctls, whatever program runs it."""
    command = command.replace("\\\n", " ")
    names = _NAME.finditer(command)
    return any(_is_filled(command, name) for name in itertools.islice(names, _NAMES_LIMIT)) or any(names)


def _is_filled(command: str, name: re.Match[str]) -> bool:
    before = _COMMAND_ENDS.split(command[max(0, name.start() - _FURTHEST) : name.start()])[-1]
    if not is_read_at_boot(_PATH_BEGINS.split(before)[-1] + name[0]):
        return False
    if re.search(r"(>\s*|\bof=)[^\s>]*$", before):
        return True
    if not (programs := set(_PROGRAMS.findall(before))):
        return False
    *words, _ = re.split(r"[\s\"']+", before)
    return (
        "tee" in programs
        or (bool(programs & _COPIES) and _is_copied_to(command, name, programs, words))
        or (bool(programs & _EDITS) and any(re.match(r"-\w*i|--in-place", word) for word in words))
        or (bool(programs & _FETCHES) and bool(re.fullmatch(r"-\w*[oO]|--output[\w-]*", words[-1])))
    )


def _is_copied_to(command: str, name: re.Match[str], programs: set[str], words: list[str]) -> bool:
    """Whether a copy writes to this name: the last one, or the one after -t. `install -d` only makes directories."""
    if "install" in programs and any(re.fullmatch(r"-\w*d\w*|--directory", word) for word in words):
        return False
    return bool(words[-1] in ("-t", "--target-directory") or _LAST.match(command, name.end()))
