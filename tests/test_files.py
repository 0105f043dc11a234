"""Files are written completely or not at all, and older ones stay: on a full disk, without rights, if interrupted."""

import os
import re
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.errors import LabError
from harness.output import files
from harness.runs import record
from harness.story.timeline import Timeline
from harness.views import artifacts
from tests.playing import AS_ROOT_OF_A_USER_NAMESPACE, ROOT, clean_environment

OLD, NEW = "old " * 400, "new " * 2_000

AS_AN_ORDINARY_USER = AS_ROOT_OF_A_USER_NAMESPACE.replace('f"0 {uid} 1"', 'f"1000 {uid} 1"')
"""The same beginning, but as user 1000, and programs that it executes have no capabilities."""

ON_A_SMALL_DISK = """
libc = ctypes.CDLL(None, use_errno=True)

def mount(source, target, kind, flags, options):
    arguments = [each and each.encode() for each in (source, target, kind)]
    assert libc.mount(*arguments, flags, options and options.encode()) == 0, os.strerror(ctypes.get_errno())

mount("none", sys.argv[1], "tmpfs", 0, "size=16k,mode=1777")
disk = Path(sys.argv[1])

def fill():
    try:
        (disk / "filler").write_bytes(bytes(1 << 20))
    except OSError as error:
        assert error.errno == 28, error
"""
"""Mounts a file system of four pages on the given folder, in a new mount namespace; fill() fills it up."""


def run_script(source: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", source, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=clean_environment())


USERS = pytest.mark.parametrize("user", [AS_ROOT_OF_A_USER_NAMESPACE, AS_AN_ORDINARY_USER], ids=["root", "user"])


@USERS
def test_on_a_full_disk_the_older_file_stays_whole(tmp_path: Path, user: str) -> None:
    done = run_script(f"""{user}{ON_A_SMALL_DISK}
from harness.output import files
from harness.errors import LabError
files.write(disk / "kept", {OLD!r})
fill()
try:
    files.write(disk / "kept", {NEW!r})
except LabError as error:
    print(error)
print((disk / "kept").read_text() == {OLD!r}, sorted(os.listdir(disk)))
""", tmp_path)  # fmt: skip
    line = f"{tmp_path}/kept cannot be written: No space left on device. Hint: name another file"
    assert done.stdout == f"{line}\nTrue ['filler', 'kept']\n", done.stderr


STORY = "def test_it(lab): pass\n"


@USERS
@pytest.mark.parametrize(
    ("option", "name", "complaint"),
    [("--lab-save={}/x.json", "x.json", "--lab-save: {}/x.json cannot"),
     ("--lab-report={}", "index.html", "--lab-report: {} cannot"),
     ("--lab-artifacts={}", "x.json", "--lab-artifacts: {} cannot")],
)  # fmt: skip
def test_a_full_disk_ends_a_run_with_one_line_and_its_summary(
    tmp_path: Path, user: str, option: str, name: str, complaint: str
) -> None:
    (disk := tmp_path / "disk").mkdir()
    (tmp_path / "story.py").write_text(STORY)
    (tmp_path / "run").mkdir(mode=0o777)
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path),
               "-p", "harness.pytest_plugin", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/run/t",
               str(tmp_path / "story.py"), option.format(disk)]  # fmt: skip
    done = run_script(f"""{user}{ON_A_SMALL_DISK}
(disk / {name!r}).write_text({OLD!r})
fill()
done = subprocess.run({command!r})
print("status", done.returncode, (disk / {name!r}).read_text() == {OLD!r}, len(os.listdir(disk)))
""", disk)  # fmt: skip
    assert f"{complaint.format(disk)} be written: No space left on device. Hint: name another" in done.stdout, done
    assert "1 as expected" in done.stdout
    assert "1 passed" in done.stdout
    assert done.stdout.endswith("status 1 True 2\n"), done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_device_is_written_into_and_never_replaced(tmp_path: Path) -> None:
    """As root of a mount namespace in which the folder contains a node like /dev/null, a bind mount of it."""
    done = run_script(f"""{AS_ROOT_OF_A_USER_NAMESPACE}
from harness.output import files
libc = ctypes.CDLL(None)
null = Path(sys.argv[1], "null")
null.touch()
assert libc.mount(b"/dev/null", bytes(null), None, 4096, None) == 0
before = os.stat(null)
for _ in range(2):
    files.check(null)
    files.write(null, "words")
print(os.stat(null).st_rdev == before.st_rdev, os.listdir(null.parent))
""", tmp_path)  # fmt: skip
    assert done.stdout == "True ['null']\n", done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could remove a device")
def test_root_does_not_lose_a_device(tmp_path: Path) -> None:
    """A real device node in a temporary /dev, whose user could unlink it."""
    node = tmp_path / "null"
    done = run_script(f"""
import ctypes, os, stat, subprocess, sys
from pathlib import Path
from harness.kernel import namespace
namespace.unshare(namespace.CLONE_NEWNS)
libc = ctypes.CDLL(None)
assert libc.mount(b"none", b"/", None, 0x44000, None) == 0  # MS_REC | MS_PRIVATE
assert libc.mount(b"none", {bytes(tmp_path)!r}, b"tmpfs", 0, None) == 0
os.mknod({str(node)!r}, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
Path({str(tmp_path)!r}, "story.py").write_text("def test_it(lab): pass")
link = Path({str(tmp_path)!r}, "link.json")
link.symlink_to("null")
command = [sys.executable, "-m", "pytest", "-c", {str(ROOT / "pyproject.toml")!r}, "--rootdir", {str(tmp_path)!r},
    "-p", "harness.pytest_plugin", "-p", "no:cacheprovider", {str(tmp_path / "story.py")!r}]
for name in ({str(node)!r}, str(link)):
    done = subprocess.run([*command, f"--lab-save={{name}}"], stdout=subprocess.DEVNULL)
    print(done.returncode, stat.S_ISCHR(os.stat({str(node)!r}).st_mode), link.is_symlink())
""")
    assert done.stdout == "0 True True\n" * 2, done.stdout + done.stderr


def test_a_replaced_file_keeps_its_mode_a_new_one_uses_the_umask(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.touch()
    old.chmod(0o640)
    before = os.umask(0o027)
    try:
        for path in (old, new):
            files.write(path, "words")
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (old, new)] == [0o640, 0o640]
    old.chmod(0o604)
    files.write(old, b"more")
    assert (stat.S_IMODE(old.stat().st_mode), old.read_text()) == (0o604, "more")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_what_is_replaced_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.touch()
    os.chown(path, 65534, 12345)
    path.chmod(0o660)
    files.write(path, "words")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (65534, 12345, 0o660)


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "folder" / "target"
    target.parent.mkdir()
    link.symlink_to("folder/target")
    for words in ("first", "second"):  # first to a new file, then to an existing one
        files.check(link)
        files.write(link, words)
        assert (link.is_symlink(), target.read_text(), os.listdir(target.parent)) == (True, words, ["target"])


def test_a_read_only_file_is_not_replaced_in_a_writable_folder(tmp_path: Path) -> None:
    """Root may write any file; an ordinary user of a user namespace may not."""
    done = run_script(f"""{AS_AN_ORDINARY_USER}
os.execv(sys.executable, [sys.executable, "-c", '''
import os, sys
from pathlib import Path
from harness.output import files
from harness.errors import LabError
path = Path(sys.argv[1], "kept")
path.write_text("old")
path.chmod(0o444)
for tried in (files.check, lambda path: files.write(path, "new")):
    try:
        tried(path)
    except LabError as error:
        print(error)
print(path.read_text(), os.listdir(path.parent))
''', sys.argv[1]])
""", tmp_path)  # fmt: skip
    line = f"{tmp_path}/kept cannot be written: Permission denied. Hint: name another file\n"
    assert done.stdout == line * 2 + "old ['kept']\n", done.stderr


def test_a_fifo_is_written_once_and_its_reader_not_woken_before(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    files.check(fifo)
    files.write(fifo, "words")
    reader.join(30)
    assert (read, stat.S_ISFIFO(fifo.stat().st_mode)) == ([b"words"], True)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_the_standard_output_is_appended_to(tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    out = tmp_path / "out"
    script = (
        "import sys; from pathlib import Path; from harness.output import files; print('before');"
        "files.check(Path(sys.argv[1])); files.write(Path(sys.argv[1]), 'words\\n'); print('after')"
    )
    with out.open("wb") as file:
        subprocess.run([sys.executable, "-c", script, str(tmp_path / name)], stdout=file, cwd=ROOT, check=True)
    assert out.read_text() == "before\nwords\nafter\n"
    assert sorted(os.listdir(tmp_path)) == ["link", "out"]


def test_a_full_device_is_an_error() -> None:
    files.check(Path("/dev/full"))
    with pytest.raises(LabError, match=r"/dev/full cannot be written: No space left on device. Hint: "):
        files.write(Path("/dev/full"), "words")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_vanished_folder_is_made_again_or_is_an_error(tmp_path: Path) -> None:
    files.write(tmp_path / "a" / "b" / "c", "words")
    assert (tmp_path / "a" / "b" / "c").read_text() == "words"
    with pytest.raises(LabError, match=r"cannot be written: Not a directory. Hint: name another file"):
        files.write(tmp_path / "a" / "b" / "c" / "d", "words")
    with pytest.raises(LabError, match="cannot be written: Is a directory"):
        files.write(tmp_path / "a", "words")


def test_an_interrupt_in_the_middle_leaves_the_older_file_alone(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "kept"
    files.write(path, "old")
    monkeypatch.setattr(os, "fsync", lambda fd: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        files.write(path, "new")
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["kept"])


def test_looking_whether_a_file_may_be_written_changes_nothing(tmp_path: Path) -> None:
    there, link = tmp_path / "empty", tmp_path / "link"
    there.touch()
    link.symlink_to("nowhere")
    for path in (there, link, tmp_path / "new", tmp_path / "folder" / "new"):
        files.check(path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["empty", "link"]


NAMES = [
    "a/x.py::test_y[tcp/ip]", "a/x.py::test_y[ip]", "a/x.py::test_y[tcp-ip]", "b/x.py::test_y[ip]",
    "a/x.py::test_Y[ip]", "a/x.py::test_y_ip", "con.py::test_y", "-x.py::test_y[$(reboot) *?;|&<>\"'`\n]",
    "x.py::test_y[中文]", "x.py::test_y[]",
    "x.py::test_y[" + "long" * 500 + "1]", "x.py::test_y[" + "long" * 500 + "2]", "x.py::test_y[../../up]", "..",
]  # fmt: skip


def test_the_files_of_every_story_have_names_of_their_own(tmp_path: Path) -> None:
    written = [artifacts.write(Timeline(0), tmp_path, name, "passed", "", "reference") for name in NAMES]
    assert written == [artifacts.write(Timeline(0), tmp_path, name, "passed", "", "reference") for name in NAMES]
    names = [path.name for paths in written for path in paths]
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    assert len({name.lower() for name in names}) == 3 * len(NAMES)  # Windows and macOS treat both as the same
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*\.(pcapng|mmd|json)", name)
        assert len(name) <= 143
        assert name.partition(".")[0].lower() not in ("con", "prn", "aux", "nul")
    assert names[0].startswith("x_test_y_tcp_ip-")


def test_two_workers_with_the_same_story_write_separate_files(tmp_path: Path) -> None:
    for worker in ("gw0", "gw1"):
        artifacts.write(Timeline(0), tmp_path, "x.py::test_y", "passed", "", "reference", worker)
    assert len(os.listdir(tmp_path)) == 6


def test_a_record_that_cannot_be_saved_leaves_the_older_one(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "x.json"
    record.save(record.Run("6.18", "kernel", {}, ()), path)
    old = path.read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LabError, match=r"x.json cannot be written: No space left on device. Hint: "):
        record.save(record.Run("6.18", "host", {}, ()), path)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (old, ["x.json"])
