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

_HERE = re.compile(r"(?<!<)<<-?[ \t]*([\"'\\]?([A-Za-z_]\w*))")
_ESCAPED_END = re.compile(r"\\n")
_QUOTING = re.compile(r"\\.?|[\"']|(?<!\S)#")
_QUOTE_ENDS = re.compile("'")
_MOST_JOINED = 500
"""Lines that one quotation, or backslashes, may join: where it does not end by then, it ends nowhere."""


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
    sent_by: str = ""
    """Of a here-document, the line that sends it somewhere."""
    word: str = ""
    """Of a here-document, the word that ends it, as it is written: in quotes, nothing in the text is expanded."""

    def position(self, word: str) -> tuple[int, int]:
        """Line and column of a word as it is written; the line's beginning where quotes have changed it."""
        at = self.text.find(word)
        while at > 0 and re.match(r"[\w.]", self.text[at - 1]):  # `y` is not the y of sysctl
            at = self.text.find(word, at + 1)
        at = len(self.text) - len(self.text.lstrip()) if at < 0 else at
        row = bisect.bisect(self.starts, at) - 1
        return self.first + row, at - self.starts[row] + 1


def logical_lines(text: str) -> Iterator[Logical]:
    """The lines of a script, joined where a backslash or an open quote ends them; a here-document is one of its own."""
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
    """The words that end what follows, each as it is written, and alone; `<<` between `((` and `))` shifts bits."""
    found = _HERE.finditer(line)
    outside = (each for each in found if line.count("((", 0, each.start()) <= line.count("))", 0, each.start()))
    return [(each[1], each[2]) for each in outside]


def _joined(raw: list[str], at: int) -> Logical:
    """The line that begins there."""
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
    """The quote that is open at the end of a line, and whether a backslash joins the next one to it."""
    at = 0
    while token := (_QUOTE_ENDS if quote == "'" else _QUOTING).search(line, at):
        at = token.end()
        if token[0] == "\\":  # the last of the line
            return quote, True
        if token[0] == "#" and not quote:
            return "", False
        if token[0] in ("'", '"'):
            quote = "" if token[0] == quote else quote or token[0]
    return quote, False


def pipelines(text: str) -> Iterator[list[Command]]:
    """The commands of a text, those that are piped into one another together. ValueError where quotes do not end."""
    text = _OTHER_STREAMS.sub("", text)  # shlex tears `2>` apart, and `echo 2 >` looks the same then
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return _pipelines(list(lexer))


def printed(command: Command) -> str | None:
    """What echo or printf print of these words, without the end of the last line; None if that is not plain."""
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
