"""Line numbers for tracebacks that lack them.

CPython 3.11 leaves some jumps without a line number (cpython issue 107901). A signal handler that raises while such a
jump is executed, as pytest-timeout's and the one for Ctrl-C do, makes a traceback entry whose tb_lineno is None (-1 in
3.11.2). pytest subtracts 1 from that, and its INTERNALERROR ends the whole session.
"""

from types import CodeType, TracebackType


def number_lines(error: BaseException) -> None:
    """Give a line number to each traceback entry that has none, of `error`, its causes and its contexts."""
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    while chain:
        if (each := chain.pop()) is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = _numbered(each.__traceback__)
        chain += [each.__cause__, each.__context__]


def _numbered(traceback: TracebackType | None) -> TracebackType | None:
    entries = []
    while traceback:
        entries.append(traceback)
        traceback = traceback.tb_next
    numbered = None
    for entry in reversed(entries):
        # To the type checker, tb_lineno is always an int.
        line: int | None = entry.tb_lineno
        if line is not None and line > 0 and entry.tb_next is numbered:
            numbered = entry
        else:
            if line is None or line < 1:
                line = _line_before(entry.tb_frame.f_code, entry.tb_lasti)
            numbered = TracebackType(numbered, entry.tb_frame, entry.tb_lasti, line)
    return numbered


def _line_before(code: CodeType, instruction: int) -> int:
    """The line of the last instruction up to this one that has a line; else the first line of the function."""
    lines = [line for start, _, line in code.co_lines() if line is not None and start <= instruction]
    return lines[-1] if lines else code.co_firstlineno
