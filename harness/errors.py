"""The one family of errors. Each message says what was wrong and how to mend it."""


class LabError(Exception):
    """The lab was asked for something that it cannot do as asked; the message names the mend."""


class LabUnavailable(LabError):
    """This machine lacks an ability that the scenario needs. pytest skips; `--lab-strict` fails."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what}. Hint: {mend}")
        self.what = what
        self.mend = mend

    def __reduce__(self) -> tuple[type["LabUnavailable"], tuple[str, str]]:
        return LabUnavailable, (self.what, self.mend)


def unwritable(path: object, error: OSError, other: str = "file") -> LabError:
    """What is said of a file, or of a folder, that was asked for and cannot be had."""
    return LabError(f"{path} cannot be written: {error.strerror or error}. Hint: name another {other}")


ASSERTS_ARE_NEEDED = "PYTHONOPTIMIZE, or python -O, leaves out the asserts that this program is made of. Hint: unset it"


class UnknownSysctl(LabError):
    """This kernel has no such key in a network namespace."""


class ReadOnlySysctl(LabError):
    """The key is there, and cannot be written in a network namespace."""


class SharedSysctl(LabError):
    """The key is there, but is not known to belong to a network namespace: writing it might change the host."""


class RefusedValue(LabError):
    """The kernel does not take this value for this key."""


class NotOfANetwork(LabError):
    """The key is not of a network namespace: it is the host's, or none."""


class Inconclusive(LabError):
    """The evidence has a hole (segments were lost), so neither yes nor no would be honest."""


class NotMeasured(LabError):
    """Under the sysctls in force the kernel would take longer (or it would take more) than this run may spend."""


class ExpectationFailed(LabError, AssertionError):
    """The kernel showed something else: expected, last seen, for how long."""
