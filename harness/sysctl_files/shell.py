"""Splits a shell's text into logical lines, pipelines and simple commands. Nothing is expanded, nothing is run."""

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

_HERE = re.compile(r"(?<!<)<<-?[ \t]*([\"'\\]?([A-Za-z_]\w*))")
_ESCAPED_END = re.compile(r"\\n")
_QUOTING = re.compile(r"\\.?|[\"']|(?<!\S)#")
_QUOTE_ENDS = re.compile("'")
_MOST_JOINED = 500
"""The most lines that a quotation or backslashes may join; a quote that is longer has no end."""


@dataclass(slots=True)
class Command:
    """One simple command: its words, and the targets of its output."""

    words: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    _passing: bool = False

    @property
    def name(self) -> str:
        """The program's name, without its folder; empty if there is none."""
        return posixpath.basename(self.words[0]) if self.words else ""

    def take(self, word: str) -> None:
        """Add a word, unless it belongs to a prefix of the command (`sudo -u root`, `A=1`)."""
        if self.words or not (self._passing or word in _BEFORE or re.match(r"-|[A-Za-z_]\w*=", word)):
            self.words.append(word)
        else:
            self._passing = word in _TAKES_A_VALUE


@dataclass(frozen=True, slots=True)
class Logical:
    """A line, joined at backslashes and open quotes, with the positions of its parts."""

    text: str
    starts: list[int]
    first: int
    sent_by: str = ""
    """For a here-document, the line of the command that reads it."""
    word: str = ""
    """For a here-document, the word that ends it, as it is written: if quoted, nothing in the text is expanded."""

    def position(self, word: str) -> tuple[int, int]:
        """Line and column of a word; those of the line's beginning if quotes have changed the word."""
        at = self.text.find(word)
        while at > 0 and re.match(r"[\w.]", self.text[at - 1]):  # the word `y` is not the y in sysctl
            at = self.text.find(word, at + 1)
        at = len(self.text) - len(self.text.lstrip()) if at < 0 else at
        row = bisect.bisect(self.starts, at) - 1
        return self.first + row, at - self.starts[row] + 1


def logical_lines(text: str) -> Iterator[Logical]:
    """The lines of a script, joined at backslashes and open quotes; each here-document is a separate line."""
    raw = re.split(r"\r?\n", text)
    ends: dict[str, list[int]] = {}
    for number, line in enumerate(raw if "<<" in text else []):
        ends.setdefault(line.lstrip("\t"), []).append(number)
    at = 0
    while at < len(raw):
        line = _joined(raw, at)
        yield line
        at += len(line.starts)
        for written, word in _here_documents(line.text):
            later = ends.get(word, [])
            if (found := bisect.bisect_left(later, at)) < len(later):
                body, at = raw[at : later[found]], later[found] + 1
                starts = list(itertools.accumulate((len(each) + 1 for each in body), initial=0))[:-1]
                yield Logical("\n".join(body), starts or [0], at - len(body), line.text, written)


def _here_documents(line: str) -> list[tuple[str, str]]:
    """The end words of a line's here-documents, each with and without quotes; `<<` inside `((…))` shifts bits."""
    found = _HERE.finditer(line)
    outside = (each for each in found if line.count("((", 0, each.start()) <= line.count("))", 0, each.start()))
    return [(each[1], each[2]) for each in outside]


def _joined(raw: list[str], at: int) -> Logical:
    """The logical line that begins at index `at`."""
    text, starts, quote = "", [0], ""
    for number in range(at, min(at + _MOST_JOINED, len(raw))):
        quote, continued = _after(raw[number], quote)
        text += raw[number][:-1] if continued else raw[number]
        if not quote and not continued:
            break
        text += "" if continued else "\n"
        starts.append(len(text))
    else:
        starts.pop()
    return Logical(text, starts, at + 1)


def _after(line: str, quote: str) -> tuple[str, bool]:
    """The quote that is open at the end of a line, and whether a backslash joins the next line to it."""
    at = 0
    while token := (_QUOTE_ENDS if quote == "'" else _QUOTING).search(line, at):
        at = token.end()
        if token[0] == "\\":  # the last character of the line
            return quote, True
        if token[0] == "#" and not quote:
            return "", False
        if token[0] in ("'", '"'):
            quote = "" if token[0] == quote else quote or token[0]
    return quote, False


def pipelines(text: str) -> Iterator[list[Command]]:
    """The pipelines of a text, each a list of commands. ValueError if a quote does not end."""
    text = _OTHER_STREAMS.sub("", text)  # shlex splits `2>`, which then looks like `echo 2 >`
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return _pipelines(list(lexer))


def printed(command: Command) -> str | None:
    """The output of echo or printf, without the last newline; None if it cannot be determined."""
    if command.name == "echo":
        options = list(itertools.takewhile(re.compile(r"-[neE]+").fullmatch, command.words[1:]))
        text = " ".join(command.words[1 + len(options) :])
        return _ESCAPED_END.sub("\n", text) if any("e" in option for option in options) else text
    if command.name == "printf" and len(command.words) > 1:
        shape, *values = command.words[1:]
        shape = _ESCAPED_END.sub("\n", shape)
        line = shape.removesuffix("\n")
        if not values and not re.search(r"[%\\]", line):
            return line
        if line in ("%s", "%d") and (len(values) == 1 or (values and line != shape)):
            return "\n".join(values)
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
