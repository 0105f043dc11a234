"""What no test misses, and why it stays all the same. `make ablate` reports an entry that no longer holds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unmissed:
    """A piece of a scenario by its function and its text, as tests/cuts.py has it."""

    scenario: str
    function: str
    text: str
    why: str

    @property
    def key(self) -> tuple[str, str, str]:
        """The key of the cut that it explains."""
        return self.scenario, self.function, self.text


UNMISSED: list[Unmissed] = []
