"""How long to wait for the kernel's timers: the default of `--lab-max-wait`, its bounds, and what exceeds it.

`--lab-max-wait S` (`--max-wait S` of whatif) sets another limit. The plugin checks it, gives it to each lab, and
extends pytest-timeout's limit to match. A timer above the limit is not measured.
"""

from typing import TYPE_CHECKING

from harness.errors import LabError

if TYPE_CHECKING:  # every command imports this for its options
    from harness.predict.timers import Interval

DEFAULT_MAX_WAIT_S = 10.0
"""The longest kernel timer, in seconds, that a run waits for by default."""

_LONGEST_MAX_WAIT_S = 7 * 24 * 3600.0
"""A longer limit than a week is a mistake."""

_TIMERS_A_STORY = 3
"""The most timers that a story waits for, one after the other."""


def check_max_wait(option: str, seconds: float) -> None:
    """LabError, naming the option, unless `seconds` is above 0 and at most a week."""
    if not 0 < seconds <= _LONGEST_MAX_WAIT_S:  # nor nan
        raise LabError(
            f"{option} {seconds:g}: a timer cannot be waited for that long. "
            f"Hint: give more than 0 seconds and at most a week ({_LONGEST_MAX_WAIT_S:g})"
        )


def exceeds(interval: "Interval", max_wait_s: float) -> str:
    """Why this run does not wait for a timer: that it takes longer than `max_wait_s`; else empty."""
    return f"longer than the {max_wait_s:g} s of --lab-max-wait" if interval.at_least_s > max_wait_s else ""


def more_time_s(max_wait_s: float) -> float:
    """Seconds that a story may take beyond the default, if it waits for timers of up to `max_wait_s`."""
    return max(0.0, _TIMERS_A_STORY * (max_wait_s - DEFAULT_MAX_WAIT_S))
