"""The number of a run's workers, on made-up machines."""

import itertools
import json
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.pytest_plugin import turns
from harness.runs import workers
from harness.whatif import playing

MIB, GIB = 1 << 20, 1 << 30
PROCESSORS = (1, 2, 8, 64, 256)
MEMORY = (512 * MIB, 2 * GIB, 16 * GIB, 1024 * GIB)
STORIES = (1, 2, 24, 165)
MACHINES = list(itertools.product(PROCESSORS, STORIES, MEMORY))

CERTAIN_BYTES = 55 * MIB
"""The measured PSS of one worker's pytest process, without the processes that it starts."""


@pytest.mark.parametrize(("processors", "stories", "memory"), MACHINES)
def test_workers_never_exceed_processors_stories_or_memory(processors, stories, memory):
    found = workers.suitable(3 * processors, stories, memory)
    assert 1 <= found <= min(3 * processors, stories)
    assert found * CERTAIN_BYTES <= memory / 2


@pytest.mark.parametrize(("processors", "stories", "memory", "expected"), [
    (1, 165, 16 * GIB, 3), (2, 165, 16 * GIB, 6), (8, 165, 16 * GIB, 24), (64, 165, 16 * GIB, 85),
    (64, 165, 1024 * GIB, 165), (256, 165, 1024 * GIB, 165), (256, 24, 1024 * GIB, 24), (2, 1, 16 * GIB, 1),
    (2, 165, 512 * MIB, 2), (256, 165, 512 * MIB, 2), (8, 165, 2 * GIB, 10), (2, 165, 0, 1), (2, 0, 16 * GIB, 1),
])  # fmt: skip
def test_the_scarcest_resource_decides(processors, stories, memory, expected):
    assert workers.suitable(3 * processors, stories, memory) == expected


def test_a_second_helper_leaves_room_for_fewer_workers():
    assert [workers.suitable(1000, 1000, 16 * GIB, helpers) for helpers in (1, 2)] == [85, 64]


def sources(folder: Path) -> Path:
    (folder / "below" / ".venv").mkdir(parents=True)
    (folder / "one.py").write_text(
        "def test_a(): ...\n\nclass T:\n    def test_b(self): ...\n    def helper_test_c(self): ...\n"
    )
    (folder / "below" / "two.py").write_text(
        "import pytest\n@pytest.mark.x\ndef test_c(lab): ...\n# def test_d(): ...\n"
    )
    (folder / "below" / ".venv" / "three.py").write_text("def test_e(): ...\n")
    (folder / "notes.txt").write_text("def test_f(): ...\n")
    return folder


@pytest.mark.parametrize(("arguments", "expected"), [
    (["."], 3), (["one.py"], 2), (["one.py", "below"], 3), (["one.py::test_a"], 1), (["one.py::T::test_b"], 1),
    (["one.py::T"], 2), (["below/two.py::test_c[x::y]"], 1), (["missing.py"], 0), ([], 0),
])  # fmt: skip
def test_tests_are_counted_by_their_sources(tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(sources(tmp_path))
    assert workers.count_tests(arguments, 1000) == expected


def test_counting_ends_when_there_are_enough(tmp_path):
    folder = str(sources(tmp_path))
    assert [workers.count_tests([folder, folder], enough) for enough in (0, 1, 4, 9)] == [0, 1, 4, 6]


def made_up(folder: Path, own: str, files: dict[str, object]) -> tuple[Path, Path]:
    """A /proc whose meminfo has 1 GiB, and cgroups with these files."""
    proc, cgroups = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(
        "MemTotal:        4194304 kB\nMemAvailable:    1048576 kB\nHugePages_Total:       0\n"
    )
    (proc / "self" / "cgroup").write_text(own)
    for name, value in files.items():
        (cgroups / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroups / name).write_text(f"{value}\n")
    return proc, cgroups


CACHE = f"anon 5\ninactive_file {10 * MIB}"
OWN, ABOVE = {"a/b/memory.max": 300 * MIB, "a/b/memory.current": 100 * MIB}, {"a/memory.current": 150 * MIB}
OLD = {"memory/a/memory.limit_in_bytes": 300 * MIB, "memory/a/memory.usage_in_bytes": 100 * MIB}


@pytest.mark.parametrize(("own", "files", "expected"), [
    ("0::/a/b\n", {}, GIB),
    ("0::/a/b\n", OWN | {"a/b/memory.max": "max"}, GIB),
    ("0::/a/b\n", OWN | {"a/b/memory.max": 900 * GIB}, GIB),
    ("0::/a/b\n", OWN, 200 * MIB),
    ("0::/a/b\n", OWN | {"a/b/memory.stat": CACHE}, 210 * MIB),
    ("0::/a/b\n", OWN | ABOVE | {"a/memory.max": 160 * MIB}, 10 * MIB),
    ("0::/a/b\n", OWN | ABOVE | {"a/memory.max": 140 * MIB}, 0),
    ("0::/\n", {"memory.max": 300 * MIB, "memory.current": 100 * MIB}, 200 * MIB),
    ("4:cpu,memory:/a\n1:cpu:/x\n0::/\n", OLD, 200 * MIB),
    ("4:memory:/a\n", OLD | {"memory/a/memory.stat": f"total_inactive_file {10 * MIB}"}, 210 * MIB),
    ("4:memory:/of/the/host\n", {name.replace("a/", ""): value for name, value in OLD.items()}, 200 * MIB),
    ("", {}, GIB),
], ids=str)  # fmt: skip
def test_memory_is_what_the_machine_and_the_cgroups_leave(tmp_path, own, files, expected):
    assert workers.available_bytes(*made_up(tmp_path, own, files)) == expected


def test_this_machine_has_memory():
    assert workers.available_bytes() > 0


@pytest.mark.parametrize(("processors", "memory", "expected"), [
    (2, 1024 * GIB, 18), (256, 2 * GIB, 8), (1, 512 * MIB, 2),
])  # fmt: skip
def test_memory_bounds_what_if_too(monkeypatch, processors, memory, expected):
    monkeypatch.setattr(playing.os, "sched_getaffinity", lambda _: set(range(processors)))
    monkeypatch.setattr(workers, "available_bytes", lambda: memory)
    assert playing._workers() == expected


@pytest.mark.parametrize(("plays", "expected"), [(1, 1), (5, 5), (30, 12)])
def test_what_if_has_no_more_workers_than_plays(monkeypatch, tmp_path, plays, expected):
    asked, used = tmp_path / "turns.json", []
    _, progress = os.pipe()
    asked.write_text(json.dumps({
        "profiles": {}, "plays": 1, "folder": str(tmp_path), "timelines": False, "governed": {}, "workers": 12,
        "progress": progress,
    }))  # fmt: skip
    items = [SimpleNamespace(nodeid=f"story {n}", get_closest_marker=lambda _: None) for n in range(plays)]
    option = SimpleNamespace(collectonly=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(turns.forks, "run", lambda _session, workers, *_: used.append(workers))
    session = SimpleNamespace(items=items, testsfailed=0, config=SimpleNamespace(option=option))
    assert turns.Turns(asked).pytest_runtestloop(session)
    assert used == [expected]
