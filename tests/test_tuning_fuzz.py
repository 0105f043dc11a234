"""The readers against anything: 10,000 texts, and every one is read or refused with its places."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.tuning import scripts, sysctl_d, yaml_documents
from harness.tuning.lines import Found, Malformed, Place, shown, wrong_with

CASES = 10_000
_PIECES = [
    "net.ipv4.tcp_sack", "=", " ", "\n", "-", "#", ";", "/", ".", "..", "*", "[", "]", "?", "1", "\t", "\r", "\\", "'",
    '"', "$", "`", "|", ">", "<", "&", "(", ")", "{", "}", ":", ",", "\0", "\x1b", "é", "\u2028", "\ud800", "!", "%",
]  # fmt: skip
_SHELL = [
    "sysctl", "-w", "echo", "tee", "/proc/sys/", "sudo", "sh -c", "docker", "--sysctl", "printf", "2>", "-p", "cp",
    "/etc/sysctl.d/", "sysctl.conf", "A=", "$A",
]  # fmt: skip
_YAML = [
    "sysctls", "sysctl", "ansible.posix.sysctl", "name", "value", "loop", "- ", "  ", ": ", "&a", "*a", "{{ item }}",
    "{{ item.x }}", "---\n", "state", "absent", "|", "<<", "action: ", "args", "dest", "content",
    "!!python/object:os.system", "!!int", "'\\x00'", "? ", "%YAML 9", "/etc/sysctl.conf", "dest=", "path=",
    "net.core.x=1",
]  # fmt: skip


def texts(*words):
    return st.text() | st.lists(st.sampled_from([*_PIECES, *words]), max_size=40).map("".join)


def each_is_read_or_refused(number):
    return settings(max_examples=number, derandomize=True, deadline=None, database=None)


def is_sound(found, text):
    for line in found.lines:
        assert wrong_with(line.key, line.value) == ""
        assert 1 <= line.line <= text.count("\n") + text.count("\r") + 1
        assert line.column >= 1
    assert all(isinstance(place, Place) and place.why and str(place).isprintable() for place in found.troubles)


@given(texts())
@each_is_read_or_refused(CASES * 4 // 10)
def test_sysctl_d(text):
    file = sysctl_d.SysctlD()
    file.read(text, "a.conf")
    file.lines()
    is_sound(file.found, text)
    if file.found.troubles:
        assert "a.conf:" in str(Malformed(file.found.troubles))


@given(texts(*_SHELL))
@each_is_read_or_refused(CASES * 3 // 10)
def test_scripts(text):
    found = Found()
    scripts.read(text, "a.sh", found)
    is_sound(found, text)


_DOUBLING = "- sysctl: {name: a.b, value: '" + "{{item}}" * 40 + "'}\n  loop: ['{{item}}{{item}}']\n"
_ALIASES = "- &a [" + "x, " * 10_000 + "]\n" + "- sysctl: {name: 'a.{{item}}', value: 1}\n  loop: *a\n" * 100


@example(_DOUBLING)
@example(_ALIASES)
@given(texts(*_YAML).map("sysctls: ".__add__))
@each_is_read_or_refused(CASES * 3 // 10)
def test_manifests(text):
    found = Found()
    yaml_documents.read(text, "a.yml", found)
    is_sound(found, text + "\u2028" * 9 + "\n" * 9)


@given(st.text())
@each_is_read_or_refused(100)
def test_whatever_is_shown_does_nothing_to_a_terminal(text):
    assert shown(text).isprintable()
