"""What a shell script gives to its variables, as far as that is certain, and under which conditions a line stands."""

import bisect
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

from harness.sysctl_files.files import is_sysctl_file
from harness.sysctl_files.shell import Logical

PROC_SYS = "/proc/sys/"
_ASSIGNED = re.compile(r"(?<![^\s;&|(])(\w+)(\+?)=[\"']?([^\s;&|<>()\"'`]*)")
_FOR = re.compile(r"(?<![^\s;&|(])(?:for|select)\s([^;&|<>()\"'`\n]*)")
_SETS_ARGUMENTS = re.compile(
    r"(?<![^\s;&|(){}`])(?:(?:let|read|unset|getopts|mapfile|readarray|(?:declare|local|typeset)\s+-\w*n\w*)(?=\s)"
    r"|printf\s+-v)((?:\"[^\"]*\"|'[^']*'|[^;&|<>()\n])*)"
)
"""Builtins that set variables whose names are among their arguments, and these arguments (bash(1), SHELL BUILTINS)."""

_NAME = re.compile(r"(?<![\w$])(?<!\$\{)([A-Za-z_]\w*)")
_SETS_IN_PLACE = re.compile(
    r"(?<![\w$.-])(\w+)(?:\[[^\]]{0,200}\])?(?:\s*(?:[-+*/%&|^]|<<|>>)=(?!=)|\+\+|--)"  # `N*=2`, `N++`
    r"|(?<![^\s;&|(])(\w+)\[[^\]]{0,200}\]="  # `N[0]=2`, which is N
    r"|\$\{(\w+):?="
    r"|(?<![\w$])\{(\w+)\}[<>]"  # bash opens a file, and gives N its number
    r"|(?<![^\s;&|(])(?:export|declare|local|readonly|typeset)\s[^;&|\n]{0,200}?(?<=\s)[\"'](\w+)\+?="
)

_SETS_IN_ARITHMETIC = re.compile(r"(?<![\w$.-])(\w+)\s*=(?!=)|(?:\+\+|--)\s*([A-Za-z_]\w*)")
"""After `((`, beside what _SETS_IN_PLACE has."""

VARIABLE = re.compile(r"\$(?:\{(\w+)([^\w}][^}]{0,500})?\}|(\w+))")
_BEGINS = re.compile(r"(?:^|[;&|({]|\b(?:then|do|else)\b)\s*(?:if|case|for|while|until)\b")
_ANDS = re.compile(r"&&|\|\||[;\n]")
_FINISHES = re.compile(r"(?:^|[;&|\s])(?:fi|esac|done)(?=$|[\s;&|)<>])")
_ASSIGNMENT = re.compile(
    r"\s*(?:(?:export|readonly|declare|typeset)\s+(?:-[grx]+\s+)*)?(\w+)="
    r"(?:\"([^\"$`\\]*)\"|'([^']*)'|([^\s;&|<>()\"'`$\\]*)|\"?(\$\{\w+:?-([^${}`\"]*)\})\"?)\s*(?:\s#.*)?"
)

_DEFAULT_ASSIGNED = re.compile(r"\s*:\s+\"?(\$\{(\w+):?=([^${}`\"]*)\})\"?\s*(?:\s#.*)?")
_MAY_SET_ANY = re.compile(r"(?:^|[;&|({\s])(?:\.|source|eval)\s+\S")
"""A file that is sourced after a variable was given its value may give it another."""

_SETS_ANY = re.compile(
    r"(?<![^\s;&|(){}`])(?:printf\s+-v\s*[\"']?\$"
    r"|(?:declare|local|typeset)\s+-\w*n\w*\s[^;&|\n]{0,200}?\$"
    r"|(?:read|unset|getopts|mapfile|readarray)\s[^;&|<>()\n]{0,200}?(?<=\s)[\"']?\$\{?\w+\}?[\"']?\s*(?=$|[;&|<>)\n]))"
)
"""The name of the variable that is set is itself a variable's value. In a function, the call sets it."""

_OPENS, _CLOSES = re.compile(r"\{[ \t]*(?:#.*)?$"), re.compile(r"[ \t]*\}")

LONGEST_LINE = 1 << 16
_LONGEST_FILE = 255


class Variable(NamedTuple):
    """What a script gives a variable, in which line, and what had to be assumed."""

    value: str
    line: int
    note: str


def plain_variables(lines: list[Logical]) -> dict[str, Variable]:
    """The variables that are given one plain text, outside of any function, condition or loop."""
    times: dict[str, int] = {}
    found: dict[str, Variable] = {}
    conditions, depth = Conditions(), 0
    for line in lines:
        if line.sent_by or len(line.text) > LONGEST_LINE:
            continue
        for name, _ in _given(line.text):
            times[name] = times.get(name, 0) + 1
        conditions.take(line.text)
        in_a_function = depth > 0 or "()" in line.text
        if _SETS_ANY.search(line.text) or (in_a_function and _MAY_SET_ANY.search(line.text)):
            return {}
        if _MAY_SET_ANY.search(line.text):
            for name in found:
                times[name] = times.get(name, 0) + 1
        depth -= bool(_CLOSES.match(line.text))
        if depth <= 0 and not conditions.decide_about("\n") and (given := _given_plainly(line)):
            found[given[0]] = given[1]
        depth += bool(_OPENS.search(line.text))
    return {name: its for name, its in found.items() if times.get(name, 0) <= 1}


def _given_plainly(line: Logical) -> tuple[str, Variable] | None:
    if match := _DEFAULT_ASSIGNED.fullmatch(line.text):
        return match[2], Variable(match[3], line.first, f"the default of {match[1]}")
    if not (match := _ASSIGNMENT.fullmatch(line.text)):
        return None
    if match[5]:
        return match[1], Variable(match[6], line.first, f"the default of {match[5]}")
    value = next(each for each in match.group(2, 3, 4) if each is not None)
    return match[1], Variable(value, line.first, f"${match[1]} is {value or 'empty'} by line {line.first}")


def files_given(lines: list[Logical]) -> dict[str, str]:
    """The variables that were given a sysctl's path, or a file of sysctls, by name.

    The shell's order, branches and loops are not followed: one that is given more than once is /proc/sys/$NAME.
    """
    given: dict[str, set[str]] = {}
    for line in lines:
        if len(line.text) <= LONGEST_LINE and not line.sent_by:
            for name, value in _given(line.text):
                given.setdefault(name, set()).add(value)
    files: dict[str, str] = {}
    for name, values in given.items():
        paths = [filled_in(value, files)[:_LONGEST_FILE] for value in values]
        if any(is_sysctl_file(path) or path.startswith(PROC_SYS) for path in paths):
            files[name] = paths[0] if len(paths) == 1 else f"{PROC_SYS}${name}"
    return files


def _given(line: str) -> Iterator[tuple[str, str]]:
    """Each variable that a line gives a value, and the value; empty where it is, or may be, another."""
    for assigned in _ASSIGNED.finditer(line):
        yield assigned[1], assigned[3][:_LONGEST_FILE]
        if assigned[2] or line[: assigned.start()].count("(") > line[: assigned.start()].count(")"):
            yield assigned[1], ""
    for words in _FOR.findall(line):
        names = words.split()
        yield from ((name, "") for name in names[:1])
        yield from ((names[0], value[:_LONGEST_FILE]) for value in names[2:])
    yield from ((name, "") for name in _changed(line))


def _changed(line: str) -> Iterator[str]:
    """Each variable that a line sets otherwise than by `N=value`, or may set: a word in quotes may be its name."""
    for builtin in _SETS_ARGUMENTS.finditer(line):
        names = _NAME.findall(builtin[1])
        yield from names[:1] if builtin[0].startswith("printf") else names
    arithmetic = line.partition("((")[2]
    for match in (*_SETS_IN_PLACE.finditer(line), *_SETS_IN_ARITHMETIC.finditer(arithmetic)):
        yield next(filter(None, match.groups()))


def filled_in(text: str, files: dict[str, str]) -> str:
    """A text with what its variables were given; where the shell would make something else of that, it is not known."""

    def value(variable: re.Match[str]) -> str:
        name = variable[1] or variable[3]
        if name not in files:
            return variable[0]
        return f"{PROC_SYS}${name}" if variable[2] else files[name]

    return VARIABLE.sub(value, text) if files else text


class Conditions:
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
