"""The one family of errors. Each message names the problem and, after "Hint:", the remedy."""


class LabError(Exception):
    """The lab cannot do what it was asked to do; the message names the remedy."""


class LabUnavailable(LabError):
    """This machine lacks an ability that the scenario needs: the test is skipped, or fails under `--lab-strict`."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what}. Hint: {hint}")
        self.what = what
        self.hint = hint

    def __reduce__(self) -> tuple[type["LabUnavailable"], tuple[str, str]]:
        return LabUnavailable, (self.what, self.hint)


def unwritable(path: object, error: OSError, other: str = "file") -> LabError:
    """The error for an output file or folder that cannot be written."""
    return LabError(f"{path} cannot be written: {error.strerror or error}. Hint: name another {other}")


ASSERTS_ARE_NEEDED = "PYTHONOPTIMIZE (or python -O) removes asserts, and this program depends on them. Hint: unset it"


class UnknownSysctl(LabError):
    """This kernel has no such key in a network namespace."""


class ReadOnlySysctl(LabError):
    """The key exists, but cannot be written in a network namespace."""


class SharedSysctl(LabError):
    """The key exists, but is not known to belong to a network namespace: writing it might change the host."""


class RefusedValue(LabError):
    """The kernel refuses this value for this key."""


class NotOfANetwork(LabError):
    """The key does not belong to a network namespace: it is a key of the host, or does not exist."""


class Inconclusive(LabError):
    """The evidence is incomplete (segments were lost), so the test can neither pass nor fail."""


class NotMeasured(LabError):
    """Under the current sysctls, measuring this needs more time, or more resources, than this run may use."""


class ExpectationFailed(LabError, AssertionError):
    """The kernel did something else: the message has what was expected, what was last seen, and the time waited."""
