"""The sysctls that a shell script sets: `sysctl -w`, `echo V > /proc/sys/…`, `… | tee /proc/sys/…`, `docker --sysctl`.

The script is read, never run: what a shell would compute (`$x`, the output of a program, another file) is not known
here, and named as such. What sets no sysctl is passed over.
"""

import bisect
import itertools
import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.tuning.lines import Found

_PROC_SYS = "/proc/sys/"
_CONCERNS = re.compile(r"sysctl|/proc/sys/", re.I)
_SETS = re.compile(r"(?<![\w.-])sysctl\w*\}?\s[^;&|]{0,200}?(=|(?<=\s)(-[a-z]*[wpf]\b|--(write|load|system)\b))", re.I)
_WRITES = re.compile(rf"(>|\bof=|\btee\s[^;&|]{{0,200}}?)\s{{0,9}}[\"']?{_PROC_SYS}")
_ENDS = {"{", "}", "do", "then", "else", "fi", "done"}
_BEFORE = {"sudo", "doas", "env", "command", "exec", "nohup", "if", "while", "!", "time"}
_SHELLS = {"sh", "bash", "dash", "ash", "ksh", "zsh"}
_SETS_NOTHING = {
    "echo",
    "printf",
    "[",
    "[[",
    "test",
    "cat",
    "head",
    "ls",
    "stat",
    "grep",
    "export",
    "local",
    "readonly",
}
"""Commands that write to none of their arguments, and run none."""

_TAKES_A_VALUE = {"-u", "-g", "-h", "-p", "-C", "-D", "-R"}  # sudo(8)
_OTHER_STREAMS = re.compile(r"(?<=\s)(\d?>&\d|[02-9]>>?\s*[^\s;&|]+)")
_DEEPEST = 3
_LONGEST_LINE = 1 << 16
_LONGEST_QUOTED = 80


@dataclass(slots=True)
class _Command:
    """One simple command: its words, and where its output goes."""

    words: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    _passing: bool = False

    @property
    def name(self) -> str:
        return posixpath.basename(self.words[0]) if self.words else ""

    def take(self, word: str) -> None:
        """A word; what stands before a command (`sudo -u root`, `A=1`) is not of it."""
        if self.words or not (self._passing or word in _BEFORE or re.match(r"-|[A-Za-z_]\w*=", word)):
            self.words.append(word)
        else:
            self._passing = word in _TAKES_A_VALUE


def sets_sysctls(command: str) -> bool:
    """Whether this looks like a command that sets sysctls, by whatever program it is run."""
    return bool(_SETS.search(command) or _WRITES.search(command))


def read(text: str, source: str, found: Found) -> None:
    """Take in one script."""
    for line in _logical_lines(text):
        if found.full:
            return
        if len(line.text) > _LONGEST_LINE:
            found.trouble(source, line.first, 1, f"a line longer than {_LONGEST_LINE} characters")
        elif _CONCERNS.search(line.text):
            _Reader(line, source, found).read(line.text, 0)


@dataclass(frozen=True, slots=True)
class _Logical:
    """A line, joined where a backslash ended it, that knows where its parts stood."""

    text: str
    starts: list[int]
    first: int

    def position(self, word: str) -> tuple[int, int]:
        """Line and column of a word as it is written; the line's beginning where quotes have changed it."""
        at = self.text.find(word)
        while at > 0 and re.match(r"[\w.]", self.text[at - 1]):  # `y` is not the y of sysctl
            at = self.text.find(word, at + 1)
        at = len(self.text) - len(self.text.lstrip()) if at < 0 else at
        row = bisect.bisect(self.starts, at) - 1
        return self.first + row, at - self.starts[row] + 1


def _logical_lines(text: str) -> Iterator[_Logical]:
    joined, starts, first = "", [0], 1
    for number, line in enumerate(re.split(r"\r?\n", text), 1):
        if (len(line) - len(line.rstrip("\\"))) % 2 and not joined.lstrip().startswith("#"):
            joined += line[:-1]
            starts.append(len(joined))
            continue
        yield _Logical(joined + line, starts, first)
        joined, starts, first = "", [0], number + 1
    if joined:
        yield _Logical(joined, starts, first)


class _Reader:
    def __init__(self, line: _Logical, source: str, found: Found) -> None:
        self._line, self._source, self._found = line, source, found

    def read(self, text: str, depth: int) -> None:
        text = _OTHER_STREAMS.sub("", text)  # shlex tears `2>` apart, and `echo 2 >` looks the same then
        lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            tokens = list(lexer)
        except ValueError as error:
            self._trouble("", str(error).lower())
            return
        for pipeline in _pipelines(tokens):
            for sender, command in itertools.pairwise([_Command(), *pipeline]):
                self._take(sender, command, depth)

    def _take(self, sender: _Command, command: _Command, depth: int) -> None:
        written = [target for target in command.targets if target.startswith(_PROC_SYS)]
        if command.name == "sysctl":
            self._sysctl(command.words[1:])
        elif depth < _DEEPEST and (inner := _given_to_a_shell(command)):
            self.read(inner, depth + 1)
        elif command.name == "tee":
            self._output(sender, [word for word in command.words[1:] if word.startswith(_PROC_SYS)])
        else:
            self._options(command.words)
            self._unread(command)
        self._output(sender if command.name == "tee" else command, written)
        files = command.targets + (command.words[1:] if command.name == "tee" else [])
        if any(re.search(r"sysctl.*\.conf$", each) for each in files):
            self._trouble("", "settings written to a file. Give that file itself")

    def _sysctl(self, words: list[str]) -> None:
        optional, settings = False, []
        for word in words:
            if re.fullmatch(r"-[a-zA-Z]*[pf].*|--(load|system).*", word):
                self._trouble(word, f"sysctl {word} reads other files. Give those files themselves")
                return
            optional = optional or bool(re.fullmatch(r"-[a-zA-Z]*e[a-zA-Z]*|--ignore", word))
            settings += [] if word.startswith("-") else [word]
        writes = any(re.fullmatch(r"-[a-zA-Z]*w[a-zA-Z]*|--write", word) for word in words)
        for word in settings:
            if "=" in word or writes:
                self._setting(word, optional=optional)

    def _options(self, words: list[str]) -> None:
        """Docker's `--sysctl key=value` and `--sysctl=key=value`; podman's and nerdctl's are the same."""
        container = object()
        for word, following in itertools.pairwise([*words, ""]):
            if word == "--sysctl":
                self._setting(following, scope=container)
            elif word.startswith("--sysctl="):
                self._setting(word.removeprefix("--sysctl="), scope=container)

    def _unread(self, command: _Command) -> None:
        """Name what sets a sysctl through a program that is not known here."""
        whole = " ".join(command.words)
        if command.name not in _SETS_NOTHING and (_PROC_SYS in whole or _SETS.search(whole)):
            shortened = whole if len(whole) <= _LONGEST_QUOTED else whole[:_LONGEST_QUOTED] + "…"
            self._trouble(command.words[0], f"a sysctl is set here in a way that is not read: {shortened}")

    def _setting(self, word: str, *, optional: bool = False, scope: object = None) -> None:
        key, equals, value = word.partition("=")
        if equals:
            self._add(key, value, optional=optional, scope=scope)
        else:
            self._trouble(word, f"no '=' in {word!r}")

    def _output(self, sender: _Command, targets: list[str]) -> None:
        for target in targets:
            value = _printed(sender)
            if value is None:
                self._trouble(target, f"what {sender.name or 'nobody'} writes to {target} is not known here")
            else:
                self._add(target.removeprefix(_PROC_SYS.removesuffix("/")), value, written_as=target)

    def _add(self, key: str, value: str, *, written_as: str = "", optional: bool = False, scope: object = None) -> None:
        where = written_as or key
        if re.search(r"[$`]", key + value):
            self._trouble(where, f"{key}={value}: what the shell puts there is not known here")
        else:
            place = (self._source, *self._line.position(where))
            self._found.setting(key, value, place, optional=optional, scope=scope)

    def _trouble(self, word: str, why: str) -> None:
        self._found.trouble(self._source, *self._line.position(word or "\n"), why)


def _given_to_a_shell(command: _Command) -> str:
    """The commands that a shell is given with -c; empty where this is none, or has none."""
    words = itertools.pairwise(command.words if command.name in _SHELLS else [])
    return next((following for word, following in words if re.fullmatch(r"-[a-z]*c", word)), "")


def _printed(command: _Command) -> str | None:
    """What echo or printf print of these words, without the end of the line; None where that is not plain."""
    if command.name == "echo":
        return " ".join(itertools.dropwhile(re.compile(r"-[neE]+").fullmatch, command.words[1:]))
    if command.name == "printf" and len(command.words) > 1:
        shape, *values = command.words[1:]
        shape = shape.removesuffix("\\n").removesuffix("\n")
        if not values and not re.search(r"[%\\]", shape):
            return shape
        if shape in ("%s", "%d") and len(values) == 1:
            return values[0]
    return None


def _pipelines(tokens: list[str]) -> Iterator[list[_Command]]:
    pipeline = [_Command()]
    stream = iter(tokens)
    for token in stream:
        if token in ("|", "|&"):
            pipeline.append(_Command())
        elif token in _ENDS or not set(token) - set("();&|"):
            yield pipeline
            pipeline = [_Command()]
        elif not set(token) - set("<>&|"):
            target = next(stream, "")
            pipeline[-1].targets += [target] if ">" in token else []
        else:
            pipeline[-1].take(token)
    yield pipeline
