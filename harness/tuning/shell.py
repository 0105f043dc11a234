"""A shell's text as far as words go: logical lines, pipelines, simple commands. Nothing is expanded, nothing is run."""

import bisect
import itertools
import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

_ENDS = {"{", "}", "do", "then", "else", "fi", "done"}
_BEFORE = {"sudo", "doas", "env", "command", "exec", "nohup", "if", "while", "!", "time"}
_TAKES_A_VALUE = {"-u", "-g", "-h", "-p", "-C", "-D", "-R"}  # sudo(8)
_OTHER_STREAMS = re.compile(r"(?<=\s)(\d?>&\d|[02-9]>>?\s*[^\s;&|]+)")


@dataclass(slots=True)
class Command:
    """One simple command: its words, and where its output goes."""

    words: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    _passing: bool = False

    @property
    def name(self) -> str:
        """The program, without its folder; empty where there is none."""
        return posixpath.basename(self.words[0]) if self.words else ""

    def take(self, word: str) -> None:
        """A word; what stands before a command (`sudo -u root`, `A=1`) is not of it."""
        if self.words or not (self._passing or word in _BEFORE or re.match(r"-|[A-Za-z_]\w*=", word)):
            self.words.append(word)
        else:
            self._passing = word in _TAKES_A_VALUE


@dataclass(frozen=True, slots=True)
class Logical:
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


def logical_lines(text: str) -> Iterator[Logical]:
    """The lines of a script, those that a backslash ended joined with the next."""
    joined, starts, first = "", [0], 1
    for number, line in enumerate(re.split(r"\r?\n", text), 1):
        if (len(line) - len(line.rstrip("\\"))) % 2 and not joined.lstrip().startswith("#"):
            joined += line[:-1]
            starts.append(len(joined))
            continue
        yield Logical(joined + line, starts, first)
        joined, starts, first = "", [0], number + 1
    if joined:
        yield Logical(joined, starts, first)


def pipelines(text: str) -> Iterator[list[Command]]:
    """The commands of a text, those that are piped into one another together. ValueError where quotes do not end."""
    text = _OTHER_STREAMS.sub("", text)  # shlex tears `2>` apart, and `echo 2 >` looks the same then
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return _pipelines(list(lexer))


def printed(command: Command) -> str | None:
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


def _pipelines(tokens: list[str]) -> Iterator[list[Command]]:
    pipeline = [Command()]
    stream = iter(tokens)
    for token in stream:
        if token in ("|", "|&"):
            pipeline.append(Command())
        elif token in _ENDS or not set(token) - set("();&|"):
            yield pipeline
            pipeline = [Command()]
        elif not set(token) - set("<>&|"):
            target = next(stream, "")
            pipeline[-1].targets += [target] if ">" in token else []
        else:
            pipeline[-1].take(token)
    yield pipeline
