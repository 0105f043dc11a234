"""Play lessons about TCP's faults, find such faults on a machine, and check changes of sysctls.

To run scenarios as tests, use pytest.
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from harness.cli import lessons as cli_lessons
from harness.errors import ASSERTS_ARE_NEEDED, LabError, LabUnavailable
from harness.lab.waiting import DEFAULT_MAX_WAIT_S, check_max_wait
from harness.lessons import lessons
from harness.output import terminal

_COMMAND = "tcp-fault-lab"
"""The name under which `pip install -e .` installs it (pyproject.toml)."""

_NO_OUTPUT = 74  # EX_IOERR of sysexits.h
_INTERRUPTED, _CLOSED_PIPE = (128 + number for number in (signal.SIGINT, signal.SIGPIPE))  # as in a shell

_STATUSES = (
    f"exit statuses of every command: {_NO_OUTPUT}: the standard output cannot be written; {_CLOSED_PIPE}: its "
    f"reader has gone (as with `| head`), and no message is printed; {_INTERRUPTED}: interrupted (Ctrl-C)"
)
_PASSED_ON = "all other options are passed to pytest (docs/options.md)"
_LESSON_STATUSES = {
    "list": None,
    "lesson": f"exit status: pytest's own; {_PASSED_ON}",
    "quiz": f"exit status: 6: a wrong answer; otherwise pytest's own; {_PASSED_ON}",
    "step": f"exit status: pytest's own; {_PASSED_ON}",
}
_ABOUT_LESSONS = (
    ("list", cli_lessons.list_all, "list all lessons, and the sysctls that govern them"),
    ("lesson", cli_lessons.show, "play one lesson, draw it and explain it"),
    ("quiz", cli_lessons.quiz, "ask what will happen, then play the lesson, and show the verdict and the diagram"),
    ("step", cli_lessons.step, "play one lesson, wait for Enter before each step, and show how to look inside"),
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command, and return its exit status: see docs/options.md. Raises argparse's SystemExit."""
    asked = argparse.Namespace()
    try:
        if not __debug__:
            raise LabError(ASSERTS_ARE_NEEDED)
        lessons.check_folder()
        asked, others = _parser().parse_known_args(arguments)
        asked.pytest_arguments = others
        terminal.check_language(getattr(asked, "lang", "en"))
        status: int = asked.run(asked)
    except terminal.OutputFailed as error:
        terminal.discard()
        if error.is_closed_pipe:
            return _CLOSED_PIPE
        terminal.complain(str(error))
        return _NO_OUTPUT
    except LabError as error:
        return _refused(error, as_json=getattr(asked, "json", "") in (True, "-"))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception:
        import traceback

        traceback.print_exc()
        return 3  # a 1 would claim a change
    return status


def _refused(error: LabError, *, as_json: bool) -> int:
    """Print the error; also as JSON on the standard output, if the report would have been. Returns the exit status."""
    status = 3 if isinstance(error, LabUnavailable) else 2
    terminal.complain(str(error))
    if as_json:
        from harness.sysctl_files import refusal

        try:
            terminal.say(refusal.as_json(error, status))
        except terminal.OutputFailed:
            terminal.discard()
    return status


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises OutputFailed if it cannot write its help, which argparse itself ignores."""

    def print_help(self, file: Any = None) -> None:
        terminal.say(self.format_help().rstrip("\n"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=_name(), description=__doc__, epilog=_STATUSES)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in _ABOUT_LESSONS:
        command = commands.add_parser(name, help=text, description=text, epilog=_LESSON_STATUSES[name])
        command.set_defaults(run=run)
        if name == "list":
            others = [language for language in lessons.LANGUAGES if language != "en"]
            command.add_argument("--missing", choices=others, help="list only what is not translated yet")
        else:
            command.add_argument("name", help="a scenario's name: close_with_unread_data")
        if name == "lesson":
            command.add_argument("--html", metavar="FILE", help="also write the lesson as a page")
            command.add_argument(
                "--plain", action="store_true",
                help="for a class: show only what was seen of the fault, not the answer (no claim, cause, cure or "
                "control; names are neutral); --html FILE writes it as a page, --lab-artifacts DIR as .pcapng and .mmd",
            )  # fmt: skip
        command.add_argument("--lang", choices=lessons.LANGUAGES, default="en", help="the language of the words")
    text = "write the files of a new scenario; its tests fail until you fill them in"
    new = commands.add_parser("new", help=text, description=text)
    new.add_argument("name", help="the fault, as a phrase: reset_before_accept")
    new.add_argument("--theme", default="closing", help="its folder in scenarios/ (default: %(default)s)")
    new.set_defaults(run=_new)
    _about_sysctls(commands)
    _about_diagnosis(commands)
    return parser


def _name() -> str:
    """The program's name as the user called it."""
    return _COMMAND if Path(sys.argv[0]).name == _COMMAND else "python -m harness"


def _about_sysctls(commands: "argparse._SubParsersAction[_Parser]") -> None:
    text = "report what each sysctl of a file would do here, without playing a story"
    explain = commands.add_parser(
        "explain", help=text, description=text,
        epilog="exit status: 0: everything was read, whatever the verdicts; 2: something cannot be read, and nothing "
        "was used; 3: this machine lacks something; 7: --partial left out what cannot be read",
    )  # fmt: skip
    text = "play stories before and after a change of sysctls, and report the differences"
    whatif = commands.add_parser(
        "whatif", help=text, description=text,
        epilog="exit status: 0: nothing changed; 1: something changed, whatever else could not be measured (the last "
        "line has the number); 2: bad input; 3: nothing is known to have changed, but not everything could be "
        "measured, or this machine lacks something; 7: --partial left out what cannot be read, whatever else was found",
    )  # fmt: skip
    for command in (explain, whatif):
        command.add_argument(
            "files",
            nargs="+",
            metavar="FILE",
            help="a file (sysctl.d, a script, YAML, JSON, TOML, INI), a directory, or - for stdin",
        )
        command.add_argument(
            "--partial", action="store_true",
            help="use what can be read, and list what cannot; the exit status is then 7, whatever else is found",
        )  # fmt: skip
        command.add_argument(
            "--before", action="append", metavar="host|kernel|reference|FILE",
            help="the values to compare with (default: host); if this is a file, then it and each FILE are set "
            "on top of the kernel's defaults",
        )  # fmt: skip
    explain.add_argument("--json", action="store_true", help="print JSON")
    explain.set_defaults(run=_explain)
    whatif.add_argument(
        "--plays",
        type=int,
        default=3,
        metavar="N",
        help="play each story N times before and N times after (default: 3)",
    )
    whatif.add_argument(
        "--max-wait", type=float, default=DEFAULT_MAX_WAIT_S, metavar="S",
        help=f"do not wait for timers longer than S seconds (default: {DEFAULT_MAX_WAIT_S:g})",
    )  # fmt: skip
    for form in ("JSON", "Markdown", "HTML"):
        whatif.add_argument(
            f"--{form.lower()}", default="", metavar="FILE", help=f"also write the report as {form}; - prints it"
        )
    whatif.add_argument("--all", action="store_true", help="also list what is the same, which is otherwise counted")
    whatif.set_defaults(run=_whatif)
    text = "report what changed between two runs saved with --lab-save"
    compare = commands.add_parser(
        "compare", help=text, description=text,
        epilog="exit status: 0: nothing changed; 1: something changed; 2: bad input; 3: nothing could be compared",
    )  # fmt: skip
    compare.add_argument("records", nargs=2, metavar="NAME|FILE", help="the run before and the run after")
    compare.set_defaults(run=_compare)


def _about_diagnosis(commands: "argparse._SubParsersAction[_Parser]") -> None:
    text = "report which of the lessons' faults this machine has now; it only reads, and sends nothing"
    diagnose = commands.add_parser(
        "diagnose", help=text, description=text,
        epilog="exit status: 0: nothing found; 1: a fault found; 2: bad input; 3: a fault is possible, but something "
        "is missing to be sure, or this user may not look, or --from has neither sockets nor counters",
    )  # fmt: skip
    diagnose.add_argument("--pid", type=int, help="look at the network namespace of this process")
    diagnose.add_argument("--netns", metavar="NAME", help="look at a namespace made by `ip netns add`")
    diagnose.add_argument("--interval", type=float, metavar="S", help="seconds between the two looks (default: 5)")
    diagnose.add_argument(
        "--from", action="append", default=[], dest="sources", metavar="PATH",
        help="look at saved text instead: an unpacked sosreport, a directory, a file, or - for stdin, with the output "
        "of ss -tanpeimo, nstat -az or netstat, or files of /proc/net; for two looks, give it twice, the earlier first",
    )  # fmt: skip
    diagnose.add_argument("--watch", action="store_true", help="keep looking, and print what changes, until Ctrl-C")
    diagnose.add_argument("--json", action="store_true", help="print JSON (harness/diagnose/diagnosis.schema.json)")
    diagnose.add_argument(
        "--prometheus-rules",
        action="store_true",
        help="print alert rules for node_exporter's counters instead of looking",
    )
    diagnose.set_defaults(run=_diagnose)


def _new(asked: argparse.Namespace) -> int:
    _nothing_else(asked)
    return cli_lessons.new(asked)


def _diagnose(asked: argparse.Namespace) -> int:
    from harness.cli import diagnose

    _nothing_else(asked)
    _stdin_once(asked.sources)
    return diagnose.run(
        diagnose.Asked(
            pid=asked.pid, netns=asked.netns, interval_s=asked.interval, as_json=asked.json, watch=asked.watch,
            sources=tuple(asked.sources), prometheus_rules=asked.prometheus_rules,
        )
    )  # fmt: skip


def _compare(asked: argparse.Namespace) -> int:
    from harness.cli import compare

    _nothing_else(asked)
    return compare.run(asked)


def _explain(asked: argparse.Namespace) -> int:
    from harness.cli import explain

    _nothing_else(asked)
    if len(asked.before or ["host"]) > 1:
        raise LabError("explain compares with one set of values. Hint: give --before once")
    _stdin_once([*asked.files, *(asked.before or [])])
    return explain.run(asked.files, (asked.before or ["host"])[0], as_json=asked.json, partial=asked.partial)


def _whatif(asked: argparse.Namespace) -> int:
    from harness.cli import whatif

    _nothing_else(asked)
    if asked.plays < 1:
        raise LabError(f"--plays {asked.plays} would measure nothing. Hint: use --plays 1 or more")
    check_max_wait("--max-wait", asked.max_wait)
    _stdin_once([*asked.files, *(asked.before or [])])
    return whatif.run(
        asked.files, asked.before or ["host"], plays=asked.plays, max_wait_s=asked.max_wait, json=asked.json,
        markdown=asked.markdown, html=asked.html, partial=asked.partial, lists_all=asked.all,
    )  # fmt: skip


def _stdin_once(files: list[str]) -> None:
    if "-" in files and sys.stdin is None:
        raise LabError("the standard input is closed. Hint: name a file")
    if files.count("-") > 1:
        raise LabError("the standard input can be read only once. Hint: name a file instead of the second -")


def _nothing_else(asked: argparse.Namespace) -> None:
    if asked.pytest_arguments:
        raise LabError(f"unknown option {asked.pytest_arguments[0]}. Hint: see --help")


def _interrupted(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, _end_at_once)
    raise KeyboardInterrupt


def _end_at_once(_number: int, _frame: FrameType | None) -> NoReturn:
    """Exit without cleanup: labs, and the processes in them, end with this process."""
    os._exit(_INTERRUPTED)


def _lost(unraisable: "sys.UnraisableHookArgs") -> None:
    """Exit on an interrupt that came in code whose exceptions Python discards (a weak reference's callback)."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        os._exit(_INTERRUPTED)
    sys.__unraisablehook__(unraisable)


def _open_standard_files() -> None:
    """Open /dev/null for each closed standard fd: the next file to be opened would get its number, and our output."""
    for number, mode in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # open() returns the lowest free number


def program() -> int:
    """Run main() as a program: with its signal handlers and its standard files."""
    sys.unraisablehook = _lost
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that temporary folders are removed
    _open_standard_files()
    if sys.stdout is None:
        terminal.complain("the standard output is closed. Hint: redirect it to a file, or to /dev/null")
        return _NO_OUTPUT
    try:
        signal.signal(signal.SIGINT, _interrupted)
        status = main()
        signal.signal(signal.SIGINT, _end_at_once)
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status
