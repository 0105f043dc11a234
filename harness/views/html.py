"""A scenario as one self-contained page: its texts, each story as a ladder, and the evidence for each row.

It loads nothing from the network, no font, and only its own script, which the page's policy allows by its hash.
Everything that comes from a run must be escaped.
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from harness.evidence.sockets import State, Timer
from harness.network.addresses import HOSTS
from harness.story.timeline import Timeline
from harness.story.verdicts import StoryVerdict
from harness.views import svg
from harness.views.words import words_in

_FOLDER = Path(__file__).parent / "page"
_MOST_BYTES = 195_000
_MOST_ROWS = (200, 140, 100, 70, 50, 30, 16)
"""The most rows that a story shows: the first of these numbers with which the page is small enough."""

_TALLEST_PRINTED = 1200
"""The tallest ladder that can be read on one sheet of paper; a longer one, and the one beside it, are split."""

_MOST_MEMBERS = 16
"""The most sockets (or owners) of one look that the evidence shows."""

_TCP_WORDS = "|".join([*(state for state in State if "_" in state), "syn", "fin", "rst"])
_TCP_WORD = re.compile(rf"(?<![a-z])({_TCP_WORDS})(?=s?(_|$))", re.IGNORECASE)
_MARKS: dict[str, str] = {
    StoryVerdict.PASSED: "✓", StoryVerdict.FAILED: "✕", StoryVerdict.INCONCLUSIVE: "?", StoryVerdict.SKIPPED: "–",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Story:
    """One test's run. `name` is the test's, `verdict` one of passed, failed, inconclusive, skipped.

    `label` replaces "fault" or "control" above its ladder, and `caption` replaces its name; `reason` is why it did not
    pass. `further`: it is not one of the lesson's own two. A story without a verdict has no heading.
    """

    name: str
    verdict: str
    timeline: Timeline
    label: str = ""
    caption: str = ""
    reason: str = ""
    further: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the index. `stories` are names and verdicts; `link` leads to the page, empty if there is none."""

    name: str
    claim: str
    stories: tuple[tuple[str, str], ...]
    link: str


def page(title: str, texts: Mapping[str, str], stories: Sequence[Story], lang: str = "en") -> str:
    """The whole page, under 200 kB; long stories are folded in the middle. `lang`: en or zh, for the page's own words.

    `texts` may have claim, why, cure, recognise and table, as plain text of several lines.
    """
    words = words_in(lang)
    return fitted(
        spoken(title), stories, lambda figures, tools: _body(title, texts, figures, tools, words), _MOST_BYTES, lang
    )


def fitted(
    title: str, stories: Sequence[Story], laid_out: Callable[[Sequence[str], str], str], most_bytes: int,
    lang: str = "en",
) -> str:  # fmt: skip
    """A page with ladders, of fewer than `most_bytes` if folding long stories in the middle is enough for that.

    `laid_out` makes its body, as HTML, from a figure for each story, in their order, and the tools that belong above
    them. Everything else in the body must be escaped already.
    """
    words = words_in(lang)
    prepared = [svg.prepare(story.timeline, words) for story in stories]
    px_a_ns = svg.scale(prepared)
    tools = f'<div class="tools">{_legend(svg.ROW_PX / px_a_ns / 1e6, words)}{_switch(words)}</div>'
    for most in _MOST_ROWS:
        drawings = [
            svg.draw(each, most, px_a_ns, _accessible_name(story), words)
            for story, each in zip(stories, prepared, strict=True)
        ]
        body = laid_out([_figure(*each, words) for each in zip(stories, drawings, strict=True)], tools)
        html = _filled(title, body + _panel(words), _data(stories, drawings, words) if stories else "", lang)
        if len(html.encode(errors="replace")) < most_bytes:
            break
    return html


def index(entries: Sequence[Entry], lang: str = "en") -> str:
    """The index page: a table of all scenarios, each with its claim, its verdicts, and a link to its page."""
    words = words_in(lang)
    columns = ("scenario", "claim", "verdicts") if any(entry.stories for entry in entries) else ("scenario",)
    head = "".join(f'<th scope="col">{words[name]}</th>' for name in columns)
    lines = "".join(_line(entry, words) for entry in entries)
    table = f'<table class="index"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'
    return _filled(words["scenarios"], f"<header><h1>{words['scenarios']}</h1></header><main>{table}</main>", "", lang)


def _line(entry: Entry, words: Mapping[str, str]) -> str:
    name = escape(spoken(entry.name))
    linked = f'<a href="{escape(entry.link)}">{name}</a>' if entry.link else name
    if not entry.stories:
        return f'<tr><th scope="row">{linked}</th></tr>'
    verdicts = "".join(
        f"<li>{_verdict(verdict, words)} {escape(spoken(story))}</li>" for story, verdict in entry.stories
    )
    return f'<tr><th scope="row">{linked}</th><td>{_lines(entry.claim)}</td><td><ul>{verdicts}</ul></td></tr>'


@cache
def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _filled(title: str, body: str, data: str, lang: str) -> str:
    style, script = _read("page.css"), _read("page.js")
    return Template(_read("page.html")).substitute(
        lang=escape(lang), title=escape(title), style=style, script=script, body=body, data=data,
        style_hash=_hash(style), script_hash=_hash(script),
    )  # fmt: skip


def _hash(text: str) -> str:
    """The hash by which a Content-Security-Policy allows a style or script (CSP level 3, section 2.3.1)."""
    return f"sha256-{b64encode(sha256(text.encode(errors='replace')).digest()).decode()}"


def _body(title: str, texts: Mapping[str, str], figures: Sequence[str], tools: str, words: Mapping[str, str]) -> str:
    claim = f'<p class="claim">{_lines(texts["claim"])}</p>' if texts.get("claim") else ""
    return (
        f"<header><h1>{escape(spoken(title))}</h1>{claim}</header><main>{tools}"
        f'<div class="stories">{"".join(figures)}</div>'
        f'<div class="texts">{"".join(_text(name, texts, words) for name in ("why", "cure", "recognise"))}</div>'
        f"{_table(texts.get('table', ''), words)}</main>"
    )


def _panel(words: Mapping[str, str]) -> str:
    """The panel that shows the evidence for a row."""
    return (
        f'<aside id="panel" aria-live="polite" aria-label="{words["evidence"]}" hidden>'
        f'<div class="panel-head"><h2></h2><button type="button">{words["close"]}</button></div>'
        f'<div class="records" tabindex="0"></div></aside>'
    )


def _text(name: str, texts: Mapping[str, str], words: Mapping[str, str]) -> str:
    if not texts.get(name):
        return ""
    return f'<section class="{name}"><h2>{words[name]}</h2><p>{_lines(texts[name])}</p></section>'


def _table(text: str, words: Mapping[str, str]) -> str:
    """The table below the texts, in its own columns, as wide as in a terminal."""
    if not text:
        return ""
    return f'<section class="table"><h2>{words["table"]}</h2>{scrolling(f"<pre>{_lines(text)}</pre>", words)}</section>'


def _lines(text: str) -> str:
    return escape(text.strip("\n"))


def spoken(name: str) -> str:
    """A test's name as a sentence: "control_a_rst_ends_time_wait[0-1]" → "a RST ends TIME_WAIT [0, 1]"."""
    sentence, bracket, parameters = name.partition("[")
    words = _TCP_WORD.sub(lambda found: found[0].upper().replace("_", "\0"), sentence)
    words = words.removeprefix("test_").removeprefix("control_").replace("_", " ").replace("\0", "_")
    return words + (" [" + re.sub(r"(?<=[^-])-", ", ", parameters) if bracket else "")


def _verdict(verdict: str, words: Mapping[str, str]) -> str:
    kind = verdict if verdict in _MARKS else "other"
    return f'<span class="verdict {kind}">{_MARKS.get(verdict, "·")} {escape(words.get(verdict, verdict))}</span>'


def _accessible_name(story: Story) -> str:
    """The name of a story's ladder for a screen reader."""
    return ": ".join(filter(None, (story.label, spoken(story.name))))


def _figure(story: Story, drawing: svg.Drawing, words: Mapping[str, str]) -> str:
    kind = "control" if story.name.startswith("test_control_") else "fault"
    kind = "labelled" if story.label else "further" if story.further else kind
    reason = f'<p class="reason">{_lines(story.reason)}</p>' if story.reason else ""
    label, caption = escape(story.label) or words[kind], escape(story.caption or spoken(story.name))
    level = "h3" if story.label else "h2"
    verdict = _verdict(story.verdict, words)
    heading = (
        f'<figcaption><span class="kind">{label}</span> {verdict}{reason}<{level}>{caption}</{level}></figcaption>'
    )
    long = " long" if drawing.by_steps[-1] > _TALLEST_PRINTED else ""
    return f'<figure class="{kind}{long}">{heading if story.verdict else ""}{scrolling(drawing.svg, words)}</figure>'


def scrolling(content: str, words: Mapping[str, str]) -> str:
    """`content`, which scrolls sideways on a narrow screen, with a hint there, because phones hide their scrollbars."""
    return f'<div class="scroll"><p class="sideways">{words["sideways"]}</p>{content}</div>'


def _switch(words: Mapping[str, str]) -> str:
    choices = "".join(
        f'<label><input type="radio" name="heights" value="{name}"{" checked" if name == "by_steps" else ""}>'
        f"<span>{words[name]}</span></label>"
        for name in ("by_steps", "to_scale")
    )
    return f'<fieldset class="switch"><legend>{words["switch"]}</legend>{choices}</fieldset>'


def _legend(exact_from_ms: float, words: Mapping[str, str]) -> str:
    arrows = "".join(
        f'<li><svg viewBox="0 0 44 12" width="44" height="12" aria-hidden="true">'
        f'<path class="arrow {kind}" d="M2 6H40"/></svg>{words[kind]}</li>'
        for kind in ("bare", "data", "rst")
    )
    return (
        f'<div class="legend"><ul>{arrows}<li class="step">{words["step"]}</li>'
        f'<li class="look">{words["look"]}</li></ul>'
        f'<p>{words["states"]} <span class="hint">{words["hint"]}</span>'
        f'<span class="exact"> {words["exact"].format(f"{exact_from_ms:.2g}")}</span></p></div>'
    )


def _data(stories: Sequence[Story], drawings: Sequence[svg.Drawing], words: Mapping[str, str]) -> str:
    """The data for the page's script, as JSON that cannot end its script tag."""
    kinds: dict[str, list[str]] = {}
    described = [
        {
            "by_steps": drawing.by_steps,
            "to_scale": drawing.to_scale,
            "evidence": [[_record(event, story.timeline, kinds) for event in row.evidence] for row in drawing.rows],
        }
        for story, drawing in zip(stories, drawings, strict=True)
    ]
    data = {"kinds": kinds, "stories": described, "words": {name: words[name] for name in ("started", "more")}}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _record(event: Any, timeline: Timeline, kinds: dict[str, list[str]]) -> list[Any]:
    """The name of an event's kind and the values of its fields; adds the fields' names to `kinds`."""
    kind = type(event).__name__
    names = kinds.setdefault(kind, [field.name for field in fields(event)])
    return [kind, *(_value(name, getattr(event, name), timeline, kinds) for name in names)]


def _value(name: str, value: Any, timeline: Timeline, kinds: dict[str, list[str]]) -> Any:
    match value:
        case int() if name == "time_ns":
            return [value, (value - timeline.start_ns) / 1e6]
        case bool() | None | str() | int() | float():
            return str(value)
        case Timer():
            return (
                f"{value.name}, {value.expires_s:.3f} s, {value.retransmits} retransmits"
                if value.name != "none"
                else "none"
            )
        case (str() as host, int() as port) if name in ("local", "remote", "source", "destination"):
            return f"{host}:{port}" + (f" ({HOSTS[host]})" if host in HOSTS else "")
        case tuple() if value and all(is_dataclass(each) for each in value):
            members = [_record(each, timeline, kinds) for each in value[:_MOST_MEMBERS]]
            return {"members": members, "left_out": len(value) - len(members)}
        case tuple():
            shown = [
                " ".join(map(str, each)) if isinstance(each, tuple) else str(each)
                for each in value[: 4 * _MOST_MEMBERS]
            ]
            return ", ".join(shown) + (f", … +{len(value) - len(shown)}" if len(value) > len(shown) else "")
    return str(value)
