"""The Mermaid diagram: every line obeys a strict grammar, whatever the steps are called; long stories are folded.

The grammar is narrower than Mermaid's own (sequenceDiagram.jison): a text consists of letters, harmless characters and
entity codes.
"""

import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.story.timeline import Change, Counted, Finding, Step, Timeline
from harness.views.mermaid import mermaid
from tests.test_timeline import CLIENT, SERVER, frame

LETTER = r"(?:[\w !()*+,./=?\[\]|»…→−-]|#\d+;)"
TEXT = rf"(?P<text>{LETTER}+(?:<br/>{LETTER}+)*)"
MESSAGE = re.compile(rf"    (?P<sender>client|server)(?P<arrow>->>|--x)(?P<receiver>client|server): {TEXT}")
NOTE = re.compile(rf"    Note over (?P<over>client|server|client,server): {TEXT}")
MS = 10**6
HEAD = ["sequenceDiagram", "    participant client", "    participant server"]
HOSTILE = ["a; b", "#quot;", "x: y", "end", "END of it", "a\nend\nb", "<br/><script>", "%%{init: {}}%%", "$$x$$", "`",
           "wrap: x", "client->>server: forged", "\x1b[31m", "style a:b #c;", "Note over client: forged",
           "\ud800"]  # fmt: skip


def shown(coded):
    """The text as displayed: Mermaid's #59; is HTML's &#59;."""
    return [html.unescape(re.sub(r"#(\d+);", r"&#\1;", line)) for line in coded.split("<br/>")]


def read(diagram):
    """Each statement after the head as (kind, text lines); every line must obey the grammar."""
    lines = diagram.removesuffix("\n").split("\n")
    assert lines[:3] == HEAD
    found = []
    for line in lines[3:]:
        assert not re.search(r"\bend\b", line, re.I), line
        if match := MESSAGE.fullmatch(line):
            found.append((f"{match['sender']}{match['arrow']}{match['receiver']}", shown(match["text"])))
        else:
            match = NOTE.fullmatch(line)
            assert match, line
            found.append((match["over"], shown(match["text"])))
    return found


def without_time(text):
    return re.sub(r"^\d+\.\d{3} ms ", "", text)


def handshake():
    timeline = Timeline(0)
    timeline.add_captured(*frame(1 * MS, CLIENT, SERVER, "S", seq=100))
    timeline.add_captured(*frame(2 * MS, SERVER, CLIENT, "SA", seq=900, ack=101))
    timeline.add_captured(*frame(3 * MS, CLIENT, SERVER, "A", seq=101, ack=901))
    return timeline


def test_a_story_is_messages_and_notes():
    timeline = handshake()
    timeline.add(Step(4 * MS, "request", "sent"))
    timeline.add(Change(5 * MS, "net.ipv4.tcp_rfc1337 = 1"))
    timeline.add_captured(*frame(6 * MS, CLIENT, SERVER, "PA", 101, 901, bytes(18)))
    timeline.add_captured(*frame(7 * MS, SERVER, CLIENT, "RA", 901, 119))
    timeline.add(Finding(8 * MS, "mines", "3 of 5"))
    timeline.add(Counted(9 * MS, (("TcpExtTCPAbortOnClose", 1),)))
    assert read(mermaid(timeline, "Unread data")) == [
        ("client,server", ["Unread data"]),
        ("client->>server", ["1.000 ms S"]),
        ("client", ["SYN_SENT"]),
        ("server->>client", ["2.000 ms SA"]),
        ("server", ["SYN_RECV"]),
        ("client->>server", ["3.000 ms A"]),
        ("client", ["ESTABLISHED"]),
        ("server", ["ESTABLISHED"]),
        ("client", ["4.000 ms » sent"]),
        ("client,server", ["5.000 ms net.ipv4.tcp_rfc1337 = 1"]),
        ("client->>server", ["6.000 ms PA 18"]),
        ("server--xclient", ["7.000 ms RA"]),
        ("client", ["CLOSED"]),
        ("server", ["CLOSED"]),
        ("client,server", ["8.000 ms mines: 3 of 5"]),
        ("client,server", ["9.000 ms counters: TcpExtTCPAbortOnClose +1"]),
    ]


def test_a_time_is_milliseconds_since_the_start():
    timeline = Timeline(5 * MS)
    timeline.add_captured(*frame(7 * MS + 1234, CLIENT, SERVER, "S"))
    assert ("client->>server", ["2.001 ms S"]) in read(mermaid(timeline))


def test_a_note_wraps_and_keeps_each_counter_with_its_number():
    """A note over both ends is as wide as its text: one line of counters made the picture three times as wide."""
    moved = tuple((f"TcpExtTCPSomething{number}", number - 10) for number in range(10))
    timeline = Timeline(0)
    timeline.add(Counted(9 * MS, moved))
    [(over, lines)] = read(mermaid(timeline))
    assert over == "client,server"
    assert len(lines) > 1
    assert max(map(len, lines)) <= 60
    assert " ".join(lines) == "9.000 ms counters: " + ", ".join(f"{name} {by:+d}" for name, by in moved)


def test_a_segment_without_flags_is_still_a_message():
    timeline = Timeline(0)
    timeline.add_captured(*frame(1, CLIENT, SERVER, ""))
    assert read(mermaid(timeline)) == [("client->>server", ["0.000 ms ?"])]


def test_an_empty_story_is_a_diagram():
    assert mermaid(Timeline(0)) == "\n".join(HEAD) + "\n"
    assert mermaid(Timeline(0), " \n") == mermaid(Timeline(0))


@pytest.mark.parametrize("text", HOSTILE)
def test_mermaids_special_characters_are_shown_literally(text):
    timeline = Timeline(0)
    timeline.add(Step(1, "actor", "failed", ""))
    timeline.add(Change(2, text))
    found = read(mermaid(timeline, text))
    expected = ["".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))]
    assert found == [
        ("client,server", expected),
        ("client", ["0.000 ms » failed"]),
        ("client,server", [f"0.000 ms {expected[0]}"]),
    ]


@given(st.text(), st.text(), st.text(), st.text())
@example("", "", "", "")
def test_no_text_breaks_the_diagram(title, step, detail, change):
    timeline = handshake()
    timeline.add(Step(4 * MS, "actor", step, detail))
    timeline.add(Change(5 * MS, change))
    found = read(mermaid(timeline, title))
    assert len(found) == len(read(mermaid(handshake()))) + bool(title.strip()) + 1 + bool(change)


def test_a_claim_is_a_note_that_fits_under_the_two_ends():
    """Mermaid does not wrap a title, and cuts what is wider than its picture."""
    claim = "close() with unread data sends RST in place of FIN: " + "and no TIME_WAIT remains at either end; " * 4
    [(over, lines)] = read(mermaid(Timeline(0), claim))
    assert over == "client,server"
    assert " ".join(lines) == claim.strip()
    assert max(map(len, lines)) <= 60


def test_a_long_text_and_a_note_of_many_lines_are_cut():
    timeline = Timeline(0)
    for number in range(100):
        timeline.add(Step(1, "actor", f"step {number}", "x" * 50_000))
    [(_, lines)] = read(mermaid(timeline))
    assert lines[-1] == "… 92 more lines"
    assert len(lines) == 9
    assert {len(line) for line in lines[:-1]} == {101}


@pytest.mark.parametrize(("more", "left_out"), [(36, 0), (37, 0), (38, 1), (997, 960)])
def test_a_long_story_is_folded_in_the_middle(more, left_out):
    timeline = handshake()
    for number in range(more):
        timeline.add(Step((10 + 2 * number) * MS, "actor", f"step {number}"))
        timeline.add_captured(
            *frame((11 + 2 * number) * MS, CLIENT, SERVER, "PA", 101 + number, 901, bytes(number + 1))
        )
    found = read(mermaid(timeline))
    messages = [without_time(text) for what, [text] in found if "->>" in what]
    folds = [(at, text) for at, (_, [text]) in enumerate(found) if text.startswith("…")]
    all_of_them = ["S", "SA", "A", *(f"PA {number + 1}" for number in range(more))]
    if not left_out:
        assert (messages, folds) == (all_of_them, [])
        return
    assert messages == all_of_them[:20] + all_of_them[-20:]
    [(at, text)] = folds
    assert text == f"… {left_out} segments are left out here …"
    assert found[at - 2 : at] == [
        ("client->>server", ["43.000 ms PA 17"]),
        ("client", ["44.000 ms » step 17"]),
    ]
    assert found[at + 1] == ("client->>server", [f"{11 + 2 * (more - 20)}.000 ms PA {more - 19}"])
