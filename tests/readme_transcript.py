"""The transcript in the README, as it really prints: `make readme` writes it, a test compares it.

Times, ports and sequence numbers differ from run to run, and only root sees state changes reported by the kernel; so
both sides are compared without times and ports, and without state changes.
"""

import re
import subprocess
import sys

from tests.playing import ROOT, clean_environment

STORY = "scenarios/close_with_unread_data.py::test_unread_data_turns_close_into_a_reset"


def real_transcript() -> str:
    """Play the story and cut the transcript out of what pytest prints."""
    command = [sys.executable, "-m", "pytest", "-rP", STORY]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=clean_environment())
    lines = done.stdout.splitlines()
    start = next(number for number, line in enumerate(lines) if "lab: what happened" in line) + 1
    end = next(number for number, line in enumerate(lines) if number > start and line.startswith("==="))
    return "\n".join("    " + line for line in lines[start:end])


def normalised(transcript: str) -> list[str]:
    """Without times, ports, timers and state changes."""
    lines = [re.sub(r"^\s*[\d.]+ ms\s*|:\d+\b|, timer \w+ [\d.]+ s", "", line) for line in transcript.splitlines()]
    return [re.sub(r" +", " ", line) for line in lines if "→" not in line]


if __name__ == "__main__":
    readme = ROOT / "README.md"
    text = re.sub(
        r"(<!-- transcript -->\n).*?(<!-- /transcript -->)",
        lambda match: f"{match[1]}\n{real_transcript()}\n\n{match[2]}",
        readme.read_text(),
        flags=re.S,
    )
    readme.write_text(text)
