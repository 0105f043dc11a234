"""Which stories pytest plays, in which order, with how many workers."""

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
    """UsageError if two scenarios have the same name, or no lesson names a key of `--lab-affected-by`.

    The check is made here because an error in a worker would be an internal error.
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
    """The full names of the keys: for a key that governs a scenario, a short name as in the header is enough."""
    return [_whole(key.replace("/", ".")) for key in config.option.lab_affected_by]


def _whole(key: str) -> str:
    ending = [each for each in profile.governing() if f".{each}".endswith(f".{key}")]
    return ending[0] if len(ending) == 1 else key


def _last_name(key: str) -> str:
    return key.rpartition(".")[2]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """The number of workers for `-n auto`: three for each processor, as stories mostly wait for the kernel's timers.

    It is at most the number of stories, and at most what memory allows.
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
    """The items in an order for parallel workers: those that wait long spread over the first two thirds, longest first.

    While some stories wait, others use the processors, and none is left waiting alone at the end.
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
    """Extend pytest-timeout's limit if longer timers than by default are waited for; with `--lab-step`, remove it."""
    if config.option.lab_step:
        for item in items:
            item.add_marker(pytest.mark.timeout(0), append=False)
    extra_s = waiting.more_time_s(config.option.lab_max_wait)
    limit_s = float(config.getini("timeout") or 0) if config.pluginmanager.hasplugin("timeout") else 0.0
    if limit_s and extra_s:
        for item in items:
            item.add_marker(pytest.mark.timeout(limit_s + extra_s))


def _affected(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Apply `--lab-affected-by KEY`: keep the items that any of the keys governs."""
    if not (asked := set(_asked_keys(config))):
        return
    governed = {lesson.name for lesson in lessons.every() if asked & set(lesson.sysctls)}
    chosen = [item for item in items if item.path.stem in governed]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def _of_the_lesson(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--lab-show`, keep the stories of each lesson, unless -k or a name selects others."""
    if not config.option.lab_show or config.option.keyword or any("::" in argument for argument in config.args):
        return
    lesson_of = {item: lessons.find(item.path.stem) for item in items}
    plain = config.option.lab_plain  # a lesson's control and its table give the answer away
    chosen = [
        item for item in items
        if not (lesson := lesson_of[item]) or item.name in (lesson.stories[:1] if plain else lesson.stories)
    ]  # fmt: skip
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = sorted(chosen, key=lambda item: (str(item.path), _place(item, lesson_of[item])))


def _place(item: pytest.Item, lesson: lessons.Lesson | None) -> int:
    """The position of an item in its file: a lesson's fault comes first, then its control, then its table."""
    if lesson:
        return lesson.stories.index(item.name)
    return item.name.startswith("test_control_")
