"""The scripts of the workflow for CI, run for real: hostile names of files, every exit status, the comment."""

import re
import shlex
from pathlib import Path

import pytest

from tests.ci_recipe import SCRIPTS, SOURCE, PullRequest, run

JUDGE, COMMENT = "Show the report and judge", "Write the comment, or write it anew"

FOLDER = "etc/sysctl.d/"
IN_FOLDER = FOLDER + "99 \"q' $(touch pwned) `touch pwned`;\n::error::x.conf"
HOSTILE = [
    "-x sysctl.conf",
    "a\n$(touch pwned)/sysctl\t'\".conf",
    ":(top)sysctl*.conf",
    "ü-sysctl.conf",
    "a.b/sysctl\\.conf",
]


def test_both_sides_of_what_changed_reach_the_program_whatever_the_files_are_called(tmp_path: Path) -> None:
    base = dict.fromkeys([*HOSTILE, IN_FOLDER, FOLDER + "10-same.conf", "gone-sysctl.conf", "notes.txt"], "old\n")
    links = {"link-sysctl.conf": Path("/etc/passwd"), FOLDER + "link.conf": Path("/etc/passwd")}
    head = dict.fromkeys([*HOSTILE, IN_FOLDER, "sub/new-sysctl.conf", "notes.txt"], "new\n") | {
        "gone-sysctl.conf": None
    }
    pull_request = PullRequest(tmp_path, base, head | links)
    calls = pull_request.measure()
    sides = {}
    for number, (asked, before, after, stdin) in enumerate(calls, 1):
        side = f"../sides/{number}"
        unit = asked[-1].removeprefix(f"{side}/after/")
        options = ["--before", f"{side}/before/{unit}", "--markdown", f"{side}/report.md", "--"]
        assert asked == ["-m", "harness", "whatif", *options, f"{side}/after/{unit}"]
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


@pytest.mark.parametrize(("outcomes", "status", "said"), [
    (["0"], 0, "the report"), (["1", "0"], 1, "the report"), (["2", "1"], 2, "cannot be read"),
    (["2", "3 silently", "1"], 3, "exit status 3"), (["137"], 137, "exit status 137"),
    (["1 silently"], 3, "exit status 3"),
    (["0 silently"], 3, "exit status 3"), (["3"], 3, "the report"), (["3 silently"], 3, "exit status 3"),
])  # fmt: skip
def test_the_worst_status_is_the_run_s_and_a_program_that_died_has_not_found_a_change(
    tmp_path: Path, outcomes: list[str], status: int, said: str
) -> None:
    pull_request = PullRequest(
        tmp_path, {}, {f"{n}-sysctl.conf": f"# exit {each}\n" for n, each in enumerate(outcomes)}
    )
    assert len(pull_request.measure()) == len(outcomes)
    assert pull_request.status == f"status={status}"
    assert said in pull_request.report
    assert ("    ::error::from the program" in pull_request.report) == (said != "the report")


def test_a_change_that_leaves_no_sysctl_file_different_is_said_and_green(tmp_path: Path) -> None:
    pull_request = PullRequest(tmp_path, {}, {"notes.txt": "new\n"})
    assert pull_request.measure() == []
    assert pull_request.status == "status=0"
    assert "No file of theirs differs" in pull_request.report


@pytest.mark.parametrize(("status", "green", "green_if_strict"), [
    ("0", True, True), ("1", True, False), ("2", False, False), ("3", False, False), ("137", False, False),
    ("", False, False),
])  # fmt: skip
def test_changed_is_green_unless_a_line_is_uncommented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, green: bool, green_if_strict: bool
) -> None:
    (tmp_path / "report.md").write_text("the report\n")
    assert (run(JUDGE, tmp_path, STATUS=status).returncode == 0) is green
    assert (tmp_path / "GITHUB_STEP_SUMMARY").read_text() == "the report\n"
    strict, lines = re.subn(r"^# (?=\[\[)", "", SCRIPTS[JUDGE], flags=re.M)
    assert lines == 1
    monkeypatch.setitem(SCRIPTS, JUDGE, strict)
    assert (run(JUDGE, tmp_path, STATUS=status).returncode == 0) is green_if_strict


@pytest.mark.parametrize(("there", "sent"), [
    ("", ["POST", "repos/me/mine/issues/7/comments"]), ("41\n42", ["PATCH", "repos/me/mine/issues/comments/41"]),
])  # fmt: skip
def test_one_comment_is_written_and_then_written_anew(tmp_path: Path, there: str, sent: list[str]) -> None:
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
    (marker,) = set(re.findall(r"<!-- .* -->", SOURCE))  # what is searched is what is written
    assert body.startswith(marker)
