"""Run all scenarios again and again beside as many busy loops as there are processors: `make stress N=50`."""

import os
import subprocess
import sys
import time
from collections import Counter

BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"  # ends with us, however we end
COMMAND = [sys.executable, "-m", "pytest", "scenarios/", "-n", "auto", "-q", "--lab-strict"]


def main(runs: int) -> int:
    loops = [subprocess.Popen([sys.executable, "-S", "-c", BUSY]) for _ in range(os.cpu_count() or 1)]
    outcomes: Counter[str] = Counter()
    longest_s = 0.0
    try:
        for number in range(1, runs + 1):
            start = time.monotonic()
            done = subprocess.run(COMMAND, capture_output=True, text=True)
            seconds = time.monotonic() - start
            longest_s = max(longest_s, seconds)
            verdict = "passed" if done.returncode == 0 else "failed"
            outcomes[verdict] += 1
            print(f"run {number} of {runs}: {verdict} in {seconds:.1f} s", flush=True)
            if verdict == "failed":
                print(done.stdout, done.stderr, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    print(f"{outcomes['passed']} runs passed, {outcomes['failed']} failed, the longest took {longest_s:.1f} s,")
    print(f"beside {len(loops)} busy loops")
    return 0 if outcomes["passed"] == runs else 1


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].isdigit() or int(sys.argv[1]) == 0:
        sys.exit("usage: python -m tests.stress RUNS (a whole number, 1 or more). Hint: make stress N=50")
    sys.exit(main(int(sys.argv[1])))
