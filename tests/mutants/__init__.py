"""Scenarios broken on purpose: for each test, a change to its story after which it must fail. One file a scenario."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """Where `old` (it stands in the scenario once) has become `new`, `test` must be red."""

    test: str
    old: str
    new: str
