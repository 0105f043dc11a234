"""`--lab-strict` and the skips of tests/: in CI a test that CI never plays fails, with a lab or without."""

from tests.conftest import MAY_BE_SKIPPED
from tests.playing import Play

STORIES = """
import pytest

@pytest.fixture
def unavailable():
    pytest.skip("no namespaces")

@pytest.mark.skipif(True, reason="no such program")
def test_by_a_mark():
    pass

def test_by_a_fixture(unavailable):
    pass

def test_by_a_call():
    pytest.skip("no tracepoint")

@pytest.mark.xfail
def test_expected_to_fail():
    assert False

@pytest.mark.parametrize("reason", {reasons})
def test_allowed(reason):
    pytest.skip(reason + "4.12")
"""


def test_only_the_reasons_that_are_listed_may_skip_a_test(play: Play) -> None:
    source = STORIES.format(reasons=MAY_BE_SKIPPED)
    done = play(source, "-p", "tests.conftest", "--lab-strict", "-rs")
    assert f"1 failed, {len(MAY_BE_SKIPPED)} skipped, 1 xfailed, 2 errors" in done.stdout, done.stdout
    for reason in ("no such program", "no namespaces", "no tracepoint"):
        assert f"{reason} (--lab-strict does not allow this reason" in done.stdout


def test_without_the_option_every_reason_may_skip(play: Play) -> None:
    done = play(STORIES.format(reasons=MAY_BE_SKIPPED), "-p", "tests.conftest")
    assert f"{3 + len(MAY_BE_SKIPPED)} skipped, 1 xfailed" in done.stdout, done.stdout
