"""How long a runnable process waited for a processor, by the scheduler's own count in /proc/PID/schedstat.

Documentation/scheduler/sched-stats.rst: time running, time waiting on a run queue (both in nanoseconds), time slices.
"""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Gap:
    """The seconds that `who` waited for a processor, and `when`, as the rest of a sentence."""

    seconds: float
    who: str
    when: str

    def __str__(self) -> str:
        return f"{self.who} waited {self.seconds:.3f} s for a processor {self.when}"


def is_counted() -> bool:
    """Whether this kernel counts (CONFIG_SCHED_INFO): this process has run, so all zeros mean that it does not."""
    try:
        return any(map(int, Path("/proc/self/schedstat").read_text().split()))
    except (OSError, ValueError):
        return False


class RunDelay:
    """The waits of one process's main thread ("self": the caller). They stay readable until the process is reaped."""

    def __init__(self, pid: int | str) -> None:
        try:
            self._fd = os.open(f"/proc/{pid}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # it has ended already, or the kernel does not count (CONFIG_SCHED_INFO)
            self._fd = -1
        self._before_ns = 0
        self.lap_s()

    def lap_s(self) -> float:
        """Seconds waited since the last call; 0 if the kernel does not count, or the process is gone."""
        try:
            now_ns = int(os.pread(self._fd, 100, 0).split()[1]) if self._fd >= 0 else 0
        except (OSError, IndexError):
            return 0.0
        waited_ns, self._before_ns = now_ns - self._before_ns, now_ns
        return max(0.0, waited_ns / 1e9)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
