"""What a role does next, read from its source: exactly the statements up to each possible next step."""

import ast

import pytest

from harness.pytest_plugin.next_move import next_move
from tests.test_tidy import SCENARIOS

SHOWN = {"step": '"{}"', "expression": "{}", "delegated": "a step of {}", "end": "its end", "return": "the end of {}()",
         "loop": "an endless loop"}  # fmt: skip
ROLE = '''\
"""A scenario."""


def serve(address, reads):
    """Words."""
    listener = make(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        yield "accepted"
        # why it reads
        if reads:
            data = connection.recv(
                1
            )
        elif reads is None:
            return
        else:
            connection.shutdown(1)
            yield "shut down"
        try:
            connection.close()
        except OSError:
            yield f"failed {reads}"
        yield "closed"


def request(address):
    with connect(address) as connection:
        for size in (1, 2):
            connection.send(size)
            yield "sent"
        else:
            reply = yield from receive(connection)
        match reply:
            case 1:
                raise ValueError
            case _:
                yield "odd"
    return reply


def receive(connection):
    yield "receiving"
    return connection.recv(1)


def leave(connection):
    yield "ready"
    while True:
        connection.recv(4)
    yield "left"
'''


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "story.py"
    path.write_text(ROLE)
    return str(path)


def line_of(text):
    return 1 + next(at for at, line in enumerate(ROLE.splitlines()) if text in line)


@pytest.mark.parametrize(
    ("begins", "at", "steps", "first", "last", "not_there"),
    [
        ("def serve", None, ['"listening"'], "listener = make", 'yield "listening"', ["Words", "accept"]),
        ("def serve", 'yield "listening"', ['"accepted"'], "while True", 'yield "accepted"', ["recv", "close"]),
        ("def serve", 'yield "accepted"', ['"shut down"', 'f"failed {reads}"', '"closed"', "its end"], "# why it reads",
         'yield "closed"', ["accept()"]),
        ("def serve", 'yield "shut down"', ['f"failed {reads}"', '"closed"'], "try:", 'yield "closed"',
         ["recv", "accept()"]),
        ("def serve", 'yield "closed"', ['"accepted"'], "while True", 'yield "accepted"', ["close", "recv"]),
        ("def request", None, ['"sent"', "a step of receive(connection)"], "with connect",
         "yield from receive", ["match"]),
        ("def request", 'yield "sent"', ["a step of receive(connection)", '"sent"'], "else:", 'yield "sent"',
         ["with", "match"]),
        ("def request", "yield from", ['"odd"', "its end"], "match reply", 'yield "odd"', ["receive", "return"]),
        ("def request", 'yield "odd"', ["its end"], "return reply", "return reply", ["match", "raise"]),
        ("def leave", 'yield "ready"', ["an endless loop"], "while True", "recv(4)", ["left"]),
        ("def request", 'yield "receiving"', ["the end of receive()"], "return connection", "return connection",
         ["raise"]),
    ],
)  # fmt: skip
def test_it_goes_to_each_step_that_may_come_next(source, begins, at, steps, first, last, not_there):
    move = next_move(source, line_of(begins), line_of(at) if at else None)
    assert [SHOWN[kind].format(text) for kind, text in move.destinations] == steps
    shown = [text for _, text in move.lines]
    assert first in shown[0]
    assert last in shown[-1]
    assert [text for text in not_there if text in "\n".join(shown)] == []
    assert [ROLE.splitlines()[number - 1] for number, _ in move.lines] == shown


def test_multi_line_statements_else_and_except_are_shown(source):
    shown = [text.strip() for _, text in next_move(source, line_of("def serve"), line_of('"accepted"')).lines]
    for text in ("data = connection.recv(", "1", ")", "elif reads is None:", "else:", "except OSError:"):
        assert text in shown


@pytest.mark.parametrize("text", ["", "def serve(:"])
def test_an_unreadable_source_gives_nothing(tmp_path, text):
    path = tmp_path / "story.py"
    assert next_move(str(path), 1, None) is None
    path.write_text(text)
    assert next_move(str(path), 1, None) is None


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_next_move_of_every_role_is_known(path):
    roles = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)]
    for role in roles:
        yields = [node.lineno for node in ast.walk(role) if isinstance(node, ast.Yield | ast.YieldFrom)]
        for line in [None, *yields] if yields else ():
            move = next_move(str(path), role.lineno, line)
            assert move, (role.name, line)
            assert move.destinations, (role.name, line)
