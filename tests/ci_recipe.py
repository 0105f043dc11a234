"""The parts of the CI recipe: its workflow's scripts, and a pull request on which to run them, without GitHub.

The pull request is a temporary git repository, and the lab's program is a fake that records its arguments. The files
that it reads determine how it ends: `# exit 3`, `# exit 3 silently`, `# exit 7 found 1`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.playing import ROOT, clean_environment

CI = ROOT / "docs" / "ci"
SOURCE = (CI / "whatif.yml").read_text()
WORKFLOW: dict[Any, Any] = yaml.safe_load(SOURCE)
JOBS: dict[str, Any] = WORKFLOW["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
SCRIPTS = {step["name"]: step["run"] for step in STEPS if "run" in step}
LAY_OUT, PLAY = "Lay out both sides of the change", "Play both sides"

FAKE_PYTHON = """\
#!{python}
import json, pathlib, re, sys
asked = sys.argv[1:]
at = asked.index("--before")
before, report, kept, after = (pathlib.Path(asked[at + n]) for n in (1, 3, 5, 7))
def texts(side):
    files = sorted(side.iterdir()) if side.is_dir() else [side]
    return {{file.name: file.read_text() for file in files}}
with open("{calls}", "a") as calls:
    calls.write(json.dumps([asked, texts(before), texts(after), sys.stdin.read()]) + "\\n")
print("::error::from the program")
print("whatif: 3 scenarios: 9 plays at most\\n9 of 9 plays after 1 s")
found = re.search("# exit ([0-9]+)( silently)?(?: found ([0-9]+))?", "".join(texts(after).values()))
if not (found and found[2]):
    report.write_text("the report\\n")
    status = int(found[3] or found[1]) if found else 0
    kept.write_text(json.dumps({{"version": 1, "status": status, "kernel": "6"}}, indent=1) + "\\n")
sys.exit(int(found[1]) if found else 0)
"""


def git(folder: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    alone = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True,
                          env=clean_environment() | identity | alone)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(name: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step's script, as GitHub does with `shell: bash`."""
    script = folder / "script.sh"
    script.write_text(SCRIPTS[name])
    files = {name: str(folder / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    path = {"PATH": f"{folder}/bin:{clean_environment()['PATH']}"}
    environment = clean_environment() | WORKFLOW["env"] | files | path | environment
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


class PullRequest:
    """Make a merge commit in change/, as actions/checkout leaves it, and a lab/ with a fake program."""

    def __init__(
        self,
        folder: Path,
        base: dict[str, str],
        head: dict[str, str | None],
        *,
        merges_the_base_meanwhile: bool = False,
    ) -> None:
        self.folder, self.change = folder, folder / "change"
        git(folder, "init", "-q", "-b", "main", "change")
        self._commit(base)
        git(self.change, "checkout", "-q", "-b", "topic")
        if merges_the_base_meanwhile:
            git(self.change, "checkout", "-q", "main")
            self._commit({"sysctl-merged-meanwhile.conf": "not of this pull request\n"})
            git(self.change, "checkout", "-q", "topic")
            git(self.change, "merge", "-q", "--no-ff", "-m", "merge main", "main")
        self._commit(head)
        git(self.change, "checkout", "-q", "main")
        self._commit({"sysctl-of-the-base.conf": "moved on since\n"})
        git(self.change, "merge", "-q", "--no-ff", "-m", "merge", "topic")
        program = folder / "lab" / ".venv" / "bin" / "python"
        program.parent.mkdir(parents=True)
        program.write_text(FAKE_PYTHON.format(python=sys.executable, calls=folder / "calls"))
        program.chmod(0o755)

    def _commit(self, files: dict[str, Any]) -> None:
        for name, text in files.items():
            path = self.change / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if isinstance(text, Path):
                path.symlink_to(text)
            elif text is not None:
                path.write_text(text)
        git(self.change, "add", "-A")
        git(self.change, "commit", "-q", "--allow-empty", "-m", "x")

    def measure(self, **environment: str) -> list[Any]:
        """Run the steps that lay out and play; returns the program's arguments each time."""
        for name in (LAY_OUT, PLAY):
            done = run(name, self.folder, **environment)
            assert done.returncode == 0, done.stderr
            assert not any(line.lstrip().startswith("::") for line in (done.stdout + done.stderr).splitlines())
        calls = self.folder / "calls"
        return [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []

    @property
    def outcomes(self) -> str:
        return (self.folder / "GITHUB_OUTPUT").read_text().strip().removeprefix("outcomes=")

    @property
    def report(self) -> str:
        return (self.folder / "report.md").read_text()
