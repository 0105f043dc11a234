"""The form of the CI recipe: the permissions of its workflow, and the contents of its image."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.ci_recipe import CI, JOBS, SCRIPTS, SOURCE, STEPS, WORKFLOW
from tests.playing import ROOT, clean_environment


def test_only_a_pull_request_that_touches_sysctl_files_starts_it() -> None:
    (event,) = WORKFLOW[True].items()  # `on` is a boolean in YAML 1.1
    assert event == ("pull_request", {"paths": WORKFLOW["env"]["PATTERNS"].split("\n")})


def test_only_the_job_that_reads_nothing_may_write() -> None:
    assert WORKFLOW["permissions"] == {}
    assert {name: job["permissions"] for name, job in JOBS.items()} == {
        "measure": {"contents": "read"}, "comment": {"pull-requests": "write"}}  # fmt: skip
    assert not any("checkout" in step.get("uses", "") for step in JOBS["comment"]["steps"])
    assert "head.repo.full_name == github.repository" in JOBS["comment"]["if"]
    assert all(step["with"]["persist-credentials"] is False for step in STEPS if "checkout" in step.get("uses", ""))
    assert "secrets." not in SOURCE


def test_it_ends_and_a_newer_push_ends_an_older_run() -> None:
    assert all(0 < job["timeout-minutes"] <= 60 for job in JOBS.values())
    assert "github.event.pull_request.number" in WORKFLOW["concurrency"]["group"]
    assert WORKFLOW["concurrency"]["cancel-in-progress"] is True


def test_every_action_is_pinned_to_a_commit_next_to_its_tag() -> None:
    used = re.findall(r"uses: (.*)", SOURCE)
    assert len(used) == sum("uses" in step for step in STEPS) > 0
    assert [line for line in used if not re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_holds_an_expression_and_each_is_sound_bash(name: str, tmp_path: Path) -> None:
    assert "${{" not in SCRIPTS[name]
    assert WORKFLOW["defaults"]["run"]["shell"] == "bash"
    script = tmp_path / "script.sh"
    script.write_text(f"#!/bin/bash\n{SCRIPTS[name]}")
    for checker in (["bash", "-n"], ["shellcheck", "--severity=warning"]):
        if shutil.which(checker[0]):
            done = subprocess.run([*checker, str(script)], capture_output=True, text=True)
            assert (done.returncode, done.stderr) == (0, ""), done.stdout


INSTRUCTIONS = [
    (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1])
    for line in re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", (CI / "Dockerfile").read_text(), flags=re.M)).splitlines()
    if line.strip()
]


def test_the_image_is_made_of_what_is_named_and_nothing_else() -> None:
    assert {name for name, _ in INSTRUCTIONS} <= {"FROM", "RUN", "WORKDIR", "COPY", "ENTRYPOINT"}
    assert [text for name, text in INSTRUCTIONS if name == "FROM"] == ["debian:bookworm-slim"]
    assert not any(source in (".", "./") for source in copied())
    assert all((ROOT / source).exists() for source in copied())
    runs = [text for name, text in INSTRUCTIONS if name == "RUN"]
    assert all("rm -rf /var/lib/apt/lists/*" in text for text in runs if "apt-get" in text)
    assert not any(word in text for text in runs for word in ("curl", "wget", "http"))


def copied() -> list[str]:
    return [source for name, text in INSTRUCTIONS if name == "COPY" for source in text.split()[:-1]]


def test_the_images_steps_work_with_the_files_copied_so_far(tmp_path: Path) -> None:
    ours = []
    for name, text in INSTRUCTIONS:
        if name == "COPY":
            *sources, target = text.split()
            for source in sources:
                to = (
                    tmp_path
                    / target
                    / (source if target == "./" else Path(source).name if target.endswith("/") else "")
                )
                to.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / source, to)
        elif name == "RUN" and "make" in text.split() and "apt-get" not in text:
            ours.append(text)
            dry = subprocess.run(
                ["sh", "-c", text.replace("make ", "make -n ")], cwd=tmp_path, capture_output=True, text=True
            )
            assert dry.returncode == 0, dry.stderr
            assert "requirements.lock" in dry.stdout
            tools = subprocess.run(
                ["sh", "harness/tools.sh"], cwd=tmp_path, env=clean_environment() | {"LAB_APT": "no"}
            )
            assert tools.returncode == 0
    assert len(ours) == 1
    entry = yaml.safe_load(dict(INSTRUCTIONS)["ENTRYPOINT"])
    assert entry[0] == f"{dict(INSTRUCTIONS)['WORKDIR']}/.venv/bin/python"
    done = subprocess.run([sys.executable, *entry[1:], "list"], cwd=tmp_path, capture_output=True, text=True,
                          env=clean_environment() | {"PYTHONPATH": ""})  # fmt: skip
    assert "close_with_unread_data" in done.stdout, done.stderr


def test_the_recipes_text_names_existing_files() -> None:
    links = re.findall(r"\]\((?!http)([^)]+)\)", (CI / "README.md").read_text())
    assert set(links) == {path.name for path in CI.iterdir()} - {"README.md"}
