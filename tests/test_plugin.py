"""pytest's side: verdicts, options, header and closing section, as a user of pytest expects them."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import TracebackType

import pytest

from harness.errors import LabError
from harness.lessons import lessons
from harness.pytest_plugin.tracebacks import number_lines
from harness.runs import record
from harness.story.timeline import Timeline
from harness.views import artifacts
from harness.views.html import spoken
from tests.playing import (
    AS_ROOT_OF_A_USER_NAMESPACE,
    ROOT,
    Play,
    clean_environment,
    pytest_command,
    run_module,
    run_pytest,
    scenario_file,
)

FULL_STORY = """
import socket

def listen(address):
    listener = socket.create_server(address)
    yield "listening"

def test_listens(lab):
    lab.start(listen, lab.server_address).run_to("listening")
    assert lab.state("server") == "CLOSED"
"""

UNAVAILABLE = """
def test_needs_a_program(lab):
    lab.run_program(["no-such-program"])
"""

LOSSY = """
def test_hole_in_the_evidence(lab, monkeypatch):
    monkeypatch.setattr(lab._watch._ring, "lost", lambda: 3)
    lab.wire()
"""

PLACES = {
    "no namespaces to be had": (
        """
for kind in ("net", "user"):
    Path(f"/proc/sys/user/max_{kind}_namespaces").write_text("0")
""",
        ["isolated: no.", "sudo sysctl user.max_user_namespaces"],
    ),
    "/proc/sys is read-only, as in Docker": (
        """
libc = ctypes.CDLL(None)
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
assert libc.mount(b"/proc/sys", b"/proc/sys", None, MS_BIND, None) == 0
assert libc.mount(None, b"/proc/sys", None, MS_BIND | MS_REMOUNT | MS_RDONLY, None) == 0
""",
        ["/proc/sys is read-only here. Hint: docker run --privileged"],
    ),
}


def test_header_and_closing_section(play: Play) -> None:
    done = play(FULL_STORY)
    assert done.returncode == 0, done.stdout
    assert f"tcp-fault-lab: Linux {os.uname().release}, profile reference" in done.stdout
    assert "isolated: " in done.stdout
    assert "observers: packet ring, sock_diag" in done.stdout
    assert "1 story from 1 file: 1 as expected, 0 not, 0 inconclusive, 0 skipped" in done.stdout
    assert "0 lost" in done.stdout


def test_closing_section_adds_up_the_workers(play: Play) -> None:
    done = play(FULL_STORY + FULL_STORY.replace("test_listens", "test_listens_again"), "-n", "2")
    assert done.returncode == 0, done.stdout
    assert "2 stories from 1 file: 2 as expected" in done.stdout
    assert done.stdout.count("isolated: ") == 1


def test_a_missing_ability_skips_with_reason_and_hint(play: Play) -> None:
    done = play(UNAVAILABLE)
    assert done.returncode == 0, done.stdout
    assert "1 skipped" in done.stdout
    reason = "the program no-such-program is not installed. Hint: install it: apt install no-such-program"
    assert f"skipped 1: {reason}" in done.stdout


def test_strict_turns_the_skip_into_a_failure(play: Play) -> None:
    done = play(UNAVAILABLE, "--lab-strict")
    assert done.returncode == 1, done.stdout
    assert "no-such-program is not installed" in done.stdout
    assert "--lab-strict fails instead of skipping" in done.stdout


def test_lost_segments_are_inconclusive_and_never_green(play: Play) -> None:
    done = play(LOSSY)
    assert done.returncode == 1, done.stdout
    assert "1 inconclusive" in done.stdout
    assert "0 as expected, 0 not, 1 inconclusive" in done.stdout
    assert "3 segments were lost" in done.stdout


@pytest.mark.parametrize(("strict", "status"), [([], 0), (["--lab-strict"], 1)])
@pytest.mark.parametrize("place", PLACES)
def test_without_a_lab_it_prints_the_reason_and_a_hint(
    tmp_path: Path, place: str, strict: list[str], status: int
) -> None:
    (tmp_path / "story.py").write_text(FULL_STORY)
    prepare, wanted = PLACES[place]
    script = AS_ROOT_OF_A_USER_NAMESPACE + prepare + "os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", script, *pytest_command(tmp_path / "story.py", *strict)]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
    assert done.returncode == status, done.stdout + done.stderr
    assert all(text in done.stdout for text in wanted), done.stdout
    assert ("1 skipped" if status == 0 else "1 error") in done.stdout


@pytest.mark.parametrize(("name", "number"), [("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13), ("CAP_SYS_ADMIN", 21)])
def test_root_without_a_capability_plays_as_an_ordinary_user(tmp_path: Path, name: str, number: int) -> None:
    (tmp_path / "story.py").write_text(FULL_STORY)
    drop = f"namespace._libc.prctl(24, {number}, 0, 0, 0)  # PR_CAPBSET_DROP: {name}, from the next exec on\n"
    script = AS_ROOT_OF_A_USER_NAMESPACE + drop + "os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", script, *pytest_command(tmp_path / "story.py", "--lab-strict")]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "user namespace (uid 0)" in done.stdout


def test_a_timeout_during_a_command_is_an_ordinary_failure(play: Play) -> None:
    endless = FULL_STORY.replace('assert lab.state("server") == "CLOSED"', "while True:\n        lab.sockets()")
    limited = endless.replace("def test_listens", "@pytest.mark.timeout(1, func_only=True)\ndef test_listens")
    done = play(f"import pytest\n{limited}", "--lab-slow")
    assert done.returncode == 1, done.stdout
    assert "Timeout (>1.0s)" in done.stdout
    assert "0 as expected, 1 not" in done.stdout


IN_A_LOOP = """
import signal
import pytest

def loop():
    never = 0
    for _ in range(10**15):
        if never:
            pass

{test}
    loop()

def test_begins():
    pass
"""
"""In CPython 3.11 the jump back to the beginning of such a loop has no line number (cpython issue 107901)."""


def test_a_timeout_in_a_loop_fails_the_test_not_the_session(play: Play) -> None:
    done = play(IN_A_LOOP.format(test="@pytest.mark.timeout(1, func_only=True)\ndef test_loops():"))
    assert "INTERNALERROR" not in done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "Timeout (>1.0s)" in done.stdout
    assert "story.py:9: Failed" in done.stdout


def test_an_interrupt_in_a_loop_is_not_an_internal_error(play: Play) -> None:
    alarm = "    signal.signal(signal.SIGALRM, signal.default_int_handler)\n    signal.setitimer(signal.ITIMER_REAL, 1)"
    done = play(IN_A_LOOP.format(test=f"def test_loops():\n{alarm}"), "--timeout=0")
    assert "INTERNALERROR" not in done.stdout + done.stderr
    assert done.returncode == 2, done.stdout
    assert "story.py:9: KeyboardInterrupt" in done.stdout


def test_each_traceback_of_a_chain_of_errors_is_given_its_lines() -> None:
    def unnumbered(error: Exception) -> Exception:
        past_the_end = 1 << 20
        return error.with_traceback(TracebackType(None, sys._getframe(), past_the_end, -1))

    cause, context, error = (unnumbered(ValueError(name)) for name in ("cause", "context", "error"))
    error.__cause__, error.__context__, cause.__context__ = cause, context, error
    assert error.__traceback__.tb_lineno in (None, -1)
    number_lines(error)
    last_line = 3 + unnumbered.__code__.co_firstlineno - 1
    assert {each.__traceback__.tb_lineno for each in (cause, context, error)} == {last_line}
    numbered = error.__traceback__
    number_lines(error)
    assert error.__traceback__ is numbered


def test_order_does_not_matter_and_randomly_may_be_named(play: Play) -> None:
    source = FULL_STORY + UNAVAILABLE
    assert play(source, "-p", "no:randomly").returncode == 0


def test_collecting_imports_nothing_heavy() -> None:
    script = (
        "import sys, pytest; status = pytest.main(['--collect-only', '-q', '-p', 'pytest_timeout', 'scenarios']);"
        "heavy = {'scapy', 'psutil', 'rich', 'pyroute2'} & set(sys.modules); sys.exit(f'{status} {heavy}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT,
        env=clean_environment() | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert done.stderr.strip() == "0 set()", done.stdout + done.stderr


def test_unknown_scenario_file_is_a_usage_error() -> None:
    done = run_module("pytest", "scenarios/no_such_fault.py")
    assert done.returncode == 4
    assert "file or directory not found: scenarios/no_such_fault.py" in done.stdout + done.stderr


FAILING = FULL_STORY.replace('assert lab.state("server") == "CLOSED"', 'assert lab.state("server") == "LISTEN"')


def test_a_failures_files_are_kept_and_named(play: Play, tmp_path: Path) -> None:
    done = play(FAILING, "--lab-slow", f"--basetemp={tmp_path / 'temporary'}")
    assert done.returncode == 1, done.stdout
    named = [Path(line) for line in done.stdout.splitlines() if line.startswith(str(tmp_path / "temporary" / "lab"))]
    assert [path.suffix for path in named] == [".pcapng", ".mmd", ".json"]
    assert all(path.stat().st_size > 100 for path in named)
    assert '"verdict": "failed"' in named[2].read_text()


def test_files_of_every_story_are_written_on_request(play: Play, tmp_path: Path) -> None:
    folder = tmp_path / "a new" / "folder"
    done = play(FULL_STORY, "--lab-artifacts", str(folder))
    assert done.returncode == 0, done.stdout
    assert {path.suffix for path in folder.iterdir()} == {".pcapng", ".mmd", ".json"}
    assert "lab: files" not in done.stdout


NOT_WHOLE = {
    "at its start": FULL_STORY
    + """
import pytest

@pytest.fixture
def more(lab):
    lab.start(listen, lab.server_address).run_to("listening")
    raise ValueError("more than there is")

def test_begins(lab, more):
    pass
""",
    "at its end": FULL_STORY
    + """
import pytest

@pytest.fixture
def more(lab):
    yield
    raise ValueError("more than there is")

def test_begins(lab, more):
    lab.start(listen, lab.server_address).run_to("listening")
""",
}


@pytest.mark.parametrize("when", NOT_WHOLE)
def test_files_are_kept_and_named_if_a_story_ends_badly(play: Play, tmp_path: Path, when: str) -> None:
    done = play(NOT_WHOLE[when], "--lab-slow", "-k", "begins", f"--basetemp={tmp_path / 'temporary'}")
    assert done.returncode == 1, done.stdout
    assert "more than there is" in done.stdout
    named = [Path(line) for line in done.stdout.splitlines() if line.startswith(str(tmp_path / "temporary" / "lab"))]
    assert [path.suffix for path in named] == [".pcapng", ".mmd", ".json"]
    assert '"verdict": "failed"' in named[2].read_text()
    assert "listening" in named[1].read_text()


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
@pytest.mark.parametrize("option", ["--lab-artifacts", "--lab-report"])
def test_an_unwritable_folder_is_reported_at_the_start(
    play: Play, tmp_path: Path, option: str, workers: list[str]
) -> None:
    (tmp_path / "file").write_text("")
    done = play(FULL_STORY, *workers, option, str(tmp_path / "file" / "folder"))
    assert done.returncode == 4, done.stdout
    assert f"ERROR: {tmp_path}/file/folder cannot be written: Not a directory. Hint: name another" in done.stderr
    assert "passed" not in done.stdout


@pytest.mark.parametrize("option", ["--lab-artifacts", "--lab-report"])
def test_trying_a_folder_leaves_nothing_behind(play: Play, tmp_path: Path, option: str) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("a/new/folder", "empty"):
        done = play(FULL_STORY, option, str(tmp_path / folder), "-k", "no_such")
        assert done.returncode == 5, done.stdout
    assert not (tmp_path / "a").exists()
    assert not any((tmp_path / "empty").iterdir())


FULL_DISK = """
import pathlib

def full(self, target, replace=pathlib.Path.replace):
    if "reached" in str(target):
        raise OSError(28, "No space left on device")
    return replace(self, target)

pathlib.Path.replace = full
"""


@pytest.mark.parametrize("options", [(), ("-n", "2"), ("-qq",)])
def test_a_folder_that_fills_up_fails_the_run_with_the_reason(play: Play, tmp_path: Path, options) -> None:
    full = "import resource\n" + FULL_STORY + "    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 10_000_000))\n"
    done = play(full, *options, "-p", "no:cacheprovider", "--lab-artifacts", str(tmp_path / "reached"))
    assert done.returncode == 1, done.stdout
    assert f"--lab-artifacts: {tmp_path}/reached cannot be written: File too large. Hint: " in done.stdout
    assert list((tmp_path / "reached").iterdir()) == []
    assert options == ("-qq",) or "1 as expected" in done.stdout


def test_an_existing_file_stays_if_there_is_no_space(tmp_path: Path, monkeypatch) -> None:
    told = Timeline(0), tmp_path, "a.py::test_b", "passed", "", "reference"
    paths = artifacts.write(*told)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    old = [path.read_bytes() for path in paths]

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LabError, match="No space left on device"):
        artifacts.write(*told)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert [path.read_bytes() for path in paths] == old


def test_an_unwritable_report_fails_the_run_with_the_reason(play: Play, tmp_path: Path) -> None:
    done = play(FULL_DISK + FULL_STORY, "--lab-report", str(tmp_path / "reached"))
    assert done.returncode == 1, done.stdout
    assert f"--lab-report: {tmp_path}/reached cannot be written: No space left on device" in done.stdout
    assert "1 as expected" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_two_scenarios_of_one_name_have_a_page_and_files_each(tmp_path: Path) -> None:
    lesson = lessons.load("close_with_unread_data")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{lesson.name}.py").write_text(
            f"def {lesson.fault}(lab): lab.finding('in', {folder!r})\n"
        )
    made = tmp_path / "made"
    done = run_pytest(tmp_path / "a", str(tmp_path / "b"), f"--rootdir={tmp_path}", "-o", "python_files=*.py",
                      "--lab-report", str(made), "--lab-artifacts", str(made))  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = sorted(json.loads(path.read_text())["findings"][0]["value"] for path in made.glob("*.json"))
    assert found == ["a", "b"]
    pages = [path for path in made.glob("*.html") if path.name != "index.html"]
    assert len(pages) == 2
    assert all(f'href="{path.name}"' in (made / "index.html").read_text() for path in pages)


@pytest.fixture(scope="module")
def played_by_each(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Two workers that play both stories; one of the four plays fails."""
    folder = tmp_path_factory.mktemp("each")
    lesson = lessons.load("close_with_unread_data")
    (folder / f"{lesson.name}.py").write_text(f"""
def test_a(lab):
    lab.finding("one", 1)

def {lesson.fault}(lab, worker_id):
    assert worker_id == "gw0"
""")
    made = folder / "made"
    kept = [f"--lab-save={made}/run.json", f"--lab-artifacts={made}/files", f"--lab-report={made}"]
    options = ["--dist", "each", "--tx", "2*popen", "--lab-slow", "--lab-show", "-k", "test"]
    return made, run_pytest(folder / f"{lesson.name}.py", *options, *kept)


def test_every_workers_play_is_in_the_record(played_by_each: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    made, done = played_by_each
    assert "1 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    plays = record.load(made / "run.json").plays
    assert Counter(play["verdict"] for play in plays) == {"passed": 3, "failed": 1}
    assert sorted(Counter(play["story"] for play in plays).values()) == [2, 2]


def test_every_workers_play_has_files_and_a_picture(
    played_by_each: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    made, done = played_by_each
    assert len(list((made / "files").iterdir())) == 4 * 3
    assert done.stdout.count("test_a ─") == 2, done.stdout


def test_a_workers_passed_play_does_not_hide_a_failed_one(
    played_by_each: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    made, _ = played_by_each
    table = (made / "index.html").read_text().partition("<tbody>")[2]
    assert "failed" in table


UNTELLABLE = {
    "an error": "raise ValueError('it was eaten')",
    "a time limit": "import pytest; pytest.fail('Timeout (>1.0s) it was eaten')",
    "a real alarm": "import signal; signal.raise_signal(signal.SIGALRM); it.was.eaten",
}


@pytest.mark.parametrize("workers", [[], ["-n", "1"]])
@pytest.mark.parametrize("where", ["evidence", "timeline"])
@pytest.mark.parametrize("what", UNTELLABLE)
def test_an_error_while_keeping_evidence_fails_only_the_test(
    play: Play, tmp_path: Path, where: str, what: str, workers: list[str]
) -> None:
    gone = f"""
def test_a_story_that_cannot_be_shown(lab):
    def gone(*others):
        {UNTELLABLE[what]}
    if {where!r} == "evidence":
        lab.evidence = gone
    else:
        type(lab.timeline).__iter__ = gone
        type(lab.timeline).segments = gone

def test_begins():
    pass
"""
    record = tmp_path / "kept.json"
    kept = ["--lab-artifacts", str(tmp_path / "folder"), "--lab-save", str(record)]
    done = play(gone, *workers, "--lab-slow", *kept)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "the evidence of this test cannot be kept: " in done.stdout
    assert ("Timeout (>60.0s)" if what == "a real alarm" else "it was eaten") in done.stdout
    assert "0 as expected, 1 not" in done.stdout
    assert '"verdict":"failed"' in record.read_text().replace(": ", ":")


def test_a_report_has_a_page_for_each_lesson_and_an_index(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    chosen = [str(scenario_file(name)) for name in ("close_with_unread_data", "reset_before_accept")]
    done = run_module("pytest", "-q", "-n", "2", *chosen, "--lab-report", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(pages) == {"index.html", "close_with_unread_data.html", "reset_before_accept.html"}
    assert all(len(page.encode()) < 200_000 for page in pages.values())
    assert 'href="reset_before_accept.html"' in pages["index.html"]
    page = pages["close_with_unread_data.html"]
    assert page.count("<svg") >= 2
    assert "ECONNRESET" in page
    assert "TIME_WAIT" in page


def figures(page: Path) -> list[tuple[str, str]]:
    """The heading of each figure of a page, and the reason for its verdict."""
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page.read_text(), re.S)
    found = [(re.search(r"<h2>(.*?)</h2>", each), re.search(r'<p class="reason">(.*?)</p>', each, re.S))
             for each in captions]  # fmt: skip
    return [(name[1] if name else "", reason[1] if reason else "") for name, reason in found]


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_failed_story_is_drawn_on_its_page_with_the_reason(tmp_path: Path, workers: tuple[str]) -> None:
    lesson = lessons.load("close_with_unread_data")
    story = tmp_path / f"{lesson.name}.py"
    others = "\n".join(f"def test_other_{n}(lab):\n    assert {n} > 3, 'too few'\n" for n in range(9))
    story.write_text(f"""
import pytest
from harness.errors import ExpectationFailed, Inconclusive
from harness.lab.expect import failure

def {lesson.fault}(lab):
    raise failure("states <b>", "FIN_WAIT2", "CLOSED", 1)

def {lesson.control}(lab):
    pass

@pytest.fixture
def ends_badly(lab):
    yield
    raise ValueError("at its end")

def test_another_control(lab, ends_badly):
    pass

{others}
""")
    done = run_pytest(story, "--lab-report", str(tmp_path / "report"), *workers)
    assert done.returncode == 1, done.stdout
    page = tmp_path / "report" / f"{lesson.name}.html"
    (fault, reason), (control, none), *further = figures(page)
    assert (fault, control) == (spoken(lesson.fault), spoken(lesson.control))
    assert (reason, none) == ("states &lt;b&gt;\n  expected:  FIN_WAIT2\n  last seen: CLOSED", "")
    assert further == [
        ("another control", "ValueError: at its end"),
        *((f"other {n}", "AssertionError: too few") for n in range(3)),
    ]  # fmt: skip
    assert 'class="further' in page.read_text()


def test_a_failed_lessons_page_shows_what_was_expected(tmp_path: Path) -> None:
    page = tmp_path / "lesson.html"
    control = lessons.load("full_accept_queue").control
    lesson = ["full_accept_queue", "--lab-sysctl", "net.core.somaxconn=1", "-k", control, "--html", str(page)]
    done = run_module("harness", "lesson", *lesson)
    assert done.returncode == 1, done.stdout + done.stderr
    [(_, reason)] = figures(page)
    assert re.fullmatch("call 4 died\n  expected:  step &#x27;connected&#x27;\n  last seen: ETIMEDOUT: .*", reason)
    assert len(page.read_bytes()) < 200_000


def test_the_index_has_names_verdicts_and_the_chosen_language(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text(FULL_STORY)
    (tmp_path / "a.py").write_text(
        """
import pytest
from harness.errors import NotMeasured

@pytest.fixture
def ends_badly(lab):
    yield
    raise ValueError

def test_c(lab):
    raise NotMeasured("too long")

def test_b(lab, ends_badly):
    pass

def test_a(lab):
    pass
"""
    )
    report = ["--lab-report", str(tmp_path / "report"), "--lab-lang", "zh"]
    command = pytest_command(tmp_path / "b.py", str(tmp_path / "a.py"), *report)
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
    assert done.returncode == 1, done.stdout
    index = (tmp_path / "report" / "index.html").read_text()
    assert re.findall(r'<th scope="row">(.*?)</th>', index) == ["a", "b"]
    assert re.findall(r"<li><[^>]*>(.*?)</span> (.*?)</li>", index) == [
        ("✓ 符合预期", "a"), ("✕ 不符合预期", "b"), ("· 未测量", "c"), ("✓ 符合预期", "listens"),
    ]  # fmt: skip


def test_a_lesson_as_a_page(tmp_path: Path) -> None:
    page = tmp_path / "lesson.html"
    done = run_module("harness", "lesson", "close_with_unread_data", "--html", str(page))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "and neither end is left in TIME_WAIT" in page.read_text()
    deep = tmp_path / "no" / "such" / "folder.html"
    done = run_module("harness", "lesson", "close_with_unread_data", "--html", str(deep))
    assert done.returncode == 0, done.stdout + done.stderr
    assert deep.read_text().count("<figure") == page.read_text().count("<figure")


def test_a_quiz_claims_nothing_if_nothing_was_played() -> None:
    script = AS_ROOT_OF_A_USER_NAMESPACE + PLACES["no namespaces to be had"][0] + "os.execv(sys.argv[1], sys.argv[1:])"
    quiz = [sys.executable, "-m", "harness", "quiz", "close_with_unread_data"]
    done = subprocess.run(
        [sys.executable, "-c", script, *quiz], input="2\n", capture_output=True, text=True, cwd=ROOT,
        env=clean_environment(),
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert "The kernel shows" not in done.stdout
    assert "no user namespace can be made" in done.stdout
