"""Pages and files for a class: they contain what was seen, and nothing that gives the answer away."""

import re

import pytest

from harness.evidence.sockets import Socket, State, Timer
from harness.lessons import lessons
from harness.story.timeline import Change, Counted, Finding, Look, Step, Timeline
from harness.views.plain import plain
from tests.playing import run_module, run_pytest
from tests.test_timeline import CLIENT, SERVER, frame

NAME = "close_with_unread_data"
GIVEN_AWAY = ["leak", "cure", "drop", "guilty", "forgot", "unread", "reset before"]
STORY = """
def leaking_listener(address):
    import socket
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "forgot it"
    yield "closed"
    return "guilty"

def request(address):
    import socket
    connection = socket.create_connection(address)
    yield "connected"
    connection.sendall(b"x")
    yield "sent"

def test_a_leak_is_dropped(lab):
    server = lab.start(leaking_listener, lab.server_address, to="listening")
    client = lab.start(request, lab.server_address, name="drop it", to="connected")
    lab.set_sysctl("net.ipv4.tcp_rfc1337", 1)
    lab.finding("the leak", "found")
    client.run_to("sent")
    server.run_to("forgot it")
    server.run_to("closed")
    server.finish()
"""


def story():
    timeline = Timeline(0)
    timeline.clock_spread_ns = 7
    timeline.add(Step(1, "leaking_listener", "listening"))
    timeline.add_captured(*frame(2, CLIENT, SERVER, "S"))
    timeline.add(Change(3, "drop it"))
    timeline.add(Finding(4, "the leak", "found"))
    timeline.add(Step(5, "leaking_listener", "has leaked"))
    timeline.add(Step(6, "leaking_listener", "blocked in recv"))
    timeline.add(Step(7, "other", "failed", "ECONNRESET: [Errno 104] leak"))
    timeline.add(Step(8, "third", "finished", "returned 'guilty'"))
    timeline.add(Step(9, "fourth", "finished", "returned 'ETIMEDOUT'"))
    row = Socket(State.LISTEN, SERVER, ("0.0.0.0", 0), 0, 1, Timer("none", 0, 0), 77, 0)
    timeline.add(Look(10, (row,), ((77, "leaking_listene"), (79, "haproxy"))))
    timeline.add(Counted(11, (("TcpExtTW", 1),)))
    return timeline


def test_it_keeps_what_was_seen_under_neutral_names():
    told = [event for event in plain(story()).entered() if not hasattr(event, "flags")]
    assert told[:4] == [
        Step(1, "server", "listening"),
        Step(6, "server", "blocked in recv"),
        Step(7, "client", "failed", "ECONNRESET"),
        Step(8, "client 2", "finished"),
    ]
    assert told[4] == Step(9, "client 3", "finished", "returned 'ETIMEDOUT'")
    look, counted = told[5:]
    assert look.owners == ((77, "server"), (79, "haproxy"))
    assert counted == Counted(11, (("TcpExtTW", 1),))


def test_it_keeps_the_capture_and_leaves_the_story_alone():
    whole = story()
    kept = plain(whole)
    assert list(kept.captured()) == list(whole.captured())
    assert (kept.start_ns, kept.clock_spread_ns) == (0, 7)
    assert [type(event) for event in kept][:2] == [type(event) for event in whole][:2]
    assert Change(3, "drop it") in list(whole.entered())


def hints(text):
    return [word for word in GIVEN_AWAY if word in text.lower()]


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_files_without_the_answer_have_names_without_it(tmp_path, workers):
    path = tmp_path / "leaky.py"
    path.write_text(STORY)
    files = tmp_path / "files"
    done = run_pytest(path, "--lab-artifacts", str(files), "--lab-plain", *workers)
    assert done.returncode == 0, done.stdout
    captured, drawn = sorted(files.iterdir(), reverse=True)
    assert re.fullmatch(r"story-[0-9a-f]{8}\.pcapng", captured.name)
    assert drawn.name == f"{captured.stem}.mmd"
    assert hints(drawn.read_text()) == []
    assert "» sent" in drawn.read_text()
    assert hints(captured.read_bytes().decode("latin-1")) == []
    assert b"server: \xc2\xbb listening" in captured.read_bytes()
    assert f"{captured.stem}: leaky.py::test_a_leak_is_dropped" in done.stdout, "for the teacher"


def test_a_failed_story_is_not_handed_out(tmp_path):
    path = tmp_path / "leaky.py"
    path.write_text(STORY + "    assert False\n")
    files, report = tmp_path / "files", tmp_path / "report"
    done = run_pytest(path, "--lab-artifacts", str(files), "--lab-report", str(report), "--lab-plain")
    assert done.returncode == 1, done.stdout
    assert [*files.glob("*"), *report.glob("story*")] == []
    assert re.search(r"^/\S+/lab/leaky_test_a_leak_is_dropped-\S+\.pcapng$", done.stdout, re.M), (
        "it is there to look at"
    )


def test_without_anything_to_show_it_is_a_usage_error(tmp_path):
    path = tmp_path / "leaky.py"
    path.write_text(STORY)
    done = run_pytest(path, "--lab-plain")
    assert done.returncode == 4
    assert "--lab-plain alone makes no output. Hint: add --lab-artifacts, --lab-report or --lab-show" in done.stderr


@pytest.mark.parametrize("language", lessons.LANGUAGES)
def test_a_plain_lesson_is_only_its_fault_without_texts(tmp_path, language):
    page, files = tmp_path / "out.html", tmp_path / "files"
    asked = ["lesson", NAME, "--plain", "--html", str(page), "--lang", language, "--lab-artifacts", str(files)]
    done = run_module("harness", *asked, environment={"COLUMNS": "80"})
    assert done.returncode == 0, done.stdout + done.stderr
    lesson = lessons.load(NAME, language)
    drawn, captured = (next(files.glob(f"*.{ending}")).read_bytes().decode("latin-1") for ending in ("mmd", "pcapng"))
    html = page.read_text()
    for text in (html, done.stdout, drawn, captured):
        words = [lesson.texts.claim, lesson.texts.why, lesson.texts.cure, lesson.texts.symptom, *lesson.texts.look]
        assert [each for each in (*words, *lesson.recognise) if each[:30] in text] == []
        assert hints(text) == []
        assert not re.search(r"\bcontrol\b|ready to close|as expected|符合预期|故障|对照", text)
    title = re.search("<title>(.*)</title>", html)[1]
    assert re.fullmatch("story-[0-9a-f]{8}", title)
    assert {each.stem for each in files.iterdir()} == {title}
    assert html.count("<figure") == 1
    assert "RST" in html
    assert re.search(r"◀─+ RA ──", done.stdout)


def test_the_index_of_plain_pages_lists_them_and_no_more(tmp_path):
    folder = tmp_path / "report"
    done = run_module(
        "pytest",
        "-q",
        str(lessons.load(NAME).path),
        "-k",
        "into_a_reset or fin",
        "--lab-plain",
        "--lab-report",
        str(folder),
    )
    assert done.returncode == 0, done.stdout
    story, index = sorted(folder.iterdir(), reverse=True)
    assert re.fullmatch(r"story-[0-9a-f]{8}\.html", story.name)
    assert hints(index.read_text()) == []
    assert index.read_text().count("<th ") == 2, "no columns without content"
    assert f'href="{story.name}"' in index.read_text()


def test_the_index_has_another_order_than_the_scenarios(tmp_path):
    """The README lists the scenarios by name: in that order, the position in the index would be the answer."""
    played = [lesson for lesson in lessons.every() if "[" not in lesson.fault]
    for lesson in played:
        (tmp_path / f"{lesson.name}.py").write_text(f"def {lesson.fault}(lab):\n    pass\n")
    folder = tmp_path / "report"
    first, *others = (tmp_path / f"{lesson.name}.py" for lesson in played)
    done = run_pytest(first, *map(str, others), "-q", "--lab-plain", "--lab-report", str(folder))
    assert done.returncode == 0, done.stdout
    listed = re.findall(r'href="(.*?)"', (folder / "index.html").read_text())
    assert len(listed) == len(played) > 9
    assert listed == sorted(listed)
