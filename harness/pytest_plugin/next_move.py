"""What a role does when it is resumed: its source, from its current step to each step that it may reach next.

Read from the source alone: it cannot know which branch will be taken, but leaves out lines that cannot run.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

__tracebackhide__ = True

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


class Kind(StrEnum):
    """What a role may reach next."""

    STEP = "step"
    """A step, given by its name."""
    EXPRESSION = "expression"
    """A step whose name is computed, given by the expression."""
    DELEGATED = "delegated"
    """A step of another generator (`yield from`), given by the expression."""
    END = "end"
    RETURN = "return"
    """The end of a function that the role has delegated to, given by its name."""
    LOOP = "loop"
    """Nothing: a loop without an end and without a step, for example of a server that serves for ever."""


class Destination(NamedTuple):
    """One of the places that a role may reach."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class NextMove:
    """The places that a role may reach, and its source up to there, as (line number, line) in order of execution."""

    destinations: list[Destination]
    lines: list[tuple[int, str]]


def next_move(path: str, role_line: int, line: int | None) -> NextMove | None:
    """What the role defined at `role_line` does next, from the `yield` at `line`, or (None) from its start.

    The yield may be in another function of the file. None if the source cannot be read, or is not the code that runs.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, _Function)]
    except (OSError, SyntaxError, ValueError):
        return None
    role, function = _around(functions, role_line), _around(functions, line or role_line)
    if not role or not function:
        return None
    flow = _Flow(function)
    here = [each for each in flow.follows if line and _yielded(each) and each.lineno <= line <= _last_line(each)]
    if line and not here:
        return None
    return _move(flow, here[-1] if here else None, text, is_role=function is role)


def _move(flow: "_Flow", here: ast.stmt | None, source: str, *, is_role: bool) -> NextMove:
    lines = source.splitlines()
    statements = list(flow.ahead(here))
    after = _last_line(here) if here else 0
    ordered = sorted((each for each in statements if each), key=lambda each: (each.lineno <= after, each.lineno))
    destinations = [to for each in ordered for to in _destinations(each, source)]
    if None in statements:
        destinations.append(Destination(Kind.END, "") if is_role else Destination(Kind.RETURN, flow.name))
    if not destinations:
        destinations.append(Destination(Kind.LOOP, ""))
    numbers = dict.fromkeys(number for each in ordered for number in flow.lines[each])
    return NextMove(destinations, [(n, lines[n - 1]) for n in numbers if lines[n - 1].strip()])


def _around(functions: Sequence[_Function], line: int) -> _Function | None:
    """The innermost function that contains a line."""
    found = [each for each in functions if _first_line(each) <= line <= _last_line(each)]
    return max(found, key=_first_line, default=None)


def _first_line(function: _Function) -> int:
    """Its first line, including its decorators, as in the code object (co_firstlineno)."""
    return min([function.lineno, *(each.lineno for each in function.decorator_list)])


def _last_line(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _destinations(statement: ast.stmt, source: str) -> Iterator[Destination]:
    for found in _yielded(statement):
        match found:
            case ast.Yield(value=ast.Constant(value=str(name))):
                yield Destination(Kind.STEP, name)
            case ast.YieldFrom(value=value):
                yield Destination(Kind.DELEGATED, _text(value, source))
            case ast.Yield(value=value):
                yield Destination(Kind.EXPRESSION, _text(value, source) if value else "None")


def _text(expression: ast.expr, source: str) -> str:
    """Its source, on one line."""
    return " ".join((ast.get_source_segment(source, expression) or "").split())


def _yielded(statement: ast.stmt) -> list[ast.Yield | ast.YieldFrom]:
    """The yields of the statement itself, without those of statements inside it."""
    found: list[ast.Yield | ast.YieldFrom] = []
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            found.append(node)
        parts = (each for each in ast.iter_child_nodes(node) if not isinstance(each, (ast.stmt, *_NESTED)))
        waiting += [each for each in parts if not isinstance(each, ast.ExceptHandler | ast.match_case)]
    return found


def _takes_anything(case: ast.match_case) -> bool:
    return isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None and not case.guard


class _Loop(NamedTuple):
    head: ast.stmt
    after: ast.stmt | None


@dataclass(slots=True)
class _Flow:
    """Which statement of a function may follow which (None: the function ends), and the lines of each.

    An exception leads to the handlers of the try around it. An exception that ends the role is not listed.
    """

    function: _Function
    follows: dict[ast.stmt, list[ast.stmt | None]] = field(default_factory=dict)
    lines: dict[ast.stmt, range] = field(default_factory=dict)
    _begin: ast.stmt | None = None

    def __post_init__(self) -> None:
        body = self.function.body
        words = [each for each in body[:1] if ast.get_docstring(self.function) is not None]
        since = _last_line(words[0]) if words else body[0].lineno - 1
        self._begin = self._block(body[len(words) :], None, None, since)

    @property
    def name(self) -> str:
        return self.function.name

    def ahead(self, here: ast.stmt | None) -> Iterator[ast.stmt | None]:
        """The statements that may run from `here` (None: the beginning) up to and including the next yield."""
        waiting, seen = [*self.follows[here]] if here else [self._begin], set[ast.stmt | None]()
        while waiting:
            statement = waiting.pop()
            if statement in seen:
                continue
            seen.add(statement)
            yield statement
            if statement and not _yielded(statement):
                waiting += self.follows[statement]

    def _block(
        self, body: Sequence[ast.stmt], after: ast.stmt | None, loop: _Loop | None, since: int
    ) -> ast.stmt | None:
        """The first statement of a block, or what follows an empty one. Comments after line `since` belong to it."""
        ends = [since, *map(_last_line, body)]
        for statement, end in zip(reversed(body), reversed(ends[:-1]), strict=True):
            parts = [each for each in ast.iter_child_nodes(statement) if isinstance(each, ast.stmt | ast.ExceptHandler)]
            head_end = _last_line(statement)
            if isinstance(statement, ast.Match):
                head_end = statement.cases[0].pattern.lineno - 1
            elif parts and not isinstance(statement, _NESTED):
                head_end = parts[0].lineno - 1
            self.lines[statement] = range(min(end + 1, statement.lineno), head_end + 1)
            self.follows[statement] = self._after_one(statement, after, loop)
            after = statement
        return after

    def _after_one(self, statement: ast.stmt, after: ast.stmt | None, loop: _Loop | None) -> list[ast.stmt | None]:
        match statement:
            case ast.Return() | ast.Raise():
                return [None]
            case ast.Break() if loop:
                return [loop.after]
            case ast.Continue() if loop:
                return [loop.head]
        return self._blocks(statement, after, loop)

    def _blocks(self, statement: ast.stmt, after: ast.stmt | None, loop: _Loop | None) -> list[ast.stmt | None]:
        """What may follow a statement: the beginnings of its blocks if it has any, else the next statement."""
        match statement:
            case ast.If(body=body, orelse=orelse):
                return [self._inner(body, after, loop), self._block(orelse, after, loop, _last_line(body[-1]))]
            case ast.While(body=body, orelse=orelse) | ast.For(body=body, orelse=orelse):
                return self._looped(statement, body, orelse, after, loop)
            case ast.With(body=body):
                return [self._inner(body, after, loop)]
            case ast.Try():
                return self._tried(statement, after, loop)
            case ast.Match(cases=cases):
                ends = [cases[0].pattern.lineno - 1, *(_last_line(case.body[-1]) for case in cases)]
                found = [self._block(case.body, after, loop, end) for case, end in zip(cases, ends, strict=False)]
                return found if _takes_anything(cases[-1]) else [*found, after]
        return [after]

    def _inner(self, body: Sequence[ast.stmt], after: ast.stmt | None, loop: _Loop | None) -> ast.stmt | None:
        return self._block(body, after, loop, body[0].lineno - 1)

    def _looped(
        self, head: ast.stmt, body: Sequence[ast.stmt], orelse: Sequence[ast.stmt], after: ast.stmt | None,
        around: _Loop | None,
    ) -> list[ast.stmt | None]:  # fmt: skip
        endless = isinstance(head, ast.While) and isinstance(head.test, ast.Constant) and head.test.value
        left = [] if endless else [self._block(orelse, after, around, _last_line(body[-1]))]
        return [self._inner(body, head, _Loop(head, after)), *left]

    def _tried(self, statement: ast.Try, after: ast.stmt | None, loop: _Loop | None) -> list[ast.stmt | None]:
        blocks = [statement.body, *(each.body for each in statement.handlers), statement.orelse]
        ends = [_last_line(block[-1]) for block in blocks if block]
        rest = self._block(statement.finalbody, after, loop, ends[-1])
        handled = [self._block(each.body, rest, loop, end) for each, end in zip(statement.handlers, ends, strict=False)]
        otherwise = self._block(statement.orelse, rest, loop, ends[len(handled)])
        return [self._inner(statement.body, otherwise, loop), *handled]
