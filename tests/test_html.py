"""The page of a scenario in a real browser: its content, its keyboard control, and that it loads nothing."""

import base64
import fcntl
import functools
import html
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import zlib

import pytest

from harness.evidence.sockets import Socket, State, Timer
from harness.inside.installed import find_program
from harness.lessons import lessons
from harness.story.timeline import Change, Finding, Look, Step, Timeline
from harness.views.html import Entry, Story, index, page, spoken
from harness.views.rows import printable, rows
from harness.views.words import words_in
from tests.test_timeline import CLIENT, SERVER, frame

HOSTILE = (
    "</script><script>document.title = 'hacked'</script><img src=x onerror=\"document.title = 'hacked'\">&amp;'\"\u2028"
)
LIMIT_BYTES = 200_000


def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    connection.close()
    yield "closed"


def request(address):
    connection = socket.create_connection(address, source_address=("", 40001))
    yield "connected"
    connection.sendall(b"unread")
    yield "sent"
    connection.recv(1)


@pytest.fixture
def reset(lab):
    """A real story with a look after each step: a server that closes with unread data."""
    lab.looks_closely = True
    server = lab.start(serve, lab.server_address)
    server.run_to("listening")
    client = lab.start(request, lab.server_address)
    client.run_to("sent")
    server.run_to("accepted")
    server.run_to("closed")
    client.fail_with("ECONNRESET")
    lab.finding("answered with", "RST")
    lab.count()
    return Story("test_unread_data_turns_close_into_a_rst", "passed", lab.timeline)


class Browser:
    """A headless Chromium on a pipe (--remote-debugging-pipe: JSON, each message ended by NUL), with one page."""

    def __init__(self, home):
        chromium = find_program("chromium", "chromium")
        (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (theirs_in, theirs_out)]
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={home}",
            "--remote-debugging-pipe", "--window-size=1400,1000", "about:blank",
        ]  # fmt: skip
        on_3_and_4 = f'exec "$0" "$@" 3</proc/self/fd/{high[0]} 4>/proc/self/fd/{high[1]}'
        self._process = subprocess.Popen(
            ["sh", "-c", on_3_and_4, chromium, *options], env=os.environ | {"HOME": str(home)}, pass_fds=high,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        for fd in (theirs_in, theirs_out, *high):
            os.close(fd)
        self._in, self._out = ours_in, ours_out
        self._unread = b""
        self._numbers = itertools.count(1)
        self._session = None
        self.events = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        while b"\0" not in self._unread:
            data = os.read(self._in, 1 << 20)
            assert data, "Chromium has ended"
            self._unread += data
        message, self._unread = self._unread.split(b"\0", 1)
        return json.loads(message)

    def open(self, path, **media):
        self.ask(
            "Emulation.setEmulatedMedia", features=[{"name": k.replace("_", "-"), "value": v} for k, v in media.items()]
        )
        self.events.clear()
        self.ask("Page.navigate", url=f"file://{path}")
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def run(self, expression):
        """The value of a JavaScript expression in the page (not subject to its Content-Security-Policy)."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, *keys):
        for key in keys:
            code = {
                "Tab": 9,
                " ": 32,
                "Enter": 13,
                "Escape": 27,
                "End": 35,
                "Home": 36,
                "ArrowUp": 38,
                "ArrowRight": 39,
                "ArrowDown": 40,
            }
            for kind in ("rawKeyDown", "keyUp"):
                self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code[key])

    def sheets(self):
        """The number of glyphs on each sheet of paper, when printed."""
        printed = self.ask("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"]
        return [
            sum(len(glyphs) // 4 for glyphs in re.findall(rb"<([0-9A-F]+)> Tj", drawn))
            for drawn in drawings(base64.b64decode(printed))
        ]

    def complaints(self):
        told = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event for event in self.events if event["method"] in told]

    def requests(self):
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def close(self):
        self._session = None
        try:
            self.ask("Browser.close")
            self._process.wait()
        finally:
            os.close(self._out)
            os.close(self._in)
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


def drawings(pdf):
    """The drawing commands of each page of a PDF by Chromium: no compressed objects, four digits for each glyph."""
    objects = {int(n): text for n, text in re.findall(rb"(?s)\n(\d+) 0 obj\n(.*?)\nendobj", pdf)}
    (root,) = (text for text in objects.values() if b"/Type /Pages" in text and b"/Parent" not in text)
    waiting = [root]
    while waiting:
        node = waiting.pop(0)
        if b"/Type /Pages" in node:
            kids = re.search(rb"(?s)/Kids \[(.*?)\]", node)[1]
            waiting = [objects[int(kid)] for kid in re.findall(rb"(\d+) 0 R", kids)] + waiting
        else:
            contents = objects[int(re.search(rb"/Contents (\d+) 0 R", node)[1])]
            yield zlib.decompress(re.search(rb"(?s)stream\n(.*)\nendstream", contents)[1])


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("home"))
    yield browser
    browser.close()


@pytest.fixture
def shown(chromium, tmp_path):
    """Write a page, open it, and return the browser; at the end there must be no error and no process left."""
    path = tmp_path / "page.html"

    def show(text, **media):
        path.write_text(text, encoding="utf-8")
        chromium.open(path, **media)
        return chromium

    yield show
    assert chromium.complaints() == []
    assert chromium.requests() == [f"file://{path}"]


@functools.cache
def crowd(rows_told=1500, sockets=200):
    """A story too long for any page, with looks at many sockets."""
    timeline = Timeline(0)
    for number in range(rows_told):
        client = (CLIENT[0], 40000 + number % sockets)
        timeline.add_captured(*frame(1000 * number, client, SERVER, "PA", 101 + number, 901, b"x"))
        if number % 100 == 0:
            table = [Socket(State.CLOSE_WAIT, SERVER, (CLIENT[0], 40000 + n), number + 1, 0, Timer("none", 0, 0), n, 0)
                     for n in range(sockets)]  # fmt: skip
            timeline.add(Look(1000 * number + 500, tuple(table), tuple((n, "serve") for n in range(sockets))))
    return timeline


def hostile():
    timeline = Timeline(0)
    timeline.add(Step(1, HOSTILE, HOSTILE, HOSTILE))
    timeline.add(Change(2, HOSTILE))
    timeline.add(Finding(3, HOSTILE, HOSTILE))
    timeline.add_captured(*frame(4, CLIENT, SERVER, "S"))
    return page(
        HOSTILE, dict.fromkeys(("claim", "why", "cure", "recognise"), HOSTILE), [Story(HOSTILE, HOSTILE, timeline)]
    )


def test_every_row_of_a_story_is_in_the_ladder(reset, shown):
    browser = shown(page("a_reset", {"claim": "one\ntwo"}, [reset]))
    told = rows(reset.timeline)
    assert browser.run("document.querySelectorAll('.row').length") == len(told)
    assert browser.run("document.querySelectorAll('.row .arrow').length") == len(reset.timeline.segments())
    resets = [segment for segment in reset.timeline.segments() if "R" in segment.flags]
    assert browser.run("document.querySelectorAll('.row .arrow.rst').length") == len(resets) == 1
    assert browser.run("document.querySelector('h1').textContent") == "a reset"
    assert browser.run("document.querySelector('.claim').innerText") == "one\ntwo"
    pills = browser.run("[...document.querySelectorAll('.pill')].map((each) => each.textContent)")
    assert {"SYN_SENT", "ESTABLISHED", "CLOSED"} <= set(pills)
    bars = browser.run(
        "[...document.querySelectorAll('.bar')].map((each) => [each.textContent, each.height.baseVal.value])"
    )
    assert {"LISTEN", "SYN_SENT", "SYN_RECV", "ESTABLISHED"} == {state for state, _ in bars}
    assert all(height > 0 for _, height in bars)


def test_the_keyboard_selects_rows_and_shows_their_evidence(reset, shown):
    browser = shown(page("a reset", {}, [reset]))
    assert browser.run("document.getElementById('panel').checkVisibility()") is False
    browser.press("Tab", "Tab")
    here = "[...document.querySelectorAll('.row')].indexOf(document.activeElement)"
    assert browser.run(here) == 0
    told = rows(reset.timeline)
    data_at = next(at for at, row in enumerate(told) if row.segment and row.segment.length)
    browser.press(*["ArrowDown"] * data_at)
    assert browser.run(here) == data_at
    segment = told[data_at].segment
    assert browser.run("document.getElementById('panel').checkVisibility()") is True
    evidence = browser.run("document.querySelector('.records').innerText")
    for field in type(segment).__dataclass_fields__:
        assert field in evidence
    for value in (segment.time_ns, segment.seq, segment.ack, segment.window, f"{segment.source[0]}:40001 (client)"):
        assert str(value) in evidence
    assert browser.run("document.activeElement.getAttribute('aria-label')").endswith("client → server: PSH ACK, 6 B")
    browser.press("End")
    assert "TcpExtTCPAbortOnClose 1" in browser.run("document.querySelector('.records').innerText")
    browser.press("ArrowDown", "Home", "ArrowUp")
    assert browser.run(here) == 0
    browser.press("Escape")
    assert browser.run("document.getElementById('panel').checkVisibility()") is False


def test_the_keyboard_scrolls_long_evidence_and_returns(shown):
    browser = shown(page("crowd", {}, [Story("test_crowd", "passed", crowd(200, 60))] * 2))
    browser.press("Tab", "Tab")
    while "CLOSE_WAIT" not in browser.run("document.querySelector('.records').innerText"):
        browser.press("ArrowDown")
    here = "[...document.querySelectorAll('.row')].indexOf(document.activeElement)"
    row = browser.run(here)
    browser.press("Enter")
    assert browser.run("document.activeElement.className") == "records"
    browser.run("scrolled = new Promise((done) => document.activeElement.addEventListener('scrollend', () => done()))")
    browser.press("End")
    browser.ask("Runtime.evaluate", expression="scrolled", awaitPromise=True)
    assert browser.run("document.querySelector('.records').scrollTop") > 0
    browser.press("Escape")
    assert browser.run(here) == row
    assert browser.run("document.getElementById('panel').checkVisibility()") is True
    browser.run("document.querySelector('#panel button').focus()")
    browser.press("Escape")
    assert browser.run(here) == row, "from anywhere in the evidence"
    browser.press("Escape")
    assert browser.run("document.getElementById('panel').checkVisibility()") is False
    browser.press("ArrowDown")
    browser.run("document.querySelector('#panel button').focus()")
    browser.run("document.querySelector('#panel button').click()")
    assert browser.run(here) == row + 1, "closing the evidence moves the focus back to its row"
    assert browser.run("document.getElementById('panel').checkVisibility()") is False


def test_pointing_at_a_row_shows_its_evidence_too(reset, shown):
    browser = shown(page("a reset", {}, [reset]))
    box = "document.querySelector('.row .arrow.rst').closest('.row').querySelector('.hit').getBoundingClientRect()"
    browser.run("document.querySelector('.row .arrow.rst').scrollIntoView({ block: 'center' })")
    x, y = browser.run(f"(({{ x, y }}) => [x + 5, y + 5])({box})")
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    evidence = browser.run("document.querySelector('.records').innerText")
    reset_segment = next(segment for segment in reset.timeline.segments() if "R" in segment.flags)
    assert str(reset_segment.seq) in evidence
    assert "CLOSED" in evidence


def test_the_switch_draws_waits_to_scale(shown):
    timeline = Timeline(0)
    for ms, flags in ((1, "S"), (2, "S"), (1002, "S"), (3002, "S")):
        timeline.add_captured(*frame(ms * 10**6, CLIENT, SERVER, flags, seq=100))
    browser = shown(page("retries", {}, [Story("test_retries", "passed", timeline)]), prefers_reduced_motion="reduce")
    heights = "[...document.querySelectorAll('.row')].map((row) => row.getBoundingClientRect().y)"
    end = "document.querySelector('figure svg').getBoundingClientRect().height"
    steps, steps_end = browser.run(heights), browser.run(end)
    assert len({round(later - sooner) for sooner, later in itertools.pairwise(steps)}) == 1
    browser.press("Tab", "ArrowRight")
    assert browser.run("document.activeElement.value") == "to_scale"
    short, one, two = (later - sooner for sooner, later in itertools.pairwise(browser.run(heights)))
    assert short == pytest.approx(steps[1] - steps[0], abs=1), "as close as their text allows"
    assert two == pytest.approx(2 * one, rel=0.05)
    assert one > short
    assert browser.run(end) > steps_end
    assert "+2.00 s" in browser.run("document.querySelector('figure').textContent")
    browser.press("ArrowRight")
    assert browser.run(heights) == steps


def test_hostile_words_stay_words(shown):
    browser = shown(hostile())
    browser.press("Tab", "Tab")
    for _ in rows_of(browser):
        evidence = browser.run("document.querySelector('.records').innerText")
        assert "onerror" in evidence or "192.0.2.1:40001" in evidence
        browser.press("ArrowDown")
    assert browser.run("document.title") != "hacked"
    assert browser.run("document.querySelectorAll('img, script').length") == 2, "its data and its script"
    assert HOSTILE in browser.run("document.querySelector('.why').textContent")
    label = browser.run("document.querySelector('.band + .note').parentNode.getAttribute('aria-label')")
    assert printable(HOSTILE) in label


def rows_of(browser):
    return range(browser.run("document.querySelectorAll('.row').length"))


def test_nothing_hostile_is_in_the_source():
    assert re.findall(r"<script\b[^>]*>", hostile()) == ['<script type="application/json" id="data">', "<script>"]
    assert hostile().count("</script>") == 2
    assert "<img" not in hostile()
    assert "<img" not in index([Entry(HOSTILE, HOSTILE, ((HOSTILE, HOSTILE),), HOSTILE)])


def test_a_page_needs_nothing_else():
    text = page("quiet", {}, [])
    assert re.findall(r"(?:https?:)?//[a-z]|url\((?!#)|@import|\bsrc=|<link", text) == []
    assert "default-src 'none'" in text


def test_a_long_story_is_folded_in_the_middle_with_a_note(shown):
    text = page("crowd", {}, [Story("test_crowd", "passed", crowd())] * 2)
    assert len(text.encode()) < LIMIT_BYTES
    told = len(rows(crowd()))
    browser = shown(text)
    here = len(rows_of(browser)) // 2
    assert here > 20
    assert f"… {told - here + 1} more rows …" in browser.run("document.querySelector('figure').textContent")
    assert browser.run("document.querySelector('figure .row:last-of-type .time').textContent") == "1.499"
    assert "… 184 more" in evidence_of_a_look(browser)


def evidence_of_a_look(browser):
    at = "[...document.querySelectorAll('.row')].find((row) => row.getAttribute('aria-label').includes('CLOSE_WAIT'))"
    browser.run(f"{at}.focus()")
    return browser.run("document.querySelector('.records').innerText")


def test_a_short_story_is_whole():
    timeline = Timeline(0)
    for number in range(90):
        timeline.add_captured(*frame(number, CLIENT, SERVER, "PA", 101 + number, 901, b"x"))
    assert page("short", {}, [Story("test_short", "passed", timeline)]).count('class="row"') == 90


def test_two_stories_are_side_by_side_if_there_is_room(reset, shown):
    control = Story("test_control_again", "inconclusive", reset.timeline)
    browser = shown(page("two", {}, [reset, control]), prefers_color_scheme="dark")
    left, right = browser.run("[...document.querySelectorAll('figure')].map((each) => each.getBoundingClientRect().y)")
    assert left == right
    caption = browser.run("document.querySelectorAll('figcaption')[1].innerText.toLowerCase()")
    assert caption.split() == ["control", "?", "inconclusive", "again"]
    dark = browser.run("getComputedStyle(document.body).backgroundColor")
    browser.ask("Emulation.setDeviceMetricsOverride", width=700, height=900, deviceScaleFactor=1, mobile=False)
    try:
        left, right = browser.run(
            "[...document.querySelectorAll('figure')].map((each) => each.getBoundingClientRect().y)"
        )
        assert right > left
        between = (
            "[...document.querySelectorAll('figure')].map((each) => each.children[1].getBoundingClientRect().y"
            " - each.children[0].getBoundingClientRect().bottom)"
        )
        assert max(browser.run(between)) < 20, "a heading is above its own ladder"
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    finally:
        browser.ask("Emulation.clearDeviceMetricsOverride")
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    assert browser.run("getComputedStyle(document.body).backgroundColor") != dark


def talk(rows_told, ms=1):
    """A story of this many rows, at both ends."""
    timeline = Timeline(0)
    for number in range(rows_told):
        ends = (CLIENT, SERVER) if number % 2 else (SERVER, CLIENT)
        timeline.add_captured(*frame(ms * 10**6 * number, *ends, "PA", 101, 901, b"unread"))
    return timeline


LEAST_CONTRAST = 3
"""WCAG 2.2, success criterion 1.4.11: the contrast of graphics with their background."""

COLORS = """(state) => {
  const figure = document.querySelector("figure svg");
  figure.insertAdjacentHTML("beforeend", `<g id="tried"><rect class="bar ${state}"/>
    <g class="pill ${state}"><rect/></g><g class="row" aria-selected="true"><rect class="hit"/></g></g>`);
  const [bar, pill, hit] = [...document.querySelectorAll("#tried rect")].map((each) => getComputedStyle(each));
  const colors = [bar.fill, pill.stroke, hit.fill, hit.fillOpacity, getComputedStyle(document.body).backgroundColor];
  document.getElementById("tried").remove();
  return colors;
}"""


def rgb(color):
    return [int(number) for number in re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", color).groups()]


def contrast(one, other):
    """WCAG 2.2's contrast ratio of two colours, from their relative luminance."""
    weights = (0.2126, 0.7152, 0.0722)
    lights = sorted(
        sum(w * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
            for w, c in zip(weights, (each / 255 for each in color), strict=True))
        for color in (one, other)
    )  # fmt: skip
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def test_contrast_is_computed_as_wcag_defines_it():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_state_stands_out_from_the_page(shown, scheme):
    """The bar and the outline of a state's name; also in a selected row, where a tint covers the bar and the page."""
    browser = shown(page("talk", {}, [Story("test_talk", "passed", talk(4))]), prefers_color_scheme=scheme)
    faint = {}
    for state in State:
        bar, pill, hit, opacity, paper = browser.run(f"({COLORS})('{state}')")
        tinted = [
            [h * float(opacity) + c * (1 - float(opacity)) for h, c in zip(rgb(hit), rgb(color), strict=True)]
            for color in (bar, paper)
        ]
        ratios = contrast(rgb(bar), rgb(paper)), contrast(rgb(pill), rgb(paper)), contrast(*tinted)
        if min(ratios) < LEAST_CONTRAST:
            faint[str(state)] = [round(ratio, 2) for ratio in ratios]
    assert faint == {}


def test_the_strip_of_a_note_is_opaque(reset, shown):
    browser = shown(page("a reset", {}, [reset]))
    style = "getComputedStyle(document.querySelector('.row:last-of-type .band'))"
    assert browser.run(f"[{style}.opacity, {style}.fillOpacity]") == ["1", "1"]
    before = browser.run(f"{style}.fill")
    browser.press("Tab", "Tab", "End")
    assert browser.run(f"{style}.fill") != before, "a selected row looks selected"
    assert browser.run(f"{style}.fillOpacity") == "1"


@pytest.mark.parametrize(("width", "told"), [(400, True), (1400, False)])
@pytest.mark.parametrize("language", lessons.LANGUAGES)
def test_content_wider_than_the_screen_has_a_hint_to_scroll(reset, shown, width, told, language):
    """A ladder, and a lesson's table of 80 columns."""
    browser = shown(page("a reset", {"table": "x" * 80}, [reset], language))
    browser.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    try:
        for of in ("figure", ".table"):
            scrolls, hint, text = browser.run(
                "(({ scrollWidth, clientWidth, firstChild }) =>"
                " [scrollWidth > clientWidth, firstChild.checkVisibility(), firstChild.innerText])"
                f"(document.querySelector('{of} .scroll'))"
            )
            assert (scrolls, hint) == (told, told)
            assert not told or text == words_in(language)["sideways"]
    finally:
        browser.ask("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize("language", lessons.LANGUAGES)
def test_on_paper_texts_and_ladders_have_a_sheet_each(shown, language):
    from harness.pytest_plugin.reporting import texts_of  # not in a role's process, which has no pytest

    uneven = {}
    for lesson in lessons.every(language):
        stories = [Story(lesson.fault, "passed", talk(24)), Story(lesson.control, "passed", talk(30))]
        sheets = shown(page(lesson.name, texts_of(lesson), stories, language)).sheets()
        if len(sheets) != 2 or min(sheets) < 250:
            uneven[lesson.name] = sheets
    assert uneven == {}


@pytest.mark.parametrize("stories", [(130, 60), (130, 9), (130,)])
def test_on_paper_no_sheet_of_long_ladders_is_nearly_empty(shown, stories):
    words = dict.fromkeys(("claim", "why", "cure", "recognise"), "It is told on the first sheet. " * 10)
    told = [Story(f"test_{number}", "passed", talk(rows)) for number, rows in enumerate(stories)]
    sheets = shown(page("long", words, told)).sheets()
    assert min(sheets[:-1]) > 250, sheets


@pytest.mark.parametrize("heights", ["by_steps", "to_scale"])
def test_on_paper_a_long_ladder_breaks_between_rows(shown, heights):
    browser = shown(page("long", {}, [Story("test_long", "passed", talk(80)), Story("test_short", "passed", talk(9))]))
    browser.run(f"document.querySelector('[value={heights}]').click()")
    browser.run("dispatchEvent(new Event('beforeprint'))")
    windows = browser.run(
        "[...document.querySelectorAll('figure:first-child .piece')].map((each) => each.viewBox.baseVal)"
        ".map(({ y, height }) => [y, y + height])"
    )
    assert windows[0][0] == 0
    assert all(above[1] == below[0] for above, below in itertools.pairwise(windows))
    assert all(bottom - top < 700 for top, bottom in windows), "no piece is longer than a sheet"
    ends = browser.run(
        "[...document.querySelectorAll('figure')[0].querySelectorAll('svg:not(.piece) .row')]"
        ".map((row) => [row.transform.baseVal[0].matrix.f, row.getBBox()])"
        ".map(([at, { y, height }]) => [at + y, at + y + height])"
    )
    assert len(ends) == 80
    assert all(any(top <= start and end <= bottom for top, bottom in windows) for start, end in ends)
    assert browser.run("document.querySelectorAll('figure + figure .piece').length") > 1, "at the same scale"
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.run("document.querySelectorAll('.piece').length") == 0


def test_on_paper_it_is_light(shown):
    browser = shown(page("dark", {}, [Story("test_dark", "passed", talk(5))]), prefers_color_scheme="dark")
    browser.ask("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    finally:
        browser.ask("Emulation.setEmulatedMedia", media="")


def wordy():
    """Long names, long numbers, several connections, a story that takes minutes."""
    timeline = Timeline(0)
    timeline.add(Change(1, "tcp dport 8000 tcp flags & (fin | syn | rst | ack) == syn, " * 5))
    for number, (source, destination, flags) in enumerate([(CLIENT, SERVER, "S"), (SERVER, CLIENT, "SA")] * 3):
        port = 40001 + number // 2
        ends = [(end[0], port) if end is CLIENT else end for end in (source, destination)]
        timeline.add_captured(*frame(10**9 * number, *ends, flags))
    timeline.add_captured(*frame(7 * 10**9, CLIENT, SERVER, "PA", payload=bytes(60000)))
    probing = Timer("zero_window_probe", 120, 9)
    table = [Socket(State.CLOSE_WAIT, SERVER, (CLIENT[0], 40001), 1234567, 1234567, probing, 0, 0),
             Socket(State.LISTEN, SERVER, ("0.0.0.0", 0), 128, 128, Timer("none", 0, 0), 7, 0)]  # fmt: skip
    timeline.add(Look(8 * 10**9, tuple(table), ((7, "serve"),)))
    for actor in ("MARIADB AND HAPROXY " * 4, "serve", "x" * 90):
        timeline.add(Step(61 * 10**9, actor, "WAITS FOR WHAT WILL NEVER COME", "AND SAYS SO"))
    return Story("test_wordy", "passed", timeline)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("several", [False, True])
def test_no_texts_overlap(reset, shown, several, lang):
    """The boxes of all texts of a ladder, in this machine's font."""
    browser = shown(page("a story", {}, [wordy() if several else reset], lang))
    width, boxes = browser.run(
        "[document.querySelector('figure svg').viewBox.baseVal.width, "
        "[...document.querySelectorAll('figure .row text')]"
        ".map((each) => [each.textContent, each.getBBox(), each.getCTM().f / each.getCTM().a])"
        ".map(([text, { x, y, width, height }, down]) => [text, x, y + down, width, height])]"
    )
    assert len(boxes) > 20
    for text, x, _, wide, _ in boxes:
        assert 0 <= x <= x + wide <= width, text
    for (one, x, y, wide, high), (other, *b) in itertools.combinations(boxes, 2):
        assert x + wide <= b[0] or b[0] + b[2] <= x or y + high - 4 <= b[1] or b[1] + b[3] - 4 <= y, (one, other)


def test_the_index_lists_every_scenario_with_its_verdicts(shown):
    entries = [Entry("full_accept_queue", "It is full.", (("test_a", "passed"), ("test_b", "failed")), "full.html"),
               Entry("other", "", (), "")]  # fmt: skip
    browser = shown(index(entries))
    told = browser.run(
        "[...document.querySelectorAll('tbody tr')].map((line) => line.innerText.split(/\\s*[\\t\\n]\\s*/))"
    )
    assert told[0] == ["full accept queue", "It is full.", "✓ as expected a", "✕ not as expected b"]
    assert browser.run("[...document.links].map((link) => link.getAttribute('href'))") == ["full.html"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("test_control_a_rst_ends_time_wait", "a RST ends TIME_WAIT"),
        ("test_one_place_more_is_enough[0]", "one place more is enough [0]"),
        ("test_it_ends_in_time_wait[0-1-TIME_WAIT]", "it ends in TIME_WAIT [0, 1, TIME_WAIT]"),
        ("test_a[-1--1-off loopback]", "a [-1, -1, off loopback]"),
    ],
)
def test_a_name_is_shown_as_a_sentence_with_its_parameters(name, told):
    assert spoken(name) == told


def test_its_own_words_exist_in_chinese():
    text = page("a", {"why": "因为"}, [], lang="zh")
    assert '<html lang="zh">' in text
    assert "<h2>原因</h2><p>因为</p>" in text
    assert html.escape("按步骤") in text


def test_every_language_has_every_word():
    assert words_in("en").keys() == words_in("zh").keys()
