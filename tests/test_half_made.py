"""An object whose construction fails leaves nothing behind: no open fd, no process."""

import contextlib
import gc
import mmap
import os
import subprocess
import sys

import psutil
import pytest

from harness.errors import LabError
from harness.evidence import counters, transitions
from harness.evidence.ring import Ring
from harness.inside.channel import Channel
from harness.lab import lab as lab_room
from harness.lab import nursery as nursery_room
from harness.lab.asking import KeeperHandle
from harness.lab.lab import Lab
from harness.lab.nursery import Nursery
from tests.playing import ROOT


@pytest.fixture(scope="module")
def nursery():
    with contextlib.closing(Nursery([])) as made:
        made.open_lab("").close()  # the spare one is ordered, too
        yield made


def held():
    """This process's fds, by their targets, and its children."""
    gc.collect()
    fds = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            fds.append(os.readlink(f"/proc/self/fd/{fd}").partition(":")[0])
    return sorted(fds), {child.pid for child in psutil.Process().children()}


def fail(*_, **__):
    raise OSError(12, "on purpose")


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("owner", "name", "trouble"),
    [(Ring, "__init__", fail), (counters, "texts", fail), (Ring, "read", interrupt), (lab_room, "Timeline", interrupt)],
    ids=["ring", "counters", "Ctrl-C in a read", "Ctrl-C before"],
)
def test_a_lab(nursery, monkeypatch, owner, name, trouble):
    before = held()
    monkeypatch.setattr(owner, name, trouble)
    with pytest.raises((OSError, KeyboardInterrupt)) as seen:
        Lab(nursery, __file__, 0.25)
    monkeypatch.undo()
    assert held() == before, seen.value  # the traceback keeps unclosed objects alive
    with contextlib.closing(Lab(nursery, __file__, 0.25)) as next_one:
        assert next_one.sockets() == []


@pytest.mark.parametrize("trouble", [fail, interrupt])
@pytest.mark.parametrize("name", ["wait_until_ready", "_answer"])
def test_a_keeper(nursery, monkeypatch, name, trouble):
    before = held()
    monkeypatch.setattr(KeeperHandle, name, trouble)
    monkeypatch.setattr(KeeperHandle, "ask", lambda *_, **__: None)
    with pytest.raises((OSError, KeyboardInterrupt)) as seen:
        nursery.open_lab("")
    monkeypatch.undo()
    assert held() == before, seen.value


def test_a_lab_whose_spare_lab_cannot_be_ordered(nursery, monkeypatch):
    nursery.open_lab("", spare=False).close()
    before = held()
    order, orders = nursery._order, []

    def order_once(roles_from, network):
        if orders:
            raise LabError("no second one")
        orders.append(roles_from)
        return order(roles_from, network)

    monkeypatch.setattr(nursery, "_order", order_once)
    with pytest.raises(LabError, match="no second one") as seen:
        nursery.open_lab("")
    assert held() == before, seen.value


@pytest.mark.parametrize(
    ("owner", "name"),
    [(nursery_room.subprocess, "Popen"), (nursery_room, "received"), (transitions, "Events"), (mmap, "mmap")],
)
@pytest.mark.parametrize("trouble", [fail, interrupt])
def test_a_nursery(monkeypatch, owner, name, trouble):
    with contextlib.closing(Nursery([])) as made:
        if made.events is None and owner in (transitions, mmap):
            pytest.skip("no tracepoint to open" if made.isolation == "root" else "only root opens the tracepoint")
    before = held()
    monkeypatch.setattr(owner, name, trouble)
    if trouble is fail and owner in (transitions, mmap):  # no room for the tracepoint: states are inferred
        with contextlib.closing(Nursery([])) as made:
            assert made.events is None
        assert held() == before
        return
    with pytest.raises((OSError, KeyboardInterrupt)) as seen:
        Nursery([])
    assert held() == before, seen.value


@pytest.mark.parametrize("has_a_slot", [True, False])
def test_a_nursery_whose_pytest_is_gone_is_silent(has_a_slot):
    """Its first message already fails: it ends, and its error message has no reader."""
    ours, theirs = Channel.pair()
    ours.close()
    none_left = "" if has_a_slot else "nursery.SLOTS = 0; "
    program = f"from harness.inside import nursery; {none_left}nursery.main({theirs.fileno()}, [])"
    done = subprocess.run(
        [sys.executable, "-c", program], pass_fds=[theirs.fileno()], capture_output=True, text=True, cwd=ROOT
    )
    theirs.close()
    assert (done.returncode, done.stderr) == (0, "")
