"""Runs all scenarios, or the tests, many times next to busy loops: `make stress N=50`; see --help."""

import argparse
import os
import subprocess
import sys
import time
from collections import Counter

BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass"
"""A loop that ends with the process whose PID it is given, however that ends."""

PYTEST = [sys.executable, "-m", "pytest", "-q", "--lab-strict", "-n"]
SCENARIOS = [*PYTEST, "auto", "scenarios/"]
TESTS = [*PYTEST, str(2 * len(os.sched_getaffinity(0))), "tests/"]


def main(asked: argparse.Namespace) -> int:
    command = TESTS if asked.tests else SCENARIOS
    loops = [subprocess.Popen([sys.executable, "-S", "-c", BUSY, str(os.getpid())]) for _ in range(asked.loops)]
    outcomes: Counter[str] = Counter()
    longest_s = 0.0
    try:
        for number in range(1, asked.runs + 1):
            start = time.monotonic()
            suites = [
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                for _ in range(asked.side_by_side)
            ]
            printed = [suite.communicate()[0] for suite in suites]
            seconds = time.monotonic() - start
            longest_s = max(longest_s, seconds)
            failed = [text for suite, text in zip(suites, printed, strict=True) if suite.returncode]
            outcomes.update(passed=len(suites) - len(failed), failed=len(failed))
            print(f"run {number} of {asked.runs}: {'failed' if failed else 'passed'} in {seconds:.1f} s", flush=True)
            print(*failed, sep="\n", end="", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    print(f"{outcomes['passed']} suites passed, {outcomes['failed']} failed, the longest took {longest_s:.1f} s,")
    print(f"{asked.side_by_side} side by side, beside {len(loops)} busy loops")
    return 0 if outcomes["passed"] == asked.runs * asked.side_by_side else 1


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    parser.add_argument("runs", type=positive, help="how many runs")
    parser.add_argument("--tests", action="store_true", help="run tests/ instead of scenarios/")
    parser.add_argument(
        "--side-by-side", type=positive, default=1, metavar="N", help="whole suites at the same time (1)"
    )
    parser.add_argument(
        "--loops", type=int, default=os.cpu_count() or 1, metavar="N", help="busy loops (one per processor)"
    )
    sys.exit(main(parser.parse_args()))
