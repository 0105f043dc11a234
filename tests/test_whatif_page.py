"""The page of a what-if: made-up reports for its form, and a real one in a real browser."""

import re
from types import SimpleNamespace

import pytest

from harness.explain.explain import Kind
from harness.explain.explain import Verdict as Said
from harness.runs import timelines
from harness.runs.compare import ENDING, Row, Verdict
from harness.story.timeline import Finding, Step, Timeline
from harness.sysctl_files.lines import Line
from harness.views import comparison
from harness.whatif.page import page
from harness.whatif.report import Report
from harness.whatif.trial import Trial
from tests import test_html
from tests.test_html import HOSTILE, crowd
from tests.test_timeline import CLIENT, SERVER, frame
from tests.test_whatif import FIN_TIMEOUT, harness

LIMIT_BYTES = 400_000
chromium, shown = test_html.chromium, test_html.shown  # a browser for this file, and a function that opens a page in it


class MadeUp:
    """A lesson, as far as a report asks for one."""

    sysctls = (FIN_TIMEOUT,)

    def source(self) -> str:
        return ""


def row(verdict, story="test_a_fin_waits", observable="it lasts", after="2.0 s"):
    return Row(f"scenarios/made_up.py::{story}", observable, "1.0 s", after, verdict)


def report(*rows, kernel="6.18", before="reference", after="reference + 99.conf", changed=("1", "2"), **others):
    verdict = Said(Line("k", "v", "x", 1, 1), Kind.UNKNOWN, others.pop("text", "no such key"))
    names = (SimpleNamespace(name=name) for name in (before, after))
    made = Trial(*names, (verdict,), (), {FIN_TIMEOUT: changed} if changed else {})
    told = {"untried": {}, "sentences": {FIN_TIMEOUT: "how long."}, "pinned": {}, "reasons": {}} | others
    return Report(made, kernel, 3, rows, {each.scenario: MadeUp() for each in rows}, **told)


def played(folder, each, timeline=None, turns=("before.1", "after.1")):
    """Write the timelines of a story into a folder, as if it had been played."""
    for turn in turns:
        told = Timeline(0)
        told.add(Step(1, "serve", turn))
        told.add_captured(*frame(2, CLIENT, SERVER, "S"))
        timelines.keep(timeline or told, "passed", story=each.story, turn=turn, folder=folder)


def text_of(browser, selector):
    return browser.run(
        f"[...document.querySelectorAll({selector!r})].map((each) => (each.innerText ?? each.textContent).trim())"
    )


def test_ladders_stand_side_by_side_below_the_table(shown, tmp_path) -> None:
    moved, still = row(Verdict.CHANGED), row(Verdict.SAME, "test_b")
    for each in (moved, still):
        played(tmp_path, each)
    browser = shown(page(report(still, moved), tmp_path))
    assert text_of(browser, "h1") == ["net.ipv4.tcp_fin_timeout: 1 → 2"]
    assert text_of(browser, "dd") == ["Linux 6.18", "reference", "reference + 99.conf", "3 times"]
    assert text_of(browser, "figcaption .kind") == ["BEFORE", "AFTER"], "only for stories that changed"
    assert text_of(browser, "figcaption h3") == ["net.ipv4.tcp_fin_timeout = 1", "net.ipv4.tcp_fin_timeout = 2"]
    assert text_of(browser, ".pair > h2") == ["A FIN waits"]
    assert "before.1" in text_of(browser, "figure:first-child .step")[0]
    assert "after.1" in text_of(browser, "figure:last-child .step")[0]
    boxes = browser.run("[...document.querySelectorAll('figure')].map((each) => each.getBoundingClientRect().y)")
    assert boxes[0] == boxes[1]
    assert browser.run("document.querySelector('.moves a').getAttribute('href')") == "#pair-0"
    assert browser.run("document.querySelector('#pair-0 figure') !== null")
    assert text_of(browser, ".texts h2") == ["Why", "Lines that could not be tried"]


def test_the_keyboard_reaches_the_table_and_both_ladders(shown, tmp_path) -> None:
    moved = row(Verdict.CHANGED)
    played(tmp_path, moved)
    browser = shown(page(report(moved), tmp_path))
    seen = []
    for _ in range(4):
        browser.press("Tab")
        seen.append(browser.run("document.activeElement.closest('[aria-label], a, label').textContent.trim()"))
    labels = browser.run("[...document.querySelectorAll('figure svg')].map((each) => each.getAttribute('aria-label'))")
    assert labels == ["before: a FIN waits", "after: a FIN waits"]
    assert seen[:2] == ["it lasts", "By steps"]
    assert "before.1" in seen[2]
    assert "after.1" in seen[3]
    assert "after.1" in browser.run("document.querySelector('.records').innerText")


def test_every_verdict_has_a_mark_of_its_own(tmp_path) -> None:
    rows = [row(verdict, f"test_{verdict.name}") for verdict in Verdict]
    verdicts = re.findall(
        r'<span class="verdict \w+">(\S+) ([^<]*)</span>', page(report(*rows, lists_all=True), tmp_path)
    )
    assert {words for _, words in verdicts} == {str(verdict) for verdict in Verdict}
    assert len({mark for mark, _ in verdicts}) == len(Verdict)


def test_all_rows_are_in_the_table_with_changed_ones_first(shown, tmp_path) -> None:
    rows = [row(Verdict.SAME, f"test_{name}", f"observable {name}") for name in "abc"]
    moved = Row("scenarios/zzz.py::test_moved", ENDING, "as expected", "NOT as expected", Verdict.CHANGED)
    told = report(*rows, moved, lists_all=True)
    browser = shown(page(told, tmp_path))
    cells = browser.run(
        "[...document.querySelectorAll('.moves tbody tr')]"
        ".map((line) => [...line.querySelectorAll('td')].slice(0, 3).map((cell) => cell.textContent))"
    )
    wanted = [[comparison.observable(each), each.before, each.after] for each in told.shown()]
    assert cells == wanted
    assert text_of(browser, ".moves tbody th") == ["zzz", "made_up"]


def test_at_most_six_pairs_are_drawn_and_the_others_are_named(tmp_path) -> None:
    varies = row(Verdict.VARIES, "test_varies")
    rows = [varies, *(row(Verdict.CHANGED, f"test_{n}") for n in range(8))]
    for each in rows:
        played(tmp_path, each)
    text = page(report(*rows), tmp_path)
    assert text.count('class="pair"') == 6
    assert text.count("<figure") == 12
    undrawn = text.partition("not drawn here")[2]
    assert re.findall(r"<li>.*?::(\w+)</li>", undrawn) == ["test_6", "test_7", "test_varies"], "changes come first"


def test_a_story_needs_one_timeline_to_be_drawn_else_it_is_named(shown, tmp_path) -> None:
    none, half = row(Verdict.CHANGED, "test_none"), row(Verdict.CHANGED, "test_half")
    played(tmp_path, half, turns=("after.1",))
    browser = shown(page(report(none, half), tmp_path))
    assert text_of(browser, "figcaption .kind") == ["AFTER"]
    assert text_of(browser, ".undrawn li") == ["scenarios/made_up.py::test_none"]


def test_without_drawings_there_is_no_switch(shown, tmp_path) -> None:
    browser = shown(page(report(changed=()), tmp_path))
    assert text_of(browser, "h1") == ["reference + 99.conf"]
    assert text_of(browser, ".claim") == ["Not everything could be measured. 1 line could not be tried"]
    assert browser.run("document.querySelectorAll('.tools, .moves, figure').length") == 0


def hostile(folder):
    each = Row(f"scenarios/{HOSTILE}.py::{HOSTILE}", HOSTILE, HOSTILE, HOSTILE, Verdict.CHANGED)
    timeline = Timeline(0)
    timeline.add(Step(1, HOSTILE, HOSTILE, HOSTILE))
    timeline.add(Finding(2, HOSTILE, HOSTILE))
    played(folder, each, timeline)
    texts = {"kernel": HOSTILE, "before": HOSTILE, "after": HOSTILE, "changed": (HOSTILE, HOSTILE), "text": HOSTILE}
    undrawn = row(Verdict.CHANGED, HOSTILE)
    return page(report(each, undrawn, untried={HOSTILE: HOSTILE}, sentences={FIN_TIMEOUT: HOSTILE}, **texts), folder)


def test_hostile_words_stay_words(shown, tmp_path) -> None:
    text = hostile(tmp_path)
    assert re.findall(r"<script\b[^>]*>", text) == ['<script type="application/json" id="data">', "<script>"]
    assert text.count("</script>") == 2
    assert "<img" not in text
    browser = shown(text)
    assert browser.run("document.title.startsWith('What if: </script>')")
    assert browser.run("document.querySelectorAll('img, script').length") == 2
    assert "onerror" in text_of(browser, ".moves td")[1]


def test_characters_that_reverse_the_direction_are_removed(tmp_path) -> None:
    assert "\u202e" not in page(report(row(Verdict.SAME), kernel="\u202e6", text="\u202elive"), tmp_path)


@pytest.mark.parametrize("words", ["word " * 30, "<" * 500, "ä\udcff" * 200])
def test_the_page_stays_small(tmp_path, words) -> None:
    rows = [row(Verdict.CHANGED, f"test_{n % 50}", f"{n} {words}", words) for n in range(1000)]
    for each in rows[:8]:
        played(tmp_path, each, crowd(500))
    many = {f"{n}{words}": words for n in range(2000)}
    text = page(report(*rows, untried=many, text=words), tmp_path)
    assert len(text.encode(errors="replace")) < LIMIT_BYTES
    assert re.search(r"… \d+ more</td>", text)
    assert re.search(r"… \d+ more</li>", text)
    assert text.count('class="pair"') >= 1


def test_a_page_needs_nothing_else(tmp_path) -> None:
    moved = row(Verdict.CHANGED)
    played(tmp_path, moved)
    text = page(report(moved), tmp_path)
    assert re.findall(r"(?:https?:)?//[a-z]|url\((?!#)|@import|\bsrc=|<link|\bstyle=", text) == []
    assert "default-src 'none'" in text


def test_a_real_one(shown, tmp_path) -> None:
    """A real change, from the file to the two ladders."""
    kept, conf = tmp_path / "whatif.html", tmp_path / "99.conf"
    conf.write_text("net.ipv4.tcp_abort_on_overflow = 1\n")
    arguments = ["--before", "reference", "--plays", "1", "--max-wait", "2", "--html", str(kept)]
    done = harness("whatif", *arguments, str(conf))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Changed." in done.stdout
    browser = shown(kept.read_text())
    scenarios = text_of(browser, ".pair .scenario")
    assert text_of(browser, "figcaption .kind") == ["BEFORE", "AFTER"] * len(scenarios)
    resets = browser.run("[...document.querySelectorAll('figure')].map((f) => f.querySelectorAll('.arrow.rst').length)")
    at = 2 * scenarios.index("full_accept_queue")
    assert resets[at] == 0
    assert resets[at + 1] > 0, "the last ACK of a handshake is answered by RST"
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
