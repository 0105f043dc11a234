"""Runs the scripts of the CI workflow: with hostile file names, every exit status, and the comment."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.ci_recipe import CI, SOURCE, PullRequest, run
from tests.playing import ROOT

JUDGE, COMMENT = "Show the report and judge", "Write or replace the comment"

FOLDER = "etc/sysctl.d/"
IN_FOLDER = FOLDER + "99 \"q' $(touch pwned) `touch pwned`;\n::error::x.conf"
HOSTILE = [
    "-x sysctl.conf",
    "a\n$(touch pwned)/sysctl\t'\".conf",
    ":(top)sysctl*.conf",
    "ü-sysctl.conf",
    "a.b/sysctl\\.conf",
]


def test_both_sides_reach_the_program_under_any_file_name(tmp_path: Path) -> None:
    base = dict.fromkeys([*HOSTILE, IN_FOLDER, FOLDER + "10-same.conf", "gone-sysctl.conf", "notes.txt"], "old\n")
    links = {"link-sysctl.conf": Path("/etc/passwd"), FOLDER + "link.conf": Path("/etc/passwd")}
    head = dict.fromkeys([*HOSTILE, IN_FOLDER, "sub/new-sysctl.conf", "notes.txt"], "new\n") | {
        "gone-sysctl.conf": None
    }
    pull_request = PullRequest(tmp_path, base, head | links)
    sides = {}
    for number, (asked, before, after, stdin) in enumerate(pull_request.measure(), 1):
        assert (tmp_path / "sides" / str(number) / "report.md").exists()
        unit = asked[-1].removeprefix("after/")
        options = ["--before", f"before/{unit}", "--markdown", "report.md", "--json", "report.json", "--"]
        assert asked == ["../../lab/harness", "whatif", *options, f"after/{unit}"]
        sides[unit] = (before, after)
        assert stdin == ""
    names = {name: Path(name).name for name in HOSTILE}
    assert sides == {
        **{name: ({short: "old\n"}, {short: "new\n"}) for name, short in names.items()},
        FOLDER: ({Path(IN_FOLDER).name: "old\n", "10-same.conf": "old\n"},
                 {Path(IN_FOLDER).name: "new\n", "10-same.conf": "old\n"}),
        "gone-sysctl.conf": ({"gone-sysctl.conf": "old\n"}, {"gone-sysctl.conf": ""}),
        "sub/new-sysctl.conf": ({"new-sysctl.conf": ""}, {"new-sysctl.conf": "new\n"}),
        "link-sysctl.conf": ({"link-sysctl.conf": ""}, {"link-sysctl.conf": ""}),
    }  # fmt: skip
    assert list(tmp_path.rglob("pwned")) == []
    assert len(re.findall(r"^### `[A-Za-z0-9/._?-]+`$", pull_request.report, re.M)) == len(sides)
    assert pull_request.report.count("the report") == len(sides)


@pytest.mark.parametrize(("ends", "outcomes", "said"), [
    (["0"], "same", "the report"), (["1", "0"], "changed same", "the report"),
    (["3", "1"], "changed unmeasured", "the report"),
    (["2", "1"], "changed refused", "cannot be read"), (["2 silently"], "refused", "cannot be read"),
    (["7 found 0"], "partial same", "the report"), (["7 found 1"], "changed partial", "the report"),
    (["7 found 3"], "partial unmeasured", "the report"), (["7 silently"], "broken", "exit status 7"),
    (["3 silently", "1"], "broken changed", "exit status 3"),
    (["0 silently"], "broken", "exit status 0"), (["1 silently"], "broken", "exit status 1"),
    *(([status], "broken", f"exit status {status}") for status in ("74", "130", "137", "141", "143", "6")),
])  # fmt: skip
def test_each_exit_status_has_its_outcome_and_a_death_has_none(
    tmp_path: Path, ends: list[str], outcomes: str, said: str
) -> None:
    pull_request = PullRequest(tmp_path, {}, {f"{n}-sysctl.conf": f"# exit {each}\n" for n, each in enumerate(ends)})
    assert len(pull_request.measure()) == len(ends)
    assert pull_request.outcomes == f"{outcomes} done"
    assert said in pull_request.report
    failed = said != "the report"
    assert ("    ::error::from the program" in pull_request.report) == failed
    assert "plays" not in pull_request.report, "progress lines are only for manual runs"


def test_every_exit_status_is_in_the_table_of_the_recipe() -> None:
    text = (CI / "README.md").read_text()
    mapped = set(
        re.findall(r"\d+", " ".join(re.findall(r"^\| ([^|]*) \|", text.partition("## Exit statuses")[2], re.M)))
    )
    program = (ROOT / "docs" / "options.md").read_text().partition("## Exit statuses of")[2].partition("## ")[0]
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", program, re.M)
    assert {status for status, of in rows if not of.startswith("`quiz`")} <= mapped
    assert len(rows) > 8


def test_a_change_without_different_sysctl_files_is_green(tmp_path: Path) -> None:
    pull_request = PullRequest(tmp_path, {}, {"notes.txt": "new\n"})
    assert pull_request.measure() == []
    assert pull_request.outcomes == " done"
    assert "No file of theirs differs" in pull_request.report


@pytest.mark.parametrize(("outcomes", "green", "green_if_change_fails", "green_if_strict"), [
    (" done", True, True, True), ("same done", True, True, True), ("changed same done", True, False, True),
    ("unmeasured done", True, True, False), ("partial same done", True, True, False),
    ("changed unmeasured done", True, False, False), ("refused done", False, False, False),
    ("broken done", False, False, False), ("broken changed done", False, False, False), ("", False, False, False),
])  # fmt: skip
def test_on_change_and_strict_decide_whether_the_run_is_red(
    tmp_path: Path, outcomes: str, green: bool, green_if_change_fails: bool, green_if_strict: bool
) -> None:
    (tmp_path / "report.md").write_text("the report\n")
    done = run(JUDGE, tmp_path, OUTCOMES=outcomes)
    assert (done.returncode == 0) is green, done.stderr
    assert ("::notice::" in done.stdout) == bool({"unmeasured", "partial"} & set(outcomes.split()))
    assert (tmp_path / "GITHUB_STEP_SUMMARY").read_text() == "the report\n"
    assert (run(JUDGE, tmp_path, OUTCOMES=outcomes, ON_CHANGE="fail").returncode == 0) is green_if_change_fails
    assert (run(JUDGE, tmp_path, OUTCOMES=outcomes, STRICT="yes").returncode == 0) is green_if_strict


def test_what_can_be_read_is_used_if_the_team_chooses_that(tmp_path: Path) -> None:
    pull_request = PullRequest(tmp_path, {}, {"a-sysctl.conf": "# exit 7 found 0\n"})
    [(asked, *_)] = pull_request.measure(READING="--partial")
    assert asked[:4] == ["../../lab/harness", "whatif", "--partial", "--before"]


RENAMED = "".join(f"# line {n}\n" for n in range(20))


def test_merges_renames_deletions_and_files_outside_the_pattern(tmp_path: Path) -> None:
    base = {
        "old-sysctl.conf": f"{RENAMED}net.ipv4.tcp_sack = 0\n", "gone-sysctl.conf": "gone\n", "etc/limits.conf": "a\n",
        "a/sysctl.d/1.conf": f"{RENAMED}one\n", "a/sysctl.d/2.conf": "two\n", "b/sysctl.d/9.conf": "nine\n",
        "c-sysctl.conf": f"{RENAMED}c\n",
    }  # fmt: skip
    head = {
        "old-sysctl.conf": None, "sub/new-sysctl.conf": f"{RENAMED}net.ipv4.tcp_sack = 1\n", "gone-sysctl.conf": None,
        "etc/limits.conf": "b\n", "a/sysctl.d/1.conf": None, "b/sysctl.d/1.conf": f"{RENAMED}one\n",
        "c-sysctl.conf": None, "b/sysctl.d/c.conf": f"{RENAMED}c\n",
    }  # fmt: skip
    pull_request = PullRequest(tmp_path, base, head, merges_the_base_meanwhile=True)
    calls = {asked[-1]: (asked[asked.index("--before") + 1], *texts) for asked, *texts, _ in pull_request.measure()}
    kept = {"9.conf": "nine\n"}
    assert calls == {
        "after/sub/new-sysctl.conf": ("before/old-sysctl.conf", {"old-sysctl.conf": base["old-sysctl.conf"]},
                                      {"new-sysctl.conf": head["sub/new-sysctl.conf"]}),
        "after/gone-sysctl.conf": ("before/gone-sysctl.conf", {"gone-sysctl.conf": "gone\n"}, {"gone-sysctl.conf": ""}),
        "after/c-sysctl.conf": ("before/c-sysctl.conf", {"c-sysctl.conf": f"{RENAMED}c\n"}, {"c-sysctl.conf": ""}),
        "after/a/sysctl.d/": ("before/a/sysctl.d/", {"1.conf": f"{RENAMED}one\n", "2.conf": "two\n"},
                              {"2.conf": "two\n"}),
        "after/b/sysctl.d/": ("before/b/sysctl.d/", kept,
                              kept | {"1.conf": f"{RENAMED}one\n", "c.conf": f"{RENAMED}c\n"}),
    }  # fmt: skip
    assert "### `sub/new-sysctl.conf`\n\nIt was `old-sysctl.conf`.\n" in pull_request.report


REAL_PYTHON = """\
#!/bin/sh
shift 2
PYTHONPATH={root} exec {python} -m harness whatif --plays 1 "$@"
"""


@pytest.mark.parametrize(("old", "new", "outcomes"), [
    ("vm.swappiness = 60\n", "vm.swappiness = 10\n", "unmeasured done"),
    ("net.ipv4.tcp_fin_timeout = 60\n", "net.ipv4.tcp_fin_timeout = 30\n", "unmeasured done"),
])  # fmt: skip
def test_a_harmless_pull_request_is_green_with_the_real_program(
    tmp_path: Path, old: str, new: str, outcomes: str
) -> None:
    pull_request = PullRequest(tmp_path, {"etc/sysctl.d/99.conf": old}, {"etc/sysctl.d/99.conf": new})
    program = tmp_path / "lab" / ".venv" / "bin" / "python"
    program.write_text(REAL_PYTHON.format(root=ROOT, python=sys.executable))
    pull_request.measure()
    assert pull_request.outcomes == outcomes, pull_request.report
    assert "sides/" not in pull_request.report
    assert str(tmp_path) not in pull_request.report
    assert run(JUDGE, tmp_path, OUTCOMES=pull_request.outcomes).returncode == 0
    assert run(JUDGE, tmp_path, OUTCOMES=pull_request.outcomes, STRICT="yes").returncode == 1


@pytest.mark.parametrize(("there", "sent"), [
    ("", ["POST", "repos/me/mine/issues/7/comments"]), ("41\n42", ["PATCH", "repos/me/mine/issues/comments/41"]),
])  # fmt: skip
def test_one_comment_is_written_and_then_replaced(tmp_path: Path, there: str, sent: list[str]) -> None:
    program = tmp_path / "bin" / "gh"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\necho \"$*\" >>calls\ncase $2 in --paginate) printf '%s' {shlex.quote(there)} ;; esac\n"
    )
    program.chmod(0o755)
    (tmp_path / "report.md").write_text("<!-- tcp-fault-lab whatif -->\n" + "ü 100 bytes\n" * 10_000)
    done = run(COMMENT, tmp_path, GITHUB_REPOSITORY="me/mine", NUMBER="7", GH_TOKEN="x")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "calls").read_text().splitlines()[
        -1
    ] == f"api --silent --method {' '.join(sent)} -F body=@body.md"
    body = (tmp_path / "body.md").read_text()
    assert 50_000 < len(body.encode()) < 65_536
    assert body.startswith("<!-- tcp-fault-lab whatif -->\n")
    assert "Cut here" in body
    (marker,) = set(re.findall(r"<!-- .* -->", SOURCE))  # the marker that is searched for is the one that is written
    assert body.startswith(marker)
