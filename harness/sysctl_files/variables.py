"""The values of a shell script's variables, as far as they are certain, and whether a line is under a condition."""

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
"""Builtins that set the variables named in their arguments, and these arguments (bash(1), SHELL BUILTINS)."""

_NAME = re.compile(r"(?<![\w$])(?<!\$\{)([A-Za-z_]\w*)")
_SETS_IN_PLACE = re.compile(
    r"(?<![\w$.-])(\w+)(?:\[[^\]]{0,200}\])?(?:\s*(?:[-+*/%&|^]|<<|>>)=(?!=)|\+\+|--)"  # `N*=2`, `N++`
    r"|(?<![^\s;&|(])(\w+)\[[^\]]{0,200}\]="  # `N[0]=2`, which is N
    r"|\$\{(\w+):?="
    r"|(?<![\w$])\{(\w+)\}[<>]"  # bash opens a file, and sets N to its fd
    r"|(?<![^\s;&|(])(?:export|declare|local|readonly|typeset)\s[^;&|\n]{0,200}?(?<=\s)[\"'](\w+)\+?="
)

_SETS_IN_ARITHMETIC = re.compile(r"(?<![\w$.-])(\w+)\s*=(?!=)|(?:\+\+|--)\s*([A-Za-z_]\w*)")
"""Further forms of assignment after `((`, in addition to _SETS_IN_PLACE."""

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
"""A sourced file, or eval, may change variables that were set before."""

_SETS_ANY = re.compile(
    r"(?<![^\s;&|(){}`])(?:printf\s+-v\s*[\"']?\$"
    r"|(?:declare|local|typeset)\s+-\w*n\w*\s[^;&|\n]{0,200}?\$"
    r"|(?:read|unset|getopts|mapfile|readarray)\s[^;&|<>()\n]{0,200}?(?<=\s)[\"']?\$\{?\w+\}?[\"']?\s*(?=$|[;&|<>)\n]))"
)
"""An assignment to a variable whose name is the value of another variable, so that it may be any."""

_OPENS, _CLOSES = re.compile(r"\{[ \t]*(?:#.*)?$"), re.compile(r"[ \t]*\}")

LONGEST_LINE = 1 << 16
_LONGEST_FILE = 255


class Variable(NamedTuple):
    """A variable's value, the line that sets it, and what had to be assumed."""

    value: str
    line: int
    note: str


def plain_variables(lines: list[Logical]) -> dict[str, Variable]:
    """The variables that are set once, to plain text, outside any function, condition or loop."""
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
    """The variables that are set to a sysctl's path or to the name of a file of sysctls.

    Order, branches and loops are not followed: a variable that is set more than once becomes /proc/sys/$NAME.
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
    """Each variable that a line sets, and its value; an empty value if it is not known."""
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
    """Each variable that a line sets, or may set, other than by `N=value`: a quoted word may be its name."""
    for builtin in _SETS_ARGUMENTS.finditer(line):
        names = _NAME.findall(builtin[1])
        yield from names[:1] if builtin[0].startswith("printf") else names
    arithmetic = line.partition("((")[2]
    for match in (*_SETS_IN_PLACE.finditer(line), *_SETS_IN_ARITHMETIC.finditer(arithmetic)):
        yield next(filter(None, match.groups()))


def filled_in(text: str, files: dict[str, str]) -> str:
    """A text with its variables replaced by their values; one that the shell would modify (`${x%y}`) stays unknown."""

    def value(variable: re.Match[str]) -> str:
        name = variable[1] or variable[3]
        if name not in files:
            return variable[0]
        return f"{PROC_SYS}${name}" if variable[2] else files[name]

    return VARIABLE.sub(value, text) if files else text


class Conditions:
    """Decides whether words of a line are under a condition: inside `if`, `case` or a loop, or after && or ||."""

    def __init__(self) -> None:
        self._line, self._at = "", 0
        self._depths = [(0, 0)]
        self._ands = [(-1, False)]

    def take(self, line: str) -> None:
        """Move to the next line."""
        self._line, self._at = line, 0
        steps = [(found.end(), 1) for found in _BEGINS.finditer(self._line)]
        steps += [(found.start(), -1) for found in _FINISHES.finditer(self._line)]
        depths = [(0, self._depths[-1][1])]
        for at, step in sorted(steps):
            depths.append((at, max(0, depths[-1][1] + step)))
        self._depths = depths
        self._ands = [(-1, False), *((found.start(), len(found[0]) > 1) for found in _ANDS.finditer(self._line))]

    def decide_about(self, word: str) -> bool:
        """Whether a word of the current line is under a condition; call it for the words in their order."""
        at = max(self._at, self._line.find(word, self._at))
        self._at = at + len(word)
        _, depth = self._depths[bisect.bisect(self._depths, (at, sys.maxsize)) - 1]
        _, after_and = self._ands[bisect.bisect(self._ands, (at, True)) - 1]
        return depth > 0 or after_and
