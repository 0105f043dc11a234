"""The lessons' texts are complete and match their scenarios; the commands that show them."""

import ast
import contextlib
import dataclasses
import html
import os
import pty
import re
import subprocess
import sys
import termios
import tomllib

import pytest
from rich.cells import cell_len

from harness.cli.main import main
from harness.errors import LabError
from harness.lessons import lessons, translations
from harness.lessons.docstrings import proved_rows
from harness.story.timeline import Timeline
from harness.views.narration import claimed, format_text
from tests.playing import ROOT, WarmPython, clean_environment, pytest_command, run_module, run_pytest
from tests.test_tidy import SCENARIOS

TOOLS = {"cat", "conntrack", "getent", "grep", "ip", "journalctl", "nstat", "ps", "ss", "sysctl", "tcpdump"}
NAMES = [path.stem for path in SCENARIOS]
OURS = [
    path.stem for path in SCENARIOS if re.search(r"\b00[0-4]\b", ast.get_docstring(ast.parse(path.read_text())) or "")
]
"""The scenarios that come from the articles, which are complete in Chinese; others need not be."""

ENGLISH = """
fault = "test_x"
control = "test_control_x"
sysctls = []
recognise = ["ss -tan", "nstat -az"]
answer = 1

[en]
symptom = "it hangs"
cause = "the peer is gone"
cure = "a timeout"
claim = "It hangs."
why = "Nobody answers."
look = ["one", "two"]
question = "What happens?"
options = ["this", "that", "nothing"]
because = "It does."
"""


def run(*arguments, answer="", **environment):
    return run_module("harness", *arguments, answer=answer, environment={"COLUMNS": "80"} | environment)


@pytest.fixture(scope="module")
def collected():
    done = run_module("pytest", "--collect-only", "-q", "scenarios/", "-m", "large or not large")
    return set(done.stdout.splitlines())


def test_every_scenario_has_its_lesson_and_no_lesson_is_without():
    assert sorted(path.stem for path in lessons.FOLDER.glob("*/*.toml")) == NAMES


@pytest.mark.parametrize("language", lessons.LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_is_whole(name, language):
    lesson = lessons.load(name, language)
    assert len(lesson.texts.look) == len(lesson.recognise) >= 1
    assert len(set(lesson.texts.options)) == 3
    assert 1 <= lesson.answer <= 3
    assert all(re.fullmatch(r"net\.[a-z0-9_.]+", key) for key in lesson.sysctls)
    assert all(command.split()[0] in TOOLS for command in lesson.recognise)
    assert "|" not in lesson.texts.symptom + lesson.texts.cause + lesson.texts.cure, "they are shown in a table"


@pytest.mark.parametrize("name", OURS)
def test_a_lesson_from_the_articles_is_complete_in_chinese(name):
    assert translations.missing(name, "zh") == []


def test_every_proved_row_belongs_to_a_lesson_from_the_articles():
    proving = {path.stem for path in SCENARIOS if proved_rows(path.read_text())}
    assert proving <= set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_each_language_has_the_same_facts(name):
    english, chinese = (lessons.load(name, language) for language in lessons.LANGUAGES)
    assert (english.fault, english.control, english.answer) == (chinese.fault, chinese.control, chinese.answer)
    texts = chinese.texts
    for text in (texts.symptom, texts.cause, texts.cure, texts.claim, texts.why, texts.question, texts.because):
        assert re.search(r"[\u4e00-\u9fff]", text), text


@pytest.mark.parametrize("name", NAMES)
def test_the_stories_of_a_lesson_exist(name, collected):
    lesson = lessons.load(name)
    assert {f"{lesson.path.relative_to(ROOT)}::{story}" for story in lesson.stories} <= collected
    assert not lesson.fault.startswith("test_control_")
    assert lesson.control.startswith("test_control_")


def test_exactly_the_sysctls_of_lessons_have_sentences():
    sentences = tomllib.loads((ROOT / "harness" / "whatif" / "keys.toml").read_text())
    assert set(sentences) == {key for name in NAMES for key in lessons.load(name).sysctls}


def test_answers_are_not_all_the_same():
    answers = [lessons.load(name).answer for name in NAMES]
    assert all(len(answers) / 12 <= answers.count(number) <= len(answers) / 2 for number in (1, 2, 3))


def test_an_unknown_lesson_has_a_hint():
    with pytest.raises(LabError, match=r"no lesson fin_wait1_made_visibel. Hint: did you mean fin_wait1_made_visible"):
        lessons.load("fin_wait1_made_visibel")
    assert lessons.find("no_such_lesson") is None


def test_a_scenario_without_a_lesson_is_not_an_unknown_name(tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "FOLDER", tmp_path)
    (tmp_path / "closing").mkdir()
    (tmp_path / "closing" / "story.py").touch()
    with pytest.raises(LabError, match=r"scenario story has no lesson. Hint: write scenarios/closing/story.toml"):
        lessons.load("story")


def test_two_scenarios_of_one_name_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "FOLDER", tmp_path)
    for theme in ("closing", "ports", "waiting"):
        (tmp_path / theme).mkdir()
    (tmp_path / "ports" / "other.py").touch()
    (tmp_path / "ports" / "story.py").touch()
    lessons.check_names()
    (tmp_path / "closing" / "story.py").touch()
    with pytest.raises(
        LabError, match=r"^closing/ and ports/ both have a scenario story. Hint: give one of them another"
    ):
        lessons.check_names()


def test_pytest_refuses_two_scenarios_of_one_name(tmp_path):
    """In a separate checkout, so that its own contents are refused, not this run's arguments."""
    for name in ("harness", "conftest.py", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    for theme in ("closing", "ports"):
        (tmp_path / "scenarios" / theme).mkdir(parents=True)
        (tmp_path / "scenarios" / theme / "story.py").write_text("def test_it(): pass\n")
    lesson = (
        "from harness.lessons import lessons; from pathlib import Path; lessons.FOLDER = Path('scenarios').absolute()"
    )
    (tmp_path / "elsewhere.py").write_text(lesson)
    done = run_module(
        "pytest",
        "-p",
        "elsewhere",
        "scenarios/",
        "-q",
        folder=tmp_path,
        environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )
    assert done.returncode == 4
    assert "closing/ and ports/ both have a scenario story. Hint: give one of them another name" in done.stderr


def test_a_storys_name_in_a_record_does_not_depend_on_its_theme():
    kept = "scenarios/story.py::test_it[1-a/b]"
    assert lessons.story_name("scenarios/closing/story.py::test_it[1-a/b]") == kept
    assert lessons.story_name("scenarios/ports/story.py::test_it[1-a/b]") == kept
    for other in (kept, "mine/closing/story.py::test_it", "scenarios/a/b/story.py::test_it", "story.py::test_it"):
        assert lessons.story_name(other) == other


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fault = ", "x.toml is not TOML"),
        ('fault = "test_x"', r"x.toml does not have symptom, .*because in \[en\]. Hint: docs/writing-a-scenario.md"),
        (
            "[zh]\nsymptom = '症状'",
            r"x.toml does not have symptom, .*because in \[en\]. Hint: docs/writing-a-scenario.md",
        ),
        (ENGLISH.replace('fault = "test_x"', ""), r"x.toml does not have fault. Hint: docs/writing-a-scenario.md"),
        (
            ENGLISH.replace('["one", "two"]', '["one"]'),
            r"x.toml has 1 texts in look for 2 commands in recognise. Hint: ",
        ),
    ],
)
def test_an_incomplete_lesson_is_refused(tmp_path, monkeypatch, text, message):
    monkeypatch.setattr(lessons, "FOLDER", tmp_path)
    (tmp_path / "waiting").mkdir()
    (tmp_path / "waiting" / "x.toml").write_text(text)
    with pytest.raises(LabError, match=message):
        lessons.find("x")


@pytest.fixture
def translated(tmp_path, monkeypatch):
    """Writes the only scenario, x, with the given translation."""
    monkeypatch.setattr(lessons, "FOLDER", tmp_path)
    (tmp_path / "waiting").mkdir()

    def write(chinese, docstring=""):
        (tmp_path / "waiting" / "x.toml").write_text(ENGLISH + chinese)
        (tmp_path / "waiting" / "x.py").write_text(f'def test_x(lab):\n    """{docstring}"""\n')

    return write


@pytest.mark.parametrize("chinese", ["", "[zh]\n"])
def test_a_lesson_without_a_translation_is_in_english_and_marked(translated, chinese):
    translated(chinese)
    texts = lessons.load("x", "zh").texts
    assert texts.symptom == "[未翻译] it hangs"
    assert texts.look == ("[未翻译] one", "[未翻译] two")
    assert translations.missing("x", "zh") == [field.name for field in dataclasses.fields(lessons.Texts)]
    assert lessons.load("x", "en").texts.symptom == "it hangs"


def test_what_a_translation_lacks_is_in_english_and_marked(translated):
    translated("[zh]\nsymptom = '卡住'\nlook = ['一']\n")
    texts = lessons.load("x", "zh").texts
    assert (texts.symptom, texts.cause) == ("卡住", "[未翻译] the peer is gone")
    assert texts.look == ("[未翻译] one", "[未翻译] two"), "one is missing, and it is unknown which"
    missing = translations.missing("x", "zh")
    assert "symptom" not in missing
    assert "look" in missing


def test_advice_without_a_translation_is_missing(translated):
    translated("[zh]\n", docstring="Said: it helps. Shown: false: it does not.")
    assert "advice.test_x" in translations.missing("x", "zh")
    translated("[zh.advice]\ntest_x = ['有用', '错：没用']\n", docstring="Said: it helps. Shown: false: it does not.")
    assert "advice.test_x" not in translations.missing("x", "zh")


def test_the_list_of_what_is_missing(translated, capsys):
    translated("[zh]\nsymptom = '卡住'\n")
    assert main(["list", "--missing", "zh"]) == 0
    shown = capsys.readouterr().out
    assert re.fullmatch(r"\S+/waiting/x\.toml: missing in \[zh\]: cause, cure, claim, .*, because\n", shown)


def test_the_list_of_what_is_missing_when_nothing_is(translated, capsys):
    translated(ENGLISH.partition("[en]")[2].join(["[zh]", ""]))
    assert main(["list", "--missing", "zh"]) == 0
    assert capsys.readouterr().out == "Every scenario is complete in [zh].\n"


@pytest.mark.parametrize("command", [["list", "--lang", "zh"], ["quiz", "x", "--lang", "zh"]])
def test_english_words_among_chinese_ones_are_marked(translated, capsys, monkeypatch, command):
    translated("")
    monkeypatch.setattr("harness.cli.lessons._play", lambda *_, **__: 0)
    monkeypatch.setattr("harness.output.terminal.ask", lambda _: "1")
    main(command)
    shown = capsys.readouterr().out
    assert "[未翻译] it hangs" in shown or "[未翻译] What happens?" in shown


def test_a_lesson_draws_both_stories_between_its_words():
    done = run("lesson", "close_with_unread_data")
    assert done.returncode == 0, done.stdout + done.stderr
    lesson = lessons.load("close_with_unread_data")
    places = [done.stdout.find(words) for words in (lesson.texts.claim[:40], lesson.fault, "Why", lesson.control)]
    assert places == sorted(places)
    assert min(places) >= 0
    assert re.search(r"CLOSED +◀─+ RA ── CLOSED", done.stdout)
    assert re.search(r"TIME_WAIT +◀─+ FA ── LAST_ACK", done.stdout)
    assert "\x1b[" not in done.stdout
    assert max(map(cell_len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_lesson_shows_its_table_in_the_terminal_and_on_its_page(tmp_path, workers):
    """The lesson of the five causes, whose symptoms are in a table."""
    lesson = lessons.load("connect_that_hangs_told_apart")
    done = run("lesson", lesson.name, "--html", str(tmp_path / "page.html"), *workers)
    assert done.returncode == 0, done.stdout + done.stderr
    above, _, table = done.stdout.partition(f"{lesson.table} ─")
    assert lesson.fault in above
    assert lesson.control in above
    causes = (
        "full accept queue",
        "leaked CLOSE_WAIT, RST lost",
        "dropped SYN",
        "stopped server",
        "exhausted port range",
    )
    for text in ("cause  ", *causes, "sleeps in recvfrom()", "ListenOverflows ListenDrops", "ETIMEDOUT"):
        assert text in table
        assert html.escape(text) in (tmp_path / "page.html").read_text()
    assert max(map(cell_len, table.splitlines())) <= 80


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_the_claim_is_printed_once_before_the_story(tmp_path, workers):
    """The story waits until the test has read the claim; with workers, whose stories mix, both come together."""
    lesson = lessons.load("close_with_unread_data")
    story = tmp_path / f"{lesson.name}.py"
    story.write_text(f"""
import os
from pathlib import Path

def {lesson.fault}(lab):
    if {not workers}:
        os.open({str(tmp_path / "told")!r}, os.O_RDONLY)  # a pipe's: until somebody opens its other end

def {lesson.control}(lab):
    pass
""")
    os.mkfifo(tmp_path / "told")
    child = subprocess.Popen(
        pytest_command(story, "-qq", "--no-header", "--lab-show", *workers),
        stdout=subprocess.PIPE, text=True, env=clean_environment(),
    )  # fmt: skip
    words = lesson.texts.claim[:40]
    first = ""
    if not workers:
        for line in child.stdout:
            first += line
            if words in line:
                break
    both_ends = os.open(tmp_path / "told", os.O_RDWR)
    whole = first + child.communicate()[0]
    os.close(both_ends)
    assert child.returncode == 0, whole
    assert whole.count(words) == 1
    assert 0 <= whole.find(words) < whole.find(lesson.fault) < whole.find("Why")


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_the_terminal_or_the_option_decides_about_colour(workers):
    lesson = lessons.load("close_with_unread_data")
    command = [WarmPython.one().executable, "-m", "pytest", "--lab-show", *workers, f"{lesson.path}::{lesson.fault}"]
    environment = {name: value for name, value in clean_environment().items() if name not in ("NO_COLOR", "COLUMNS")}
    heading = rf"^{lesson.fault} (\x1b\[[\d;]*m)?─+"

    piped = [subprocess.run([*command, *option], capture_output=True, text=True, cwd=ROOT, env=environment).stdout
             for option in ((), ("--color=yes",))]  # fmt: skip
    assert [bool(re.search(heading, each, re.M)[1]) for each in piped] == [False, True]
    for option, coloured in (("--color=auto", True), ("--color=no", False)):
        read, written = pty.openpty()
        termios.tcsetwinsize(written, (24, 100))
        with subprocess.Popen(
            [*command, option], stdout=written, cwd=ROOT, env=environment | {"TERM": "xterm"}
        ) as child:
            os.close(written)
            shown = b"".join(read_from(read)).decode()
        os.close(read)
        assert child.returncode == 0, shown
        assert bool(re.search(heading, shown, re.M)[1]) is coloured
        bare = re.sub(r"\x1b\[[\d;]*m", "", re.search(heading, shown, re.M)[0])
        assert len(bare) == 100, "the terminal's width"


def read_from(terminal):
    with contextlib.suppress(OSError):  # the other end is closed
        while some := os.read(terminal, 4096):
            yield some


def test_pictures_come_fault_first_in_any_order_of_reports(tmp_path):
    """The fault's story waits until the control's has been reported."""
    lesson = lessons.load("close_with_unread_data")
    story = tmp_path / f"{lesson.name}.py"
    story.write_text(f"""
import os
import pytest

TOLD = {str(tmp_path / "told")!r}

def {lesson.fault}(lab):
    os.open(TOLD, os.O_RDONLY)

@pytest.fixture
def reported():
    yield
    os.open(TOLD, os.O_WRONLY)

def {lesson.control}(reported, lab):
    pass
""")
    os.mkfifo(tmp_path / "told")
    done = run_pytest(story, "-qq", "--no-header", "--lab-show", "-n", "2")
    assert done.returncode == 0, done.stdout
    places = [done.stdout.find(words) for words in (lesson.texts.claim[:40], lesson.fault, "Why", lesson.control)]
    assert places == sorted(places)
    assert min(places) >= 0


@pytest.mark.parametrize(
    ("answer", "status", "verdict"), [("2\n", 0, "Right."), ("1\n", 6, "Your answer was 1."), ("", 6, "-")]
)
def test_a_quiz_works_in_a_pipe(answer, status, verdict):
    done = run("quiz", "close_with_unread_data", answer=answer)
    assert done.returncode == status, done.stdout + done.stderr
    question, _, run_and_answer = done.stdout.partition("Your answer, 1 to 3: ")
    assert "1. " in question
    assert "RA" not in question
    lesson = lessons.load("close_with_unread_data")
    places = [
        run_and_answer.find(words) for words in (verdict, "The kernel shows 2:", lesson.texts.claim[:40], lesson.fault)
    ]
    assert places == sorted(places), "the verdict comes first, then the ladder"
    assert min(places) >= 0


def test_a_quizs_ladder_has_the_terminals_width_and_colour():
    """The story is played before the verdict is printed, so its output is not a terminal."""
    lesson = lessons.load("close_with_unread_data")
    environment = {name: value for name, value in clean_environment().items() if name not in ("NO_COLOR", "COLUMNS")}
    read, written = pty.openpty()
    termios.tcsetwinsize(written, (24, 100))
    command = [sys.executable, "-m", "harness", "quiz", lesson.name]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=written, cwd=ROOT, env=environment | {"TERM": "xterm"}
    ) as child:
        os.close(written)
        child.stdin.write(b"2\n")
        child.stdin.close()
        shown = b"".join(read_from(read)).decode()
    os.close(read)
    assert child.returncode == 0, shown
    heading = re.search(rf"^{lesson.fault} \x1b\[[\d;]*m─+", shown, re.M)
    assert heading, shown
    assert len(re.sub(r"\x1b\[[\d;]*m", "", heading[0])) == 100


@pytest.fixture
def broken(tmp_path):
    """An environment with a plugin that makes every story fail."""
    (tmp_path / "broken.py").write_text("def pytest_runtest_call(item):\n    raise AssertionError(item)\n")
    return {"PYTHONPATH": f"{ROOT}:{tmp_path}"}


@pytest.mark.parametrize("command", ["lesson", "quiz"])
def test_a_failed_story_is_not_a_wrong_answer(command, broken):
    done = run(command, "close_with_unread_data", "-p", "broken", answer="1\n", **broken)
    assert done.returncode == 1, done.stdout
    assert "Your answer was" not in done.stdout
    assert "The kernel shows" not in done.stdout
    assert "AssertionError" in done.stdout, "pytest's error message"


@pytest.mark.parametrize(("arguments", "status"), [("", 0), ("-p broken", 2)])
def test_make_quiz_accepts_a_wrong_answer_but_no_failure(arguments, status, broken):
    command = ["make", "-s", "-o", "setup", f"VENV={sys.prefix}", "quiz", "S=close_with_unread_data"]
    done = subprocess.run(
        [*command, f"ARGS={arguments}"], cwd=ROOT, input="1\n", capture_output=True, text=True,
        env=clean_environment() | broken,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr


def test_a_quiz_in_chinese():
    done = run("quiz", "close_with_unread_data", "--lang", "zh", answer="2")
    assert done.returncode == 0
    assert "答对了" in done.stdout
    assert max(map(cell_len, done.stdout.partition("答对了")[2].splitlines())) <= 80


@pytest.mark.parametrize("command", ["list", "lesson", "quiz", "step"])
def test_a_terminal_without_utf_8_breaks_nothing(command):
    """(For an encoding without Chinese see tests/test_output.py.)"""
    named = [] if command == "list" else ["close_with_unread_data"]
    done = run(command, *named, "--lang", "zh", answer="\udcff\n2\n", PYTHONIOENCODING="gbk")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize("command", ["list", "lesson", "step"])
def test_the_chinese_page_has_only_chinese_words_around(command):
    named = [] if command == "list" else ["close_with_unread_data"]
    done = run(command, *named, "--lang", "zh")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search(r"^ *[。，、；：）”]", done.stdout, re.M)
    english = r"waits (up|less)|accept queue|no owner|no process|states:|\bserver\b(?!:)|look inside|is resumed"
    shown = done.stdout
    for name in set(NAMES) - set(OURS):  # may be in English
        shown = re.sub(rf"^{name}\n(  .*\n)+", "", shown, flags=re.M)
    assert not re.search(english, shown, re.I)
    if command == "lesson":
        assert re.search("客户端 +服务器\n", done.stdout)
        assert "全连接队列 1 / 128" in done.stdout
        assert "全连接队列为空" in done.stdout
        assert "没有进程持有" in done.stdout
        assert max(map(cell_len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("width", [80, 81, 100])
@pytest.mark.parametrize("name", NAMES)
def test_no_line_begins_with_the_end_of_a_chinese_sentence(name, width):
    lesson = lessons.load(name, "zh")
    below = format_text(Timeline(0), lesson.fault, lesson, "zh", width, color=False)
    text = f"{claimed(lesson, width, color=False)}\n{below}"
    assert not re.search("^ *[。，、；：）”]", text, re.M)
    assert max(map(cell_len, text.splitlines())) <= width


def test_the_list_names_all_with_rows_and_sysctls():
    done = run("list")
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if line in NAMES] == NAMES
    governs = [line for line in done.stdout.splitlines() if "; waits" in line or "  waits" in line]
    assert len(governs) == len(NAMES)
    assert not [line for line in governs if line.lstrip().startswith(";")]
    assert re.search(r"004-10; waits up to 2 s; net\.ipv4\.tcp_fin_timeout", done.stdout)


@pytest.mark.parametrize("command", ["lesson", "quiz"])
def test_an_unknown_name_is_exit_2(command):
    done = run(command, "no_such")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no lesson no_such. Hint:" in done.stderr


def test_an_unwritable_page_is_reported_before_playing(monkeypatch, capsys):
    monkeypatch.setattr("harness.cli.lessons._play", lambda *_, **__: 1 / 0)
    assert main(["lesson", "close_with_unread_data", "--html", "/proc/nope/x.html"]) == 2
    assert "/proc/nope/x.html cannot be written: No such file or directory. Hint: " in capsys.readouterr().err


def test_a_page_may_be_written_to_dev_stdout():
    command = [sys.executable, "-m", "harness", "lesson", "close_with_unread_data", "--html", "/dev/stdout"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=clean_environment())
    assert done.returncode == 0, done.stderr
    assert "<!doctype html>" in done.stdout


def test_make_takes_a_page_with_a_space_in_its_name():
    command = ["make", "-n", "-o", "setup", "lesson", "S=close_with_unread_data", "HTML=a page.html"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=clean_environment())
    assert '--html "a page.html"' in done.stdout


def test_if_no_story_was_drawn_its_missing_page_is_no_error(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("harness.cli.lessons._play", lambda *_, **__: 1)
    assert main(["lesson", "close_with_unread_data", "--html", str(tmp_path / "x.html")]) == 1
    assert capsys.readouterr().err == ""
    assert list(tmp_path.iterdir()) == []
