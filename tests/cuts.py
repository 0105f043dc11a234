"""Removes one piece of a scenario at a time, to see whether any of its tests fails without it.

Only inputs are removed: calls, parameters, arguments. No test fails without an assertion; tests/mutants shows that each
test can fail.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

KINDS = ("call", "keyword", "argument", "parameter")
ASSERTS = ("expect_", "assert_")
ASSERTING_MOVES = {"stay_blocked", "fail_with"}
"""Verbs that run an actor, and whose purpose is their expectation."""

RECORDS = {"finding", "not_measured", "skip_if_longer_than_max_wait"}
"""Verbs that write to the record of a run, or end a story that would wait too long; nothing in the story reads them."""

LOOKS_AT = {"since", "until", "port"}
"""Keywords of an expect_ verb that select what to look at; the others are what is expected."""

NEVER_MISSED = {
    "name": "what an actor is called in a report",
    "within_s": "a limit for slow hosts",
    "begun_by": "an allowance for slow hosts",
    "optional": "for kernels without the sysctl",
    "default": "for kernels without the sysctl",
    "strict": "checks the scenario itself",
    "match": "an assertion",
}
Function = ast.FunctionDef | ast.ClassDef
Piece = tuple[str, int, str]
"""A cut: its kind, its line and its text."""

Node = TypeVar("Node", bound=ast.AST)


@dataclass(frozen=True, slots=True)
class Cut:
    """A scenario without one piece, and the tests that run through its place."""

    scenario: str
    kind: str
    line: int
    function: str
    text: str
    source: str
    tests: tuple[str, ...]

    @property
    def key(self) -> str:
        """Its key in tests/unmissed.toml."""
        return f"{self.scenario}.{self.function}: {self.text}"


def cuts_of(scenario: str, source: str) -> list[Cut]:
    """Every piece of a scenario that can be removed, from top to bottom. ValueError for parameters it cannot read."""
    tree = ast.parse(source)
    top = {node.name: node for node in tree.body if isinstance(node, Function)}
    reached = {name: _reached_from(name, tree) for name in names_of_tests(source)}
    found = []
    for name, node in top.items():
        tests = tuple(test for test, names in reached.items() if name in names)
        for kind, line, text in _without_one_piece(node, top, tree):
            found.append(Cut(scenario, kind, line, name, text, ast.unparse(tree), tests))
    return [cut for cut in found if cut.tests]


def names_of_tests(source: str) -> list[str]:
    """The names of the tests of a scenario."""
    return [
        node.name for node in ast.parse(source).body if isinstance(node, Function) and node.name.startswith("test_")
    ]


def _reached_from(start: str, tree: ast.Module) -> set[str]:
    """The top-level names of the file that a test uses, directly or through other functions."""
    definitions: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, Function):
            definitions[node.name] = node
        elif isinstance(node, ast.Assign):
            targets = {name.id: node for target in node.targets for name in _all(target, ast.Name)}
            definitions |= targets
    reached, new = set(), {start}
    while new:
        reached |= new
        used = {node.id for name in new for node in _all(definitions[name], ast.Name)}
        new = (used & set(definitions)) - reached
    return reached


def _without_one_piece(node: Function, top: dict[str, Function], tree: ast.Module) -> Iterator[Piece]:
    """Change the tree, yield a description of the change, and then undo it."""
    yield from _without_a_call(node)
    for call in _calls_in(node):
        yield from _without_a_keyword(call, top)
        yield from _without_an_argument(call, top)
    if isinstance(node, ast.FunctionDef):
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.parametrize":
                yield from _with_another_parameter(node, mark, tree)


def _without_a_call(function: Function) -> Iterator[Piece]:
    """Remove one statement that is only a call."""
    for node in _all(function, ast.AST):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if not isinstance(body, list):
                continue
            for number, statement in enumerate(body):
                if _is_input(statement) and not (node is function and _is_the_last_claim(function, statement)):
                    body[number] = ast.Pass()
                    yield "call", statement.lineno, ast.unparse(statement)
                    body[number] = statement


def _is_input(statement: ast.stmt) -> bool:
    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)):
        return False
    name = _last_name(statement.value)
    return not name.startswith(ASSERTS) and name not in RECORDS | ASSERTING_MOVES


def _is_the_last_claim(function: Function, statement: ast.stmt) -> bool:
    """Whether a statement is a test's last, and so its assertion: that a role reaches a step, or fails."""
    return function.name.startswith("test_") and statement is function.body[-1]


def _without_a_keyword(call: ast.Call, top: dict[str, Function]) -> Iterator[Piece]:
    """Remove one keyword argument, so that its default applies."""
    known = _parameters(top.get(_last_name(call))) if isinstance(call.func, ast.Name) else None
    for keyword in list(call.keywords):
        name = keyword.arg or ""
        expected = _last_name(call).startswith("expect_") and name not in LOOKS_AT
        required = known is not None and known.get(name) is None
        if not name or name in NEVER_MISSED or expected or required:
            continue
        place = call.keywords.index(keyword)
        text = f"{name}={ast.unparse(keyword.value)} of {ast.unparse(call)}"
        del call.keywords[place]
        yield "keyword", keyword.value.lineno, text
        call.keywords.insert(place, keyword)


def _without_an_argument(call: ast.Call, top: dict[str, Function]) -> Iterator[Piece]:
    """Replace one argument by its default; without a default, replace True by False and False by True."""
    is_start = _last_name(call) == "start" and call.args and isinstance(call.args[0], ast.Name)
    skipped, callee = (1, call.args[0]) if is_start else (0, call.func)
    parameters = _parameters(top.get(callee.id)) if isinstance(callee, ast.Name) else None
    if parameters is None:
        return
    for number, (argument, default) in enumerate(zip(call.args[skipped:], parameters.values(), strict=False), skipped):
        other = default or _opposite(argument)
        if other and ast.unparse(other) != ast.unparse(argument):
            text = f"{ast.unparse(argument)} of {ast.unparse(call)}"
            call.args[number] = other
            yield "argument", argument.lineno, text
            call.args[number] = argument
    for keyword in call.keywords:
        if parameters.get(keyword.arg or "") is None and (other := _opposite(keyword.value)):
            text, before = f"{ast.unparse(keyword)} of {ast.unparse(call)}", keyword.value
            keyword.value = other
            yield "argument", before.lineno, text
            keyword.value = before


def _with_another_parameter(function: ast.FunctionDef, mark: ast.Call, tree: ast.Module) -> Iterator[Piece]:
    """Play only one row of the parameters, with one of its values from another row.

    A row of one value would become the other row, so then each use of the value is changed separately.
    """
    before, before_keywords = mark.args[1], mark.keywords
    names = ast.literal_eval(mark.args[0])
    rows = [_cells(row, names) for row in _elements(before, tree)]
    mark.keywords = []
    for row in rows:
        for column, value in enumerate(row):
            others = _others(rows, row, column)
            if not others:
                continue
            text = f"={ast.unparse(value)} of ({', '.join(map(ast.unparse, row))})"
            if isinstance(names, str):
                mark.args[1] = ast.List([value], ast.Load())
                for use in _with_another_value(function, names, others[0]):
                    yield "parameter", value.lineno, f"{names}{text} in {use}"
            else:
                cells = [*row[:column], others[0], *row[column + 1 :]]
                mark.args[1] = ast.List([ast.Tuple(cells, ast.Load())], ast.Load())
                yield "parameter", value.lineno, names[column] + text
    mark.args[1], mark.keywords = before, before_keywords


def _others(rows: list[list[ast.expr]], row: list[ast.expr], column: int) -> list[ast.expr]:
    """Other values of one column; first those of rows that differ more, because two causes may have the same effect."""
    texts = [[ast.unparse(cell) for cell in each] for each in rows]
    own = [ast.unparse(cell) for cell in row]
    differing = [number for number, other in enumerate(texts) if other[column] != own[column]]
    differing.sort(key=lambda number: -sum(a != b for a, b in zip(texts[number], own, strict=True)))
    return [rows[number][column] for number in differing]


def _with_another_value(function: ast.FunctionDef, name: str, value: ast.expr) -> Iterator[str]:
    """Replace one use of a name by `value`."""
    for statement in function.body:
        for parent in _all(statement, ast.AST):
            for field, child in ast.iter_fields(parent):
                for number, each in enumerate(child if isinstance(child, list) else [child]):
                    if isinstance(each, ast.Name) and each.id == name:
                        text = ast.unparse(parent)
                        if isinstance(child, list):
                            child[number] = value
                            yield text
                            child[number] = each
                        else:
                            setattr(parent, field, value)
                            yield text
                            setattr(parent, field, each)


def _elements(values: ast.expr, tree: ast.Module) -> list[ast.expr]:
    if isinstance(values, ast.Name):
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == values.id:
                return _elements(node.value, tree)
    if isinstance(values, ast.List | ast.Tuple):
        return values.elts
    if isinstance(values, ast.Dict):
        return [key for key in values.keys if key]
    raise ValueError(f"the parameters {ast.unparse(values)} are not a list. Hint: write them as one")


def _cells(row: ast.expr, names: str | tuple[str, ...]) -> list[ast.expr]:
    if isinstance(names, str):
        return [row]
    if not isinstance(row, ast.Tuple):
        raise ValueError(f"the parameters {ast.unparse(row)} are not a tuple. Hint: write them as one")
    return row.elts


def _parameters(function: Function | None) -> dict[str, ast.expr | None] | None:
    """Each parameter and its default; None if the function is not in this file."""
    if not isinstance(function, ast.FunctionDef):
        return None
    names = [each.arg for each in function.args.posonlyargs + function.args.args]
    defaults = [*[None] * (len(names) - len(function.args.defaults)), *function.args.defaults]
    keywords = zip((each.arg for each in function.args.kwonlyargs), function.args.kw_defaults, strict=True)
    return dict(zip(names, defaults, strict=True)) | dict(keywords)


def _opposite(value: ast.expr) -> ast.expr | None:
    is_flag = isinstance(value, ast.Constant) and isinstance(value.value, bool)
    return ast.Constant(not value.value) if is_flag else None


def _calls_in(function: Function) -> list[ast.Call]:
    return [call for statement in function.body for call in _all(statement, ast.Call)]


def _last_name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)


def _all(node: ast.AST, kind: type[Node]) -> list[Node]:
    """The nodes in a fixed order, even if the tree changes meanwhile."""
    return [each for each in ast.walk(node) if isinstance(each, kind)]
