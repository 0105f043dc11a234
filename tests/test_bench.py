"""How `make bench` judges its measurements; nothing is measured here."""

import pytest

from tests import bench
from tests.bench import Bar

TWICE = Bar("twice", "one", "other", 2)
HALF_ABOVE = Bar("half above", "one", "other", 0.5, above=True)


@pytest.mark.parametrize(("bar", "one", "expected"), [
    (TWICE, 1.9, []), (TWICE, 2.0, []), (TWICE, 2.1, ["twice"]),
    (HALF_ABOVE, 1.4, []), (HALF_ABOVE, 1.6, ["half above"]), (HALF_ABOVE, 0.5, []),
])  # fmt: skip
def test_a_limit_is_exceeded_when_the_ratio_is_above_it(bar, one, expected):
    assert bench.missed([bar], {"one": [one], "other": [1.0]}) == expected


def test_a_machine_that_becomes_slower_does_not_matter():
    """The ratio of the medians would be 3.0: slower rounds of one side against quicker rounds of the other."""
    seconds = {"one": [1.0, 1.0, 9.0, 9.0, 9.0], "other": [1.0, 1.0, 9.0, 3.0, 9.0]}
    assert bench.ratio(TWICE, seconds) == 1.0
    assert bench.missed([TWICE], seconds) == []


def test_each_exceeded_limit_is_named_and_exits_with_1(monkeypatch, capsys):
    met = {name: [1.0, 1.0] for bar in bench.BARS for name in (bar.measured, bar.against)}
    monkeypatch.setattr(bench, "ROUNDS", 2)
    assert judged(monkeypatch, met | {"a namespace and two bare Python processes": [9.0, 9.0]}) == 0
    assert "MISSED" not in capsys.readouterr().out
    assert judged(monkeypatch, met) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "MISSED: scenario"
    assert judged(monkeypatch, met | {"explain, ten keys": [13.0, 13.0], "collecting scenarios/": [2.0, 2.0]}) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "MISSED: scenario; explain; collecting"
    assert judged(monkeypatch, met | {"all scenarios once": [0.3, 0.3]}) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "MISSED: scenario; what-if"


def judged(monkeypatch, seconds) -> int:
    """The exit status for made-up measurements."""
    monkeypatch.setattr(bench, "Nursery", lambda profile: _Nothing())
    monkeypatch.setattr(bench, "capture", lambda nursery: bench.Captured(1_200_000, 2.0, 86.0))
    monkeypatch.setattr(bench, "measure", lambda nursery, laps, empty: laps.seconds.update(part=[1.0] * 20) or seconds)
    return bench.main()


class _Nothing:
    isolation = "made up"

    def close(self) -> None:
        pass


def test_every_bar_names_what_is_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "ROUNDS", 1)
    monkeypatch.setattr(bench, "timed", lambda run: 1.0)
    seconds = bench.measure(_Nothing(), bench.Laps(), tmp_path)
    assert {name for bar in bench.BARS for name in (bar.measured, bar.against)} == set(seconds)
    assert {len(each) for each in seconds.values()} == {1}


def test_a_command_that_ends_unexpectedly_is_not_measured(tmp_path):
    bench.command(["sh", "-c", "exit 1"], tmp_path, ends_with=1)()
    with pytest.raises(SystemExit, match="ended with 1: why"):
        bench.command(["sh", "-c", "echo why >&2; exit 1"], tmp_path)()
