"""Scenarios broken on purpose: for each test, a change of its story after which it must fail. One file per scenario.

A mutant shows that a test can fail. It must fail an expectation: an assert, or a verb that expects something
(expect_wire, expect_states, fail_with, ...). So change what happens: leave out the close(), read one byte less, set the
other value of a sysctl. Do not rename or remove a step, and do not break the program: a test that waits for a step that
is gone, or whose role dies of a NameError, fails whatever the kernel does, and so proves nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """After `old`, which occurs once in the scenario, is replaced by `new`, `test` must fail an expectation."""

    test: str
    """The test's name, with its parameters if it has any: "test_it[1-CLOSED]"."""

    old: str
    new: str
