"""Step by hand: before an actor is resumed, wait for Enter, and show how to look inside meanwhile."""

import inspect
import reprlib
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.evidence.sockets import Socket
from harness.lab.program import Move
from harness.output import terminal
from harness.pytest_plugin.next_move import Kind, next_move
from harness.views.transcript import format_socket

__tracebackhide__ = True

_ROOT = Path(__file__).parent.parent.parent
_COMMANDS = ("ss -tanpoe", "nstat -azs", "tcpdump -nli {} tcp")
_MAX_LINES = 20
"""The most lines of a role's source that are shown before one step."""

_WORDS = {
    "en": ("Look inside from another terminal:", "Enter: ", (
        "states, queues, timers, owners", "counters: run again after a step to see changes", "segments, as they arrive",
    )),
    "zh": ("在另一个终端里查看内部：", "按 Enter 继续：", (
        "状态、队列、定时器、持有者", "计数器：走一步之后再敲一次，看什么变了", "报文段，随到随看",
    )),
}  # fmt: skip
_ON = {"en": "on the {}:", "zh": "在 {} 上："}
_MOVES = {
    "en": {
        "starts": "{} starts, and runs to {}:", "goes": '{} runs from "{}" to {}:', "or": " or ",
        "unknown": "its next step",
        Kind.STEP: '"{}"', Kind.EXPRESSION: "{}", Kind.DELEGATED: "a step of {}", Kind.END: "its end",
        Kind.RETURN: "the end of {}()", Kind.LOOP: "an endless loop",
    },
    "zh": {
        "starts": "{} 启动，运行到{}：", "goes": "{} 从“{}”运行到{}：", "or": "或", "unknown": "下一步",
        Kind.STEP: "“{}”", Kind.EXPRESSION: " {} ", Kind.DELEGATED: " {} 中的一步", Kind.END: "结束",
        Kind.RETURN: " {}() 结束", Kind.LOOP: "无限循环",
    },
}  # fmt: skip


class Stepper:
    """One story, step by step, in a terminal. The kernel's timers keep running while it waits for Enter."""

    def __init__(self, pids: Mapping[str, int], isolation: str, story: str, language: str) -> None:
        """`pids`: a process in each network namespace of the lab, by its name."""
        self._language = language
        self._greeting = [f"\n{story}", _WORDS[language][0]]
        for name, pid in pids.items():
            if len(pids) > 1:
                self._greeting.append(f"  {_ON[language].format(name)}")
            self._greeting += _ways_in(pid, isolation, language, links="lo" if len(pids) == 1 else "any")

    def wait(self, move: Move, sockets: list[Socket]) -> None:
        """Show the sockets and what the actor does next, and wait for Enter, or for the end of the input."""
        lines = [*self._greeting, "", *(f"    {format_socket(row, self._language)}" for row in sockets)]
        self._greeting = []
        lines += [*_ahead(move, self._language), _WORDS[self._language][1]]
        if not terminal.ask("\n".join(lines)):
            terminal.say("")


def _ahead(move: Move, language: str) -> Iterator[str]:
    words = _MOVES[language]
    code = move.role.__code__
    ahead = next_move(code.co_filename, code.co_firstlineno, move.line)
    places = [words[kind].format(text) for kind, text in ahead.destinations] if ahead else []
    where = words["or"].join(dict.fromkeys(places)) or words["unknown"]
    has_started = move.line is not None
    yield (
        words["goes"].format(move.actor, move.step, where) if has_started else words["starts"].format(move.actor, where)
    )
    yield f"          {_call(move)}"
    source = ahead.lines if ahead else []
    yield from (f"    {number:4}  {line}" for number, line in source[:_MAX_LINES])
    if len(source) > _MAX_LINES:
        yield "          …"


def _call(move: Move) -> str:
    """The call of the role, with the names of its parameters and long values shortened."""
    bound = inspect.signature(move.role).bind(*move.arguments)
    bound.apply_defaults()
    shown = (f"{name}={reprlib.repr(value)}" for name, value in bound.arguments.items())
    return f"{move.role.__qualname__}({', '.join(shown)})"


def _ways_in(pid: int, isolation: str, language: str, links: str) -> Iterator[str]:
    """The commands to type in another terminal, and what each shows. `links`: what tcpdump listens at."""
    _, _, sights = _WORDS[language]
    user = "" if isolation == "root" else "--user --preserve-credentials "
    python = f"env PYTHONPATH={shlex.quote(str(_ROOT))} {shlex.quote(sys.executable)}"
    for command, sight in zip(_COMMANDS, sights, strict=True):
        inside = f"nsenter {user}--net --target {pid}"
        if user and command.startswith("tcpdump"):  # it needs a capability that nsenter does not keep
            inside = f"{python} -m harness.inside.enter {pid}"
        yield f"  {inside} {command.format(links):<20} # {sight}"
