"""The policy on waiting for the kernel's timers: the default of `--lab-max-wait`, its bounds, and what exceeds it.

`--lab-max-wait S` (`--max-wait S` of whatif) sets another limit. The plugin checks it, gives it to each lab, and lets
pytest-timeout wait as much longer. A timer above the limit is not measured.
"""

from typing import TYPE_CHECKING

from harness.errors import LabError

if TYPE_CHECKING:  # every command imports this for its options
    from harness.predict.timers import Interval

DEFAULT_MAX_WAIT_S = 10.0
"""The longest kernel timer that a run waits for, if nobody asks for another limit."""

_LONGEST_MAX_WAIT_S = 7 * 24 * 3600.0
"""A longer limit than a week is a mistake."""

_WAITS_A_STORY = 3
"""So many timers, one after the other, a story waits for at most."""


def check_max_wait(option: str, seconds: float) -> None:
    """LabError if `seconds` is not a limit that somebody can mean; it names the option."""
    if not 0 < seconds <= _LONGEST_MAX_WAIT_S:  # nor nan
        raise LabError(
            f"{option} {seconds:g}: no time to wait for a timer. "
            f"Hint: give more than 0 seconds, and at most a week ({_LONGEST_MAX_WAIT_S:g})"
        )


def exceeds(interval: "Interval", max_wait_s: float) -> str:
    """Why a timer is not waited for, if it takes longer than this run waits; else empty."""
    return f"longer than the {max_wait_s:g} s of --lab-max-wait" if interval.at_least_s > max_wait_s else ""


def more_time_s(max_wait_s: float) -> float:
    """How much longer than by default a story may take, in seconds, if it waits for timers of up to `max_wait_s`."""
    return max(0.0, _WAITS_A_STORY * (max_wait_s - DEFAULT_MAX_WAIT_S))
