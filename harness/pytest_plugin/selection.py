"""pytest's side, too: which stories are played, in which order, by how many workers."""

import difflib
import os

import pytest

from harness.errors import LabError
from harness.explain import profile
from harness.lab import waiting
from harness.lessons import lessons
from harness.runs import workers

__tracebackhide__ = True

_WORKERS_A_PROCESSOR = 3
_ALIKE = 0.7


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lab", "tcp-fault-lab")
    group.addoption(
        "--lab-affected-by", metavar="KEY", action="append", default=[],
        help="play only the scenarios that this sysctl governs, such as tcp_fin_timeout; may be repeated",
    )  # fmt: skip
    group.addoption(
        "--lab-max-wait", metavar="S", type=float, default=waiting.DEFAULT_MAX_WAIT_S,
        help="do not wait for kernel timers that are longer than S seconds; report 'not measured' instead "
        f"(default: {waiting.DEFAULT_MAX_WAIT_S:g})",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """UsageError where two scenarios have one name, or no lesson names a key of `--lab-affected-by`.

    Here, as a worker's would be an internal error.
    """
    try:
        lessons.check_names()
    except LabError as error:
        raise pytest.UsageError(str(error)) from None
    for key in _asked_keys(config):
        if key not in profile.governing():
            known = {_last_name(each): each for each in sorted(profile.governing())}
            near = difflib.get_close_matches(_last_name(key), known, 1, _ALIKE)
            hint = f"did you mean {known[near[0]]}?" if near else f"use one of {', '.join(known.values())}"
            raise pytest.UsageError(f"no scenario is governed by {key!r}. Hint: {hint}")


def _asked_keys(config: pytest.Config) -> list[str]:
    """Whole: of a key that governs a scenario, its last names are enough, as the header has them."""
    return [_whole(key.replace("/", ".")) for key in config.option.lab_affected_by]


def _whole(key: str) -> str:
    ending = [each for each in profile.governing() if f".{each}".endswith(f".{key}")]
    return ending[0] if len(ending) == 1 else key


def _last_name(key: str) -> str:
    return key.rpartition(".")[2]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """What `-n auto` means here: stories mostly wait for the kernel's timers, so three of them fit on a processor.

    There are never more workers than stories, or than memory allows.
    """
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    wanted = _WORKERS_A_PROCESSOR * len(os.sched_getaffinity(0))
    return workers.suitable(wanted, workers.count_tests(config.args, wanted), workers.available_bytes())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _more_time(config, items)
    _affected(config, items)
    _of_the_lesson(config, items)
    if hasattr(config, "workerinput"):
        items[:] = dealt(items)


def dealt(items: list[pytest.Item]) -> list[pytest.Item]:
    """Stories that wait long, spread over the first two thirds, the longest first: for workers side by side.

    While some of them wait, the others work, and none waits alone at the end.
    """
    waiting = sorted((item for item in items if _waits_s(item)), key=_waits_s, reverse=True)
    working = [item for item in items if not _waits_s(item)]
    hand = 2 * len(working) // (3 * len(waiting)) if waiting else 0
    hands = [each for n, item in enumerate(waiting) for each in (item, *working[n * hand : (n + 1) * hand])]
    return hands + working[len(waiting) * hand :]


def _waits_s(item: pytest.Item) -> float:
    marker = item.get_closest_marker("waits")
    return float(marker.args[0]) if marker else 0.0


def _more_time(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where longer timers are waited for than by default, pytest-timeout's limit grows with them.

    Where somebody steps by hand, there is none.
    """
    if config.option.lab_step:
        for item in items:
            item.add_marker(pytest.mark.timeout(0), append=False)
    extra_s = waiting.more_time_s(config.option.lab_max_wait)
    limit_s = float(config.getini("timeout") or 0) if config.pluginmanager.hasplugin("timeout") else 0.0
    if limit_s and extra_s:
        for item in items:
            item.add_marker(pytest.mark.timeout(limit_s + extra_s))


def _affected(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`--lab-affected-by KEY`: what any of the keys governs."""
    if not (asked := set(_asked_keys(config))):
        return
    governed = {lesson.name for lesson in lessons.every() if asked & set(lesson.sysctls)}
    chosen = [item for item in items if item.path.stem in governed]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def _of_the_lesson(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`--lab-show` plays the stories of each lesson, where nobody has chosen others by -k or by name."""
    if not config.option.lab_show or config.option.keyword or any("::" in argument for argument in config.args):
        return
    told = {item: lessons.find(item.path.stem) for item in items}
    plain = config.option.lab_plain  # a lesson's control, and its table, give its answer away
    chosen = [
        item for item in items
        if not (lesson := told[item]) or item.name in (lesson.stories[:1] if plain else lesson.stories)
    ]  # fmt: skip
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = sorted(chosen, key=lambda item: (str(item.path), _place(item, told[item])))


def _place(item: pytest.Item, lesson: lessons.Lesson | None) -> int:
    """A lesson's fault comes first, then its control, then its table."""
    if lesson:
        return lesson.stories.index(item.name)
    return item.name.startswith("test_control_")
