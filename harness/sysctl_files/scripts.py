"""The sysctls that a shell script sets: `sysctl -w`, `echo V > /proc/sys/…`, `… | tee /proc/sys/…`, `docker --sysctl`.

The script is read, never run: a value that a shell would compute (`$x`, the output of a program, another file) is not
known, and is reported. Known are a variable that is set once, to plain text, at the top level of the script; the
default in `${x:-1024}`; and what echo, printf or a here-document write to a file of sysctls. Commands that set no
sysctl are ignored.
"""

import itertools
import re
from dataclasses import dataclass, replace

from harness.sysctl_files.files import fills_a_file, is_read_at_boot
from harness.sysctl_files.lines import Found, names_a_secret, overruled
from harness.sysctl_files.shell import Command, Logical, logical_lines, pipelines, printed
from harness.sysctl_files.sysctl_d import SysctlD
from harness.sysctl_files.variables import (
    LONGEST_LINE,
    PROC_SYS,
    VARIABLE,
    Conditions,
    Variable,
    files_given,
    filled_in,
    plain_variables,
)

_CONCERNS = re.compile(r"sysctl|/proc/sys/", re.I)
_SETS = re.compile(r"(?<![\w.-])sysctl\w*\}?\s[^;&|]{0,200}?(=|(?<=\s)(-[a-z]*[wpf]\b|--(write|load|system)\b))", re.I)
_WRITES = re.compile(rf"(>|\bof=|\btee\s[^;&|]{{0,200}}?)\s{{0,9}}[\"']?{PROC_SYS}")


_SHOWN = re.compile(r"\s*(cat|:)[^>|;&]*$")

_SHELLS = {"sh", "bash", "dash", "ash", "ksh", "zsh"}
_SETS_NOTHING = {
    "echo", "printf", "[", "[[", "test", "cat", "head", "ls", "stat", "grep", "export", "local", "readonly",
}  # fmt: skip
"""Commands that neither write to their arguments nor run them."""

_READS = {
    "awk", "cmp", "column", "comm", "cut", "diff", "file", "gawk", "jq", "less", "mawk", "md5sum", "more", "od", "sed",
    "sha256sum", "sort", "tail", "tr", "uniq", "wc", "xxd",
}  # fmt: skip
"""Commands that only read the files named in their arguments, unless an option makes them write or run something."""

_COPIES = {"cp", "mv", "rsync", "scp", "install"}
_SUBSTITUTED = re.compile(r"\$\(([^()`]{0,2000})\)|`([^`]{0,2000})`")
_DEFAULT = re.compile(r"\$\{\w+:?-([^${}`]*)\}")


_DEEPEST = 3
_MOST_BODIES = 20
"""The most here-documents of one line."""

_LONGEST_QUOTED = 80


def sets_sysctls(command: str) -> bool:
    """Whether this looks like a command that sets sysctls, or writes their files, whatever program runs it."""
    return bool(_SETS.search(command) or _WRITES.search(command) or fills_a_file(command))


def read(text: str, source: str, found: Found, written: set[str] | None = None) -> None:
    """Read one script into `found`.

    `written`: if the script is a command inside another file, the files of sysctls that this other file writes: the
    command may load them, and anything else that `sysctl --system` loads does not belong to this file.
    """
    lines = list(logical_lines(text))
    part = written is not None
    script = _Script(
        source,
        found,
        files_given(lines),
        plain_variables(lines),
        set() if written is None else written,
        part,
        Conditions(),
    )
    at = 0
    while at < len(lines) and not found.full:
        bodies = list(itertools.takewhile(lambda line: line.sent_by, lines[at + 1 : at + 1 + _MOST_BODIES]))
        script.take(lines[at], bodies)
        at += 1 + len(bodies)


@dataclass(slots=True)
class _Script:
    source: str
    found: Found
    files: dict[str, str]
    variables: dict[str, Variable]
    written: set[str]
    is_a_part: bool
    conditions: Conditions

    def take(self, line: Logical, bodies: list[Logical]) -> None:
        """Read a line, with the here-documents that belong to it."""
        if len(line.text) > LONGEST_LINE or len(known := filled_in(line.text, self.files)) > LONGEST_LINE:
            why = f"a line longer than {LONGEST_LINE} characters"
            self.found.trouble(self.source, line.first, 1, why)
            return
        self.conditions.take(line.text)
        reader = _Reader(line, self, bodies)
        if _CONCERNS.search(known):
            reader.read(_without_reads(known), 0)
        for body in bodies:
            if body is not reader.sent:
                _here_document(body, self.source, self.found)

    def expanded(self, text: str, line: int) -> tuple[str, str]:
        """A text with its variables replaced by their values at that line, and the assumptions; unknown `$` stays."""
        notes: list[str] = []

        def default(match: re.Match[str]) -> str:
            notes.append(f"the default of {match[0]}")
            return match[1]

        def value(match: re.Match[str]) -> str:
            variable = self.variables.get(match[1] or match[3])
            if match[2] or not variable or variable.line >= line:
                return match[0]
            notes.append(variable.note)
            return variable.value

        text = _DEFAULT.sub(default, text) if "$" in text else text
        text = VARIABLE.sub(value, text) if "$" in text else text
        return text, "; ".join(dict.fromkeys(notes))


def _without_reads(text: str) -> str:
    """A text without the command substitutions that only read sysctls, whose output is not known."""

    def unknown(match: re.Match[str]) -> str:
        inner = match[1] or match[2] or ""
        return "$…" if _CONCERNS.search(inner) and not sets_sysctls(inner) else match[0]

    for _ in range(_DEEPEST if "/proc/sys/" in text or "sysctl" in text else 0):
        text, before = _SUBSTITUTED.sub(unknown, text), text
        if text == before:
            break
    return text


def _here_document(body: Logical, source: str, found: Found) -> None:
    """Report a here-document that sets sysctls; one for cat alone is only shown on a terminal."""
    if _SHOWN.match(body.sent_by):
        return
    for number, line in enumerate(body.text.split("\n"), body.first):
        if not found.full and sets_sysctls(line):
            found.trouble(source, number, 1, "a here-document that sets sysctls: whether it is run is not known here")


class _Reader:
    def __init__(self, line: Logical, script: _Script, bodies: list[Logical]) -> None:
        self._line, self._script, self._bodies = line, script, bodies
        self._source, self._found = script.source, script.found
        self.sent: Logical | None = None
        """The here-document that is written to a file of sysctls."""

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
        written = [target for target in command.targets if target.startswith(PROC_SYS)]
        if command.name == "sysctl":
            self._sysctl(command.words[1:])
        elif depth < _DEEPEST and (inner := _given_to_a_shell(command)):
            self.read(_without_reads(inner), depth + 1)
        elif command.name == "tee":
            self._output(sender, [word for word in command.words[1:] if word.startswith(PROC_SYS)])
        else:
            self._options(command.words)
            self._unread(command)
        self._output(sender if command.name == "tee" else command, written)
        for file in command.targets + (command.words[1:] if command.name == "tee" else []):
            if is_read_at_boot(file):
                self._file(file, sender if command.name == "tee" else command)

    def _file(self, file: str, sender: Command) -> None:
        """Read what is written to a file of sysctls if it is plain text, else report it."""
        self._script.written.add(file)
        text, first = printed(sender), 0
        if text is None and sender.words[1:] in ([], ["-"]) and sender.name in ("", "cat") and len(self._bodies) == 1:
            self.sent = self._bodies[0]
            text, first = self.sent.text, self.sent.first
        if text is None:
            self._trouble(file, f"settings written to {file}. Hint: give that file itself")
            return
        part = SysctlD()
        notes = {}
        for number, raw in enumerate(text.split("\n")):
            where = (self._source, first + number, 1) if first else (self._source, *self._position(raw))
            if len(raw) > LONGEST_LINE:
                self._found.trouble(*where, f"a line longer than {LONGEST_LINE} characters")
                continue
            is_quoted = self.sent is not None and bool(first) and self.sent.word[:1] in ("'", '"', "\\")
            line, notes[where] = (raw, "") if is_quoted else self._script.expanded(raw, self._line.first)
            if re.search(r"[$`]", line) and not is_quoted and line.lstrip()[:1] not in ("#", ";"):
                self._found.trouble(*where, f"{raw.strip()}: the value that the shell inserts is not known here")
            else:
                part.read_line(line, where)
        sometimes, found = self._script.conditions.decide_about(file), Found()
        found.lines = [replace(line, note=notes.get(line.where, "")) for line in overruled(part.lines())]
        found.troubles = part.found.troubles
        note = f"as soon as {file} is loaded"
        self._found.take_in(found, lambda where: where, sometimes=sometimes, note=note)

    def _position(self, raw: str) -> tuple[int, int]:
        """The position of a setting's name in this line."""
        return self._line.position(raw.partition("=")[0].strip().removeprefix("-") or "\n")

    def _sysctl(self, words: list[str]) -> None:
        optional, settings = "", []
        for word in words:
            if why := self._loads(word, words):
                self._trouble(word, why)
            if _reads_files(word, words):
                return
            optional = "-e" if re.fullmatch(r"-[a-zA-Z]*e[a-zA-Z]*|--ignore", word) else optional
            settings += [] if word.startswith("-") else [word]
        writes = any(re.fullmatch(r"-[a-zA-Z]*w[a-zA-Z]*|--write", word) for word in words)
        secret = any(map(names_a_secret, words))
        for word in settings:
            if "=" in word or writes:
                self._setting(word, optional=optional, secret=secret, after_one="=" in "".join(settings))

    def _loads(self, option: str, words: list[str]) -> str:
        """Why the files that an option makes `sysctl` read are not known; empty if there are none, or all are."""
        written, files = self._script.written, _reads_files(option, words)
        if option.startswith("--system") and (written or self._script.is_a_part):
            return ""
        return "" if files and set(files) <= written else _why_not_read(option, files)

    def _options(self, words: list[str]) -> None:
        """Read Docker's `--sysctl key=value` and `--sysctl=key=value`; podman's and nerdctl's are the same."""
        container = object()
        for word, following in itertools.pairwise([*words, ""]):
            if word == "--sysctl":
                self._setting(following, scope=container)
            elif word.startswith("--sysctl="):
                self._setting(word.removeprefix("--sysctl="), scope=container)

    def _unread(self, command: Command) -> None:
        """Report a program that is not known here and that sets a sysctl or writes a file of sysctls."""
        whole = " ".join(command.words)
        if names_a_secret(whole):  # which may stand before its key
            shortened = f"{command.name} … (secret)"
        else:
            shortened = whole if len(whole) <= _LONGEST_QUOTED else whole[:_LONGEST_QUOTED] + "…"
        if command.name in _SETS_NOTHING:
            return
        if _SETS.search(whole) or (PROC_SYS in whole and not _only_reads(command, whole)):
            self._trouble(command.words[0], f"a sysctl is set here in a way that is not supported: {shortened}")
        elif fills_a_file(whole):
            self._script.written.add(whole)
            why = f"a file of sysctls is written here: {shortened}. Hint: give that file itself"
            self._trouble(command.words[0], why)

    def _setting(
        self, word: str, *, optional: str = "", scope: object = None, secret: bool = False, after_one: bool = False
    ) -> None:
        """Read a word as KEY=VALUE, or report it.

        `secret`: one of the words names a key whose value is a secret. `after_one`: one of them is KEY=VALUE.
        """
        key, equals, value = word.partition("=")
        shown = "(secret)" if secret and not names_a_secret(word) else repr(word)
        if equals:
            self._add(key, value, optional=optional, scope=scope)
        elif after_one and not re.search(r"[./]", word):
            self._trouble(word, f"{shown} is not KEY=VALUE. Hint: quote a value with spaces: 'key=1 2'")
        else:
            self._trouble(word, f"no '=' in {shown}")

    def _output(self, sender: Command, targets: list[str]) -> None:
        for target in targets:
            value = printed(sender)
            if value is None:
                self._trouble(target, f"what {sender.name or 'this line'} writes to {target} is not known here")
            else:
                self._add(target.removeprefix(PROC_SYS.removesuffix("/")), value, written_as=target)

    def _add(self, key: str, value: str, *, written_as: str = "", optional: str = "", scope: object = None) -> None:
        where, line = written_as or key, self._line
        known, note = self._script.expanded(f"{key}={value}", line.first)
        if re.search(r"[$`]", known):
            self._trouble(where, f"{where}={value}: the value that the shell inserts is not known here")
            return
        place = (self._source, *line.position(where))
        sometimes = self._script.conditions.decide_about(where)
        key, _, value = known.partition("=")
        self._found.setting(key, value, place, optional=optional, scope=scope, sometimes=sometimes,
                            at_start=scope is not None, note=note)  # fmt: skip

    def _trouble(self, word: str, why: str) -> None:
        self._found.trouble(self._source, *self._line.position(word or "\n"), why)


def _only_reads(command: Command, whole: str) -> bool:
    """Whether a command that names a sysctl's file only reads it."""
    if _WRITES.search(whole):
        return False
    if command.name == "sed":
        return not any(re.match(r"-[a-zA-Z]*i|--in-place", word) for word in command.words)
    if command.name in _COPIES:
        return not command.words[-1].startswith(PROC_SYS) and not any(word.startswith("-t") for word in command.words)
    return command.name in _READS


def _reads_files(option: str, words: list[str]) -> list[str]:
    """The files that an option makes `sysctl` read (sysctl(8)); empty if there are none."""
    if option.startswith("--system"):
        return ["the sysctl.d directories and /etc/sysctl.conf"]
    if not (read := re.fullmatch(r"-[a-oq-zA-Z]*p(.*)|-[a-zA-Z]*f.*|--load(?:=(.*))?", option, re.S)):
        return []
    named = [word for word in words if word == "-" or not word.startswith("-")]
    return [attached] if (attached := read[1] or read[2]) else named or ["/etc/sysctl.conf"]


def _why_not_read(option: str, files: list[str]) -> str:
    if option.startswith("--system"):
        return f"sysctl --system reads {files[0]}. Hint: give those files"
    if {"-", "/dev/stdin"} & set(files):
        return f"sysctl {option} reads its standard input. Hint: give its input as a file"
    those = "that file itself" if len(files) == 1 else "those files themselves"
    return f"sysctl {option} reads {', '.join(files)}. Hint: give {those}" if files else ""


def _given_to_a_shell(command: Command) -> str:
    """The argument of a shell's -c; empty if the command is not a shell, or has no -c."""
    words = itertools.pairwise(command.words if command.name in _SHELLS else [])
    return next((following for word, following in words if re.fullmatch(r"-[a-z]*c", word)), "")
