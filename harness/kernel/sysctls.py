"""sysctls of the network namespace that the calling process is in; nothing of the host can be reached from here."""

import difflib
import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import LabError, LabUnavailable

_ROOT = Path("/proc/sys")
_KEY = re.compile(r"net(\.[A-Za-z0-9_-]+)+")
_NO_SUCH_KEY = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of a sysctl.d file. `optional` (a leading `-`) forgives a key that this kernel does not have."""

    key: str
    value: str
    optional: bool = False


def parse(text: str, source: str) -> list[Setting]:
    """The settings in sysctl.d(5) syntax: `key = value`, comments with `#` and `;`. LabError names the line."""
    settings = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise LabError(f"{source}, line {number}: no '=' in {line!r}. Mend: write `key = value`")
        key = key.strip()
        settings.append(Setting(key.removeprefix("-").strip(), value.strip(), key.startswith("-")))
    return settings


def reference_profile() -> list[Setting]:
    """The settings that scenarios run under."""
    path = Path(__file__).parent.parent / "profiles" / "reference.conf"
    return parse(path.read_text(), path.name)


def read(key: str) -> str:
    """The value in force, its fields separated by single spaces. LabError where there is no such key."""
    try:
        return " ".join(_path(key).read_text().split())
    except _NO_SUCH_KEY:
        raise _unknown(key) from None
    except OSError as error:
        raise LabError(f"sysctl {key} cannot be read ({_name(error)}). Mend: leave it out") from None


def write(setting: Setting) -> bool:
    """Set one key; False where it is optional and absent. LabError: unknown, read-only, or the value is refused."""
    try:
        # The profile has 40 lines, and a file object would cost four times this.
        fd = os.open(_path(setting.key), os.O_WRONLY)
        try:
            os.write(fd, f"{setting.value}\n".encode())
        finally:
            os.close(fd)
    except _NO_SUCH_KEY:
        if setting.optional:
            return False
        raise _unknown(setting.key) from None
    except OSError as error:
        if error.errno == errno.EROFS:
            raise LabUnavailable("/proc/sys is read-only here", "docker run --privileged, or run as root") from None
        if error.errno == errno.EINVAL:
            mend = "give a value inside the range that the kernel documents (ip-sysctl.rst)"
        else:
            mend = "the key is read-only in a network namespace; leave it out"
        raise LabError(
            f"the kernel refuses {setting.key} = {setting.value!r} ({_name(error)}); in force: {read(setting.key)}. "
            f"Mend: {mend}"
        ) from None
    return True


def _path(key: str) -> Path:
    if not _KEY.fullmatch(key):
        raise LabError(
            f"{key!r} is no sysctl of a network namespace. Mend: name a key that begins with 'net.'; "
            "other keys are the host's, and the lab never touches the host"
        )
    return _ROOT / key.replace(".", "/")


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "?")


def _unknown(key: str) -> LabError:
    near = difflib.get_close_matches(key, _known(_path(key).parent), 1, 0.6)
    hint = f"did you mean {near[0]}?" if near else "see `sysctl -a --pattern '^net'` for the names"
    return LabError(f"this kernel has no sysctl {key} in a network namespace. Mend: {hint}")


def _known(folder: Path) -> Iterator[str]:
    if folder.is_dir():
        yield from (".".join(path.relative_to(_ROOT).parts) for path in folder.iterdir())
