"""pytest's side of the labs: the fixture `lab`, and the helper processes that it needs, one for each profile."""

import contextlib
import gc
import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import LabError, LabUnavailable
from harness.explain import profile
from harness.explain.profile import Profile
from harness.network import kinds
from harness.network.addresses import Family
from harness.pytest_plugin.verdicts import EFFECTIVE_VALUES, LAB, PROFILE, profile_of, was_interrupted

if TYPE_CHECKING:  # imported when a lab is opened: collection does not need them
    from harness.lab.lab import Lab
    from harness.lab.nursery import Nursery

__tracebackhide__ = True

ALLOWANCE_S = 0.25
SLOW_ALLOWANCE_S = 5.0
"""Seconds that the scheduler may take to wake a process whose timer has expired; the second under `--lab-slow`."""
_nurseries: "pytest.StashKey[dict[tuple[str, Family], Nursery]]" = pytest.StashKey()

FAMILIES: dict[str, list[Family]] = {"4": [4], "6": [6], "both": [4, 6]}
"""By the value of `--lab-family`."""

TEMPORARY = pytest.StashKey[pytest.TempPathFactory]()
"""An item's: the factory of its temporary folders."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """At a worker's end, skip Python's last search for reference cycles, which takes 60 ms.

    Cleanups run last in, first out, so pytest's own search (unraisableexception.py) still runs before.
    """
    if hasattr(config, "workerinput"):
        config.add_cleanup(gc.freeze)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Read the effective sysctls, which a saved run contains, before anything is played."""
    option = session.config.option
    asked = (option.lab_save or option.lab_compare) and not option.collectonly
    if asked and not hasattr(session.config, "workerinput"):
        effective_values(session.config)


def effective_values(config: pytest.Config) -> dict[str, str]:
    """The sysctls that a lab of this run has; empty if no lab can be opened."""
    if EFFECTIVE_VALUES not in config.stash:
        under = config.stash[PROFILE]
        config.stash[EFFECTIVE_VALUES] = {}
        with (
            contextlib.suppress(LabError),
            contextlib.closing(nursery_for(config, under).open_lab("", spare=False)) as keeper,
        ):
            config.stash[EFFECTIVE_VALUES] = profile.effective_values(under, keeper)
    return config.stash[EFFECTIVE_VALUES]


def families_of(config: pytest.Config) -> list[Family]:
    """The versions of IP that each story of this run is played over."""
    return FAMILIES[config.option.lab_family]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """With `--lab-family both`, each story is two tests; otherwise their names are as ever."""
    families = families_of(metafunc.config)
    if "lab_family" in metafunc.fixturenames and len(families) > 1:
        metafunc.parametrize("lab_family", families, ids=[f"IPv{family}" for family in families], indirect=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    for nursery in config.stash.get(_nurseries, {}).values():
        nursery.close()


def nursery_for(config: pytest.Config, under: Profile, family: Family | None = None) -> "Nursery":
    """This process's nursery for a profile and a family (the run's first), started when it is first needed."""
    from harness.lab.nursery import Nursery

    nurseries = config.stash.setdefault(_nurseries, {})
    key = under.name, family or families_of(config)[0]
    if key in nurseries and not nurseries[key].alive:
        nurseries.pop(key).close()
    if key not in nurseries:
        nurseries[key] = Nursery(list(under.settings), _controller(config), key[1])
    return nurseries[key]


def _controller(config: pytest.Config) -> list[int]:
    """The PID of an xdist worker's parent: if it is killed, the labs must end before the worker notices."""
    return [os.getppid()] if hasattr(config, "workerinput") else []


def network_of(item: pytest.Item) -> str:
    """The network that a story names with @pytest.mark.network; loopback if it names none."""
    marker = item.get_closest_marker("network")
    if marker is None:
        return kinds.LOOPBACK
    if marker.args not in [(network,) for network in kinds.PLACES]:
        raise LabError(f"no such network: {marker.args}. Hint: name one of {', '.join(kinds.PLACES)}")
    network: str = marker.args[0]
    return network


@pytest.fixture
def lab_family(request: pytest.FixtureRequest) -> Family:
    """The version of IP that this story is played over."""
    family: Family = getattr(request, "param", families_of(request.config)[0])
    return family


@pytest.fixture
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, lab_family: Family
) -> Iterator["Lab"]:
    """One private network, clean, under the run's sysctls; everything in it ends with the test."""
    from harness.lab.lab import Lab

    option = request.config.option
    allowance_s = SLOW_ALLOWANCE_S if option.lab_slow else ALLOWANCE_S
    nursery = nursery_for(request.config, profile_of(request.node), lab_family)
    lab = Lab(nursery, str(request.path), allowance_s, network_of(request.node))
    lab.max_wait_s = option.lab_max_wait
    lab.looks_closely = any(
        (option.lab_show, option.lab_artifacts, option.lab_report, option.lab_save, option.lab_compare)
    )
    if option.lab_step:
        from harness.pytest_plugin.stepping import Stepper

        lab.before_move = Stepper(lab.pids, nursery.isolation, request.node.name, option.lab_lang).wait
    request.node.stash[LAB] = lab
    request.node.stash[TEMPORARY] = tmp_path_factory
    try:
        yield lab
    finally:
        with _no_failure_if_interrupted(request.session):
            lab.close()


@contextlib.contextmanager
def _no_failure_if_interrupted(session: pytest.Session) -> Iterator[None]:
    """Suppress errors after an interrupt, which may have left any call unfinished."""
    try:
        yield
    except Exception:
        if not was_interrupted(session):
            raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, Any, Any]:
    return (yield from _skipping_what_is_unavailable())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    result = yield from _skipping_what_is_unavailable()
    if lab := item.stash.get(LAB, None):
        lab.check_played()
    return result


def _skipping_what_is_unavailable() -> Generator[None, Any, Any]:
    try:
        return (yield)
    except LabUnavailable as error:
        pytest.skip(str(error))
