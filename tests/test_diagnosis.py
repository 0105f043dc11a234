"""The proof of the signatures, in all stories: each finds its own fault, and stays silent everywhere else."""

import re

import pytest

from harness.diagnose.finding import Finding
from harness.diagnose.signatures import SIGNATURES
from harness.evidence.sockets import Socket
from harness.lessons import lessons
from tests import diagnosis
from tests.diagnosis_plugin import Taken

LESSONS = {lesson.name: lesson for lesson in lessons.every()}
TRUTHS, UNSEEN = diagnosis.truths()


@pytest.fixture(scope="module")
def stories() -> dict[str, Taken]:
    return diagnosis.played("-n", "4")


@pytest.fixture(scope="module")
def findings(stories: dict[str, Taken]) -> dict[str, dict[str, Finding]]:
    return {story: diagnosis.found(story, taken) for story, taken in stories.items() if taken}


@pytest.mark.parametrize("name", SIGNATURES)
def test_it_is_found_in_its_own_fault_and_nowhere_else(findings, name):
    score = diagnosis.scores(findings)[name]
    wrong = {
        "not found": score.fault - score.found,
        "found, without a reason in tests/diagnosed/": score.unexpected,
        "found, although it is said to be missed": score.missed & score.found,
    }
    assert {what: sorted(stories) for what, stories in wrong.items() if stories} == {}


@pytest.mark.parametrize("name", TRUTHS)
def test_what_is_said_of_a_signature_is_about_stories_that_exist(stories, name):
    truth = TRUTHS[name]
    patterns = [*truth.fault, *truth.also, *truth.missed]
    assert [pattern for pattern in patterns if not diagnosis.matching([pattern], stories)] == []


def test_each_lesson_has_a_signature_or_a_reason():
    assert [name for name, lesson in LESSONS.items() if (signature_of(name) in SIGNATURES) == (name in UNSEEN)] == []
    assert set(TRUTHS) == set(SIGNATURES)


def signature_of(lesson: str) -> str:
    return LESSONS[lesson].signature or lesson


SEEN = sorted(name for name in LESSONS if name not in UNSEEN)


@pytest.mark.parametrize("name", SEEN)
def test_the_fault_of_a_lesson_is_found(findings, name):
    """In the story that the lesson shows, unless the signature is said to miss it there."""
    story = f"{name}.{LESSONS[name].fault}"
    truth = TRUTHS[signature_of(name)]
    finding = findings[story].get(signature_of(name))
    if diagnosis.matching(truth.missed, [story]):
        assert finding is None or not diagnosis.is_certain(finding)
    else:
        assert diagnosis.matching([*truth.fault, *truth.also], [story])
        assert finding
        assert diagnosis.is_certain(finding)


@pytest.mark.parametrize("name", SEEN)
def test_the_commands_of_a_lesson_show_what_its_signature_reads(stories, name):
    """They are run in the fault's story, at the moments at which it is to be seen."""
    lesson, story = LESSONS[name], f"{name}.{LESSONS[name].fault}"
    printed = [text for moment in stories[story] for text in moment.printed.values()]
    assert printed
    finding = diagnosis.found(story, stories[story]).get(signature_of(name))
    assert finding or diagnosis.matching(TRUTHS[signature_of(name)].missed, [story])
    for evidence in finding.evidence if finding else ():
        if evidence.row:
            assert any(shows(text, evidence.row) for text in printed), evidence.text
        if evidence.counter:
            assert any(re.search(rf"^{evidence.counter} +[1-9]", text, re.M) for text in printed)
        if evidence.pid:
            assert any(re.search(r"PID|^ss -\w*p", command) for command in lesson.recognise)


def shows(text: str, row: Socket) -> bool:
    """Whether `ss` has printed this socket: its addresses, and its queues."""
    local, remote = (f"{bracketed(host)}:{port or '*'}" for host, port in (row.local, row.remote))
    return any({local, remote} <= set(words := line.split()) and str(row.send_q) in words for line in text.splitlines())


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def test_patterns_are_compared_whole_and_only_a_star_is_special():
    stories = ["a.test_x[1-2]", "a.test_x1", "ab.test_x"]
    assert diagnosis.matching(["a.test_x[1-2]"], stories) == {"a.test_x[1-2]"}
    assert diagnosis.matching(["a.*"], stories) == {"a.test_x[1-2]", "a.test_x1"}


def test_the_table_in_the_docs_is_that_of_today(stories):
    """But for where it is only possible, and what it was read from: both depend on timers and on the load."""
    findings, ends = diagnosis.everything(stories)
    page = diagnosis.PAGE.read_text("utf-8")
    today = diagnosis.with_part("signatures", page, diagnosis.table(diagnosis.scores(findings), ends))
    assert certain(today) == certain(page), "Hint: python -m tests.diagnosis --write"


def certain(page: str) -> str:
    """The page without the cells "possible in" and "read from" of the signatures' table."""
    return re.sub(r"^(\| \w+ \| \d+ \| \d+ \|) \d+ (\|.*%) \| [^|]+ \|$", r"\1 \2", page, flags=re.M)


def test_the_cells_that_depend_on_the_load_are_left_out():
    assert (
        certain("| full | 12 | 11 | 1 | 5 | 0 | 100% | 92% | counters |\n")
        == "| full | 12 | 11 | | 5 | 0 | 100% | 92%\n"
    )
