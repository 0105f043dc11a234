"""The sysctls that a shell script sets: `sysctl -w`, `echo V > /proc/sys/…`, `… | tee /proc/sys/…`, `docker --sysctl`.

The script is read, never run: what a shell would compute (`$x`, the output of a program, another file) is not known
here, and named as such, but for a variable that was given the path of a sysctl or of a file of them. Settings that are
written to such a file are named as well: they set nothing before it is read. What sets no sysctl is passed over.
"""

import bisect
import itertools
import re
import sys
from collections.abc import Iterator

from harness.tuning.files import fills_a_file, is_read_at_boot, is_sysctl_file
from harness.tuning.lines import Found, names_a_secret
from harness.tuning.shell import Command, Logical, logical_lines, pipelines, printed

_PROC_SYS = "/proc/sys/"
_CONCERNS = re.compile(r"sysctl|/proc/sys/", re.I)
_SETS = re.compile(r"(?<![\w.-])sysctl\w*\}?\s[^;&|]{0,200}?(=|(?<=\s)(-[a-z]*[wpf]\b|--(write|load|system)\b))", re.I)
_WRITES = re.compile(rf"(>|\bof=|\btee\s[^;&|]{{0,200}}?)\s{{0,9}}[\"']?{_PROC_SYS}")

_ASSIGNED = re.compile(r"(?<![^\s;&|(])(\w+)(\+?)=[\"']?([^\s;&|<>()\"'`]*)")
_FOR_OR_READ = re.compile(r"(?<![^\s;&|(])(for|read)\s([^;&|<>()\"'`\n]*)")
_VARIABLE = re.compile(r"\$(?:\{(\w+)([^\w}][^}]*)?\}|(\w+))")

_SHOWN = re.compile(r"\s*(cat|:)[^>|;&]*$")
_BEGINS = re.compile(r"(?:^|[;&|({]|\b(?:then|do|else)\b)\s*(?:if|case|for|while|until)\b")
_ANDS = re.compile(r"&&|\|\||[;\n]")
_FINISHES = re.compile(r"(?:^|[;&|\s])(?:fi|esac|done)(?=$|[\s;&|)<>])")

_SHELLS = {"sh", "bash", "dash", "ash", "ksh", "zsh"}
_SETS_NOTHING = {
    "echo", "printf", "[", "[[", "test", "cat", "head", "ls", "stat", "grep", "export", "local", "readonly",
}  # fmt: skip
"""Commands that write to none of their arguments, and run none."""

_DEEPEST = 3
_LONGEST_LINE = 1 << 16
_LONGEST_QUOTED = 80
_LONGEST_FILE = 255


def sets_sysctls(command: str) -> bool:
    """Whether this looks like a command that sets sysctls, or fills their files, by whatever program it is run."""
    return bool(_SETS.search(command) or _WRITES.search(command) or fills_a_file(command))


def read(text: str, source: str, found: Found) -> None:
    """Take in one script."""
    lines = list(logical_lines(text))
    files, conditions = _files(lines), _Conditions()
    for line in lines:
        if found.full:
            return
        known = _filled_in(line.text, files) if len(line.text) <= _LONGEST_LINE else line.text
        if line.sent_by:
            _here_document(line, source, found)
        elif len(known) > _LONGEST_LINE:
            found.trouble(source, line.first, 1, f"a line longer than {_LONGEST_LINE} characters")
        else:
            conditions.take(line.text)
            if _CONCERNS.search(known):
                _Reader(line, source, found, conditions).read(known, 0)


def _files(lines: list[Logical]) -> dict[str, str]:
    """The variables that were given a sysctl's path, or a file of sysctls, by name.

    The shell's order, branches and loops are not followed: one that is given more than once is /proc/sys/$NAME.
    """
    given: dict[str, set[str]] = {}
    for line in lines:
        if len(line.text) <= _LONGEST_LINE and not line.sent_by:
            for name, value in _given(line.text):
                given.setdefault(name, set()).add(value)
    files: dict[str, str] = {}
    for name, values in given.items():
        paths = [_filled_in(value, files)[:_LONGEST_FILE] for value in values]
        if any(is_sysctl_file(path) or path.startswith(_PROC_SYS) for path in paths):
            files[name] = paths[0] if len(paths) == 1 else f"{_PROC_SYS}${name}"
    return files


def _given(line: str) -> Iterator[tuple[str, str]]:
    """Each variable that a line gives a value, and the value; empty where it is, or may be, another."""
    for assigned in _ASSIGNED.finditer(line):
        yield assigned[1], assigned[3][:_LONGEST_FILE]
        if assigned[2] or line[: assigned.start()].count("(") > line[: assigned.start()].count(")"):
            yield assigned[1], ""
    for keyword, words in _FOR_OR_READ.findall(line):
        names = words.split()
        for name in names if keyword == "read" else names[:1]:
            yield name, ""
        if keyword == "for":
            yield from ((names[0], value[:_LONGEST_FILE]) for value in names[2:])


def _filled_in(text: str, files: dict[str, str]) -> str:
    """A text with what its variables were given; where the shell would make something else of that, it is not known."""

    def value(variable: re.Match[str]) -> str:
        name = variable[1] or variable[3]
        if name not in files:
            return variable[0]
        return f"{_PROC_SYS}${name}" if variable[2] else files[name]

    return _VARIABLE.sub(value, text) if files else text


def _here_document(body: Logical, source: str, found: Found) -> None:
    """What cat alone is sent is text on a terminal; what else is sent somewhere may be commands."""
    if _SHOWN.match(body.sent_by):
        return
    for number, line in enumerate(body.text.split("\n"), body.first):
        if not found.full and sets_sysctls(line):
            found.trouble(source, number, 1, "a here-document that sets sysctls: who reads it is not known here")


class _Conditions:
    """Whether what a line sets is set only sometimes: within `if`, `case` and loops, or after && and ||."""

    def __init__(self) -> None:
        self._line, self._at = "", 0
        self._depths = [(0, 0)]
        self._ands = [(-1, False)]

    def take(self, line: str) -> None:
        """Go on to a line."""
        self._line, self._at = line, 0
        steps = [(found.end(), 1) for found in _BEGINS.finditer(self._line)]
        steps += [(found.start(), -1) for found in _FINISHES.finditer(self._line)]
        depths = [(0, self._depths[-1][1])]
        for at, step in sorted(steps):
            depths.append((at, max(0, depths[-1][1] + step)))
        self._depths = depths
        self._ands = [(-1, False), *((found.start(), len(found[0]) > 1) for found in _ANDS.finditer(self._line))]

    def decide_about(self, word: str) -> bool:
        """Asked of the words of a line in their order."""
        at = max(self._at, self._line.find(word, self._at))
        self._at = at + len(word)
        _, depth = self._depths[bisect.bisect(self._depths, (at, sys.maxsize)) - 1]
        _, after_and = self._ands[bisect.bisect(self._ands, (at, True)) - 1]
        return depth > 0 or after_and


class _Reader:
    def __init__(self, line: Logical, source: str, found: Found, conditions: _Conditions) -> None:
        self._line, self._source, self._found, self._conditions = line, source, found, conditions

    def read(self, text: str, depth: int) -> None:
        try:
            read = list(pipelines(text))
        except ValueError as error:
            self._trouble("", str(error).lower())
            return
        for pipeline in read:
            for sender, command in itertools.pairwise([Command(), *pipeline]):
                self._take(sender, command, depth)

    def _take(self, sender: Command, command: Command, depth: int) -> None:
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
        for file in command.targets + (command.words[1:] if command.name == "tee" else []):
            if is_read_at_boot(file):
                self._trouble(file, f"settings written to {file}. Give that file itself")

    def _sysctl(self, words: list[str]) -> None:
        optional, settings = "", []
        for word in words:
            if why := _reads_files(word, words):
                self._trouble(word, why)
                return
            optional = "-e" if re.fullmatch(r"-[a-zA-Z]*e[a-zA-Z]*|--ignore", word) else optional
            settings += [] if word.startswith("-") else [word]
        writes = any(re.fullmatch(r"-[a-zA-Z]*w[a-zA-Z]*|--write", word) for word in words)
        secret = any(map(names_a_secret, words))
        for word in settings:
            if "=" in word or writes:
                self._setting(word, optional=optional, secret=secret)

    def _options(self, words: list[str]) -> None:
        """Docker's `--sysctl key=value` and `--sysctl=key=value`; podman's and nerdctl's are the same."""
        container = object()
        for word, following in itertools.pairwise([*words, ""]):
            if word == "--sysctl":
                self._setting(following, scope=container)
            elif word.startswith("--sysctl="):
                self._setting(word.removeprefix("--sysctl="), scope=container)

    def _unread(self, command: Command) -> None:
        """Name what sets a sysctl, or fills a file of them, through a program that is not known here."""
        whole = " ".join(command.words)
        if names_a_secret(whole):  # which may stand before its key
            shortened = f"{command.name} … (secret)"
        else:
            shortened = whole if len(whole) <= _LONGEST_QUOTED else whole[:_LONGEST_QUOTED] + "…"
        if command.name in _SETS_NOTHING:
            return
        if _PROC_SYS in whole or _SETS.search(whole):
            self._trouble(command.words[0], f"a sysctl is set here in a way that is not read: {shortened}")
        elif fills_a_file(whole):
            self._trouble(command.words[0], f"a file of sysctls is written here: {shortened}. Give that file itself")

    def _setting(self, word: str, *, optional: str = "", scope: object = None, secret: bool = False) -> None:
        """`secret`: among the words beside it is the name of a key whose value is one."""
        key, equals, value = word.partition("=")
        if equals:
            self._add(key, value, optional=optional, scope=scope)
        else:
            self._trouble(word, f"no '=' in {'(secret)' if secret and not names_a_secret(word) else repr(word)}")

    def _output(self, sender: Command, targets: list[str]) -> None:
        for target in targets:
            value = printed(sender)
            if value is None:
                self._trouble(target, f"what {sender.name or 'nobody'} writes to {target} is not known here")
            else:
                self._add(target.removeprefix(_PROC_SYS.removesuffix("/")), value, written_as=target)

    def _add(self, key: str, value: str, *, written_as: str = "", optional: str = "", scope: object = None) -> None:
        where = written_as or key
        if re.search(r"[$`]", key + value):
            self._trouble(where, f"{where}={value}: what the shell puts there is not known here")
        else:
            place = (self._source, *self._line.position(where))
            sometimes = self._conditions.decide_about(where)
            self._found.setting(key, value, place, optional=optional, scope=scope, sometimes=sometimes)

    def _trouble(self, word: str, why: str) -> None:
        self._found.trouble(self._source, *self._line.position(word or "\n"), why)


def _reads_files(option: str, words: list[str]) -> str:
    """What `sysctl` is told by an option to read (sysctl(8)), and what to do; empty where it reads no file."""
    if option.startswith("--system"):
        return "sysctl --system reads the sysctl.d directories and /etc/sysctl.conf. Give those themselves"
    if not (read := re.fullmatch(r"-[a-oq-zA-Z]*p(.*)|-[a-zA-Z]*f.*|--load(?:=(.*))?", option, re.S)):
        return ""
    named = [word for word in words if word == "-" or not word.startswith("-")]
    files = [attached] if (attached := read[1] or read[2]) else named or ["/etc/sysctl.conf"]
    if {"-", "/dev/stdin"} & set(files):
        return f"sysctl {option} reads its standard input. Give what it is sent as a file of its own"
    those = "that file itself" if len(files) == 1 else "those files themselves"
    return f"sysctl {option} reads {', '.join(files)}. Give {those}"


def _given_to_a_shell(command: Command) -> str:
    """The commands that a shell is given with -c; empty where this is none, or has none."""
    words = itertools.pairwise(command.words if command.name in _SHELLS else [])
    return next((following for word, following in words if re.fullmatch(r"-[a-z]*c", word)), "")
