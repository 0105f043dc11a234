"""The readers with many texts: what they read is correct, and what they cannot read is reported.

Each reader gets 10,000 texts of random characters and words. For the texts that this file generates (500 for each
format), the expected settings and places are known from the generator.
FUZZ_CASES in the environment sets another number of texts for every test.
"""

import json
import os
import random

import pytest

from harness.sysctl_files import formats, sysctl_d
from harness.sysctl_files.lines import Found, Malformed, Place, overruled, shown, wrong_with


def cases(default):
    return int(os.environ.get("FUZZ_CASES", default))


CASES = cases(500)
LINE_ENDS = {"sysctl.d": "\n\r", "shell": "\n", "TOML": "\n", "INI": "\n"}
"""The line ends of each format; YAML, and JSON, which is read as YAML, have more."""
YAML_LINE_ENDS = "\n\r\x85\u2028\u2029"
_PIECES = [
    "net.ipv4.tcp_sack", "=", " ", "\n", "-", "#", ";", "/", ".", "..", "*", "[", "]", "?", "1", "\t", "\r", "\\", "'",
    '"', "$", "`", "|", ">", "<", "&", "(", ")", "{", "}", ":", ",", "\0", "\x1b", "é", "\u2028", "\ud800", "!", "%",
]  # fmt: skip
_SHELL = [
    "sysctl", "-w", "echo", "tee", "/proc/sys/", "sudo", "sh -c", "docker", "--sysctl", "printf", "2>", "-p", "cp",
    "/etc/sysctl.d/x.conf", "sysctl.conf", "A=", "$A", "${A:-1}", "cat", "<<E", "\nE\n", "--system", "$(", "awk",
    "%s\\n",
    "net.core.x=1", "if true; then", "fi", "f() {\n", "\n}\n",
]  # fmt: skip
_YAML = [
    "sysctls", "sysctl", "ansible.posix.sysctl", "name", "value", "loop", "- ", "  ", ": ", "&a", "*a", "{{ item }}",
    "{{ item.x }}", "---\n", "state", "absent", "|", "<<", "action: ", "args", "dest", "content",
    "!!python/object:os.system", "!!int", "'\\x00'", "? ", "%YAML 9", "/etc/sysctl.conf", "dest=", "path=",
    "net.core.x=1", "sysctl.present", "systemControls", "namespace", "containers", "image", "command", "hostNetwork",
    "sysctl -w net.core.x=1", "vars", "{{ a | dict2items }}", "with_dict", "write_files", "|\n  net.core.x=1\n",
    "[sysctl]\n", "net", "ipv4", "tcp_sack", "${A:-1}", "vm.swappiness", "default_sysctls",
]  # fmt: skip
_JSON = [
    '"sysctls"', '"net.ipv4.tcp_sack"', '"name"', '"value"', "{", "}", "[", "]", ":", ",", '"1"', "1", "null", "true",
    "\t", "\\u0041", '"systemControls"', '"namespace"', '"net.core.x=1"', "//", "1e999", "-",
]  # fmt: skip
_TOML = [
    "[sysctl]\n", "[a.b]\n", "[[a]]\n", '"net.ipv4.tcp_sack" = ', "net.ipv4.tcp_sack = ", '"1"\n', "1\n", "[", "]", ",",
    "default_sysctls = [", '"net.core.x=1"', "{", "}", "'''", '"""', "true\n", "1979-05-27", "0x", "=", ".", "#",
]  # fmt: skip
_INI = [
    "[sysctl]\n", "[variables]\n", "[Container]\n", "[Service]\n", "Sysctl=", "ExecStart=", "net.core.x=", "${a}",
    "a=1\n",
    "1\n", "\\\n", "  ", ">", '"', "sysctl -w net.core.x=1", "-", "@", "%i", "type=sysctl\n", "#", ";",
]  # fmt: skip
_DOUBLING = "- sysctl: {name: a.b, value: '" + "{{item}}" * 40 + "'}\n  loop: ['{{item}}{{item}}']\n"
_ALIASES = "- &a [" + "x, " * 10_000 + "]\n" + "- sysctl: {name: 'a.{{item}}', value: 1}\n  loop: *a\n" * 100


_ANY = [*map(chr, range(0x250)), "\u2028", "\u3000", "\u4e2d", "\ufeff", "\uffff", "\U0001f600", "\U0010ffff"]


def texts(number, *words, begin=("",)):
    """The same texts each time: alternately of any characters and of the readers' own words.

    Hypothesis would take ten times as long to make a text as a reader takes to read it.
    """
    pieces = [*_PIECES, *words]
    chance = random.Random(f"{number} {words}")
    for count in range(number):
        some = _ANY if count % 2 else pieces
        text = "".join(chance.choices(some, k=chance.randrange(chance.choice([4, 12, 41]))))
        yield chance.choice(begin) + text


def by_name(name):
    return next(each for each in formats.FORMATS if each.name == name)


def read(name, text):
    """The result of one reader for a text."""
    found = Found()
    if name == "sysctl.d":
        file = sysctl_d.SysctlD()
        file.read(text, "a.conf")
        found.lines, found.troubles = overruled(file.lines()), file.found.troubles
    else:
        by_name(name).read(text, "a.conf", found)
    return found


def expect_sound(name, text):
    found = read(name, text)
    last_line = 1 + sum(map(text.count, LINE_ENDS.get(name, YAML_LINE_ENDS)))
    for line in found.lines:
        assert wrong_with(line.key, line.value) == ""
        assert line.source == "a.conf"
        assert 1 <= line.line <= last_line
        assert line.column >= 1
    for place in found.troubles:
        assert isinstance(place, Place)
        assert place.why
        assert str(place).isprintable()
        assert str(place).startswith("a.conf:")
        assert 0 <= place.line <= last_line
    if found.troubles:
        told = str(Malformed(found.troubles, found.lines))
        assert told.startswith("a.conf:")
        assert "Hint:" in told


def test_sysctl_d():
    for text in texts(cases(10_000)):
        expect_sound("sysctl.d", text)


def test_scripts():
    for text in texts(cases(10_000), *_SHELL):
        expect_sound("shell", text)


def test_yaml():
    for text in (
        "sysctls: " + _DOUBLING,
        "sysctls: " + _ALIASES,
        *texts(cases(10_000), *_YAML, begin=("", "sysctls: ")),
    ):
        expect_sound("YAML", text)


def test_json():
    for text in texts(cases(10_000), *_JSON, begin=("", '{"sysctls": ')):
        expect_sound("JSON", text)


def test_toml():
    for text in texts(cases(10_000), *_TOML):
        expect_sound("TOML", text)


def test_ini():
    for text in texts(cases(10_000), *_INI, begin=("", "[sysctl]\n")):
        expect_sound("INI", text)


def test_every_text_has_a_format():
    names = ["a", "a.conf", "a.yml", "a.json", "a.toml", "a.j2", "a.rb"]
    for number, text in enumerate(texts(cases(10_000), *_YAML, *_SHELL, *_TOML, *_INI)):
        # A name for each pair of texts: one of any characters, one of words.
        name = names[number // 2 % len(names)]
        format = formats.format_of(name, text)
        assert format in formats.FORMATS
        for at, why in (formats.foreign(name, text, format), formats.template(text)):
            assert 0 <= at <= len(text)
            assert not why or "Hint:" in why


def test_output_never_contains_control_characters():
    for text in texts(cases(500)):
        assert shown(text).isprintable()


class Written:
    """A text and the settings that its generator has put into it: (key, value, line)."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.lines, self.settings = [], []
        self._names = 0

    def name(self):
        """An unused name, so that no setting overrides another."""
        self._names += 1
        stem = self.random.choice(["net.ipv4.tcp_", "net.core.", "vm.", "kernel.", "fs.", "net.netfilter.nf_"])
        return f"{stem}made_up_{self._names}"

    def value(self):
        return self.random.choice(["1", "0", "-1", "4096 87380 6291456", "65535", "reno"])

    def number(self):
        return self.random.choice(["1", "0", "65535", "4096 87380"])

    def add(self, line, *settings):
        self.lines.append(line)
        self.settings += [(key, value, len(self.lines)) for key, value in settings]

    @property
    def text(self):
        return "\n".join(self.lines) + "\n"


def a_sysctl_d(seed):
    file = Written(seed)
    for _ in range(file.random.randrange(1, 12)):
        key, value = file.name(), file.value()
        kind = file.random.randrange(6)
        if kind == 0:
            file.add(file.random.choice(["# a = b", "", "; c = d", "   "]))
        elif kind == 1:
            file.add(f"  -{key.replace('.', '/')} ={value}  ", (key, value))
        else:
            file.add(f"{key}{file.random.choice([' = ', '=', ' =', chr(9) + '= '])}{value}", (key, value))
    return file


def _sysctl_w(file, key, value, path):
    file.add(f"sudo sysctl -qw '{key}={value}' >/dev/null", (key, value))


def _echo(file, key, value, path):
    file.add(f"echo {value} > {path}", (key, value))


def _tee(file, key, value, path):
    file.add(f"printf '%s\\n' '{value}' | sudo tee {path} >/dev/null", (key, value))


def _sh_c(file, key, value, path):
    file.add(f"sh -c \"echo '{value}' > {path}\"", (key, value))


def _docker(file, key, value, path):
    file.add(f"docker run --rm --sysctl '{key}={value}' -p 80:80 image true", (key, value))


def _here_document(file, key, value, path):
    file.add(f"cat {file.random.choice(['>', '>>'])} /etc/sysctl.d/9.conf <<'E'")
    for _ in range(file.random.randrange(4)):
        key, value = file.name(), file.value()
        file.add(f"{key} = {value}", (key, value))
    file.add("E")
    file.add("sysctl -p /etc/sysctl.d/9.conf")


def _default(file, key, value, path):
    number = file.number().split()[0]
    file.add(f"sysctl -w {key}=${{N:-{number}}}", (key, number))


def _variable(file, key, value, path):
    file.add(f"V{len(file.lines)}='{value}'")
    file.add(f'sysctl -w {key}="$V{len(file.lines) - 1}"', (key, value))


def _append(file, key, value, path):
    file.add(f"echo '{key}={value}' | tee -a /etc/sysctl.conf", (key, value))


def _a_read(file, key, value, path):
    reads = (f"x=`cat {path}`", f"y=$(<{path})", f"awk '{{print}}' {path}", f"cp {path} /tmp", f"diff {path} /tmp/x",
             f"sysctl -n {key}", f"echo 'sysctl -w {key}=1'", f"[ -f {path} ] || true",
             f"sed -n 1p {path}")  # fmt: skip
    file.add(file.random.choice(reads))


_COMMANDS = (
    _sysctl_w, _echo, _tee, _sh_c, _docker, _here_document, _default, _variable, _append, _a_read
)  # fmt: skip


def a_script(seed):
    file = Written(seed)
    file.add(file.random.choice(["#!/bin/sh", "set -e", "# sysctl -w a.b=1"]))
    for _ in range(file.random.randrange(1, 10)):
        key = file.name()
        file.random.choice(_COMMANDS)(file, key, file.value(), f"/proc/sys/{key.replace('.', '/')}")
    return file


class Structure:
    """A tree with settings, as in real files."""

    def __init__(self, file):
        self.file, self.wanted = file, {}

    def settings(self, shape):
        own = {self.file.name(): self.file.number() for _ in range(self.file.random.randrange(1, 4))}
        self.wanted.update(own)
        if shape in ("name", "namespace"):
            return [{shape: key, "value": value} for key, value in own.items()]
        return [f"{key}={value}" for key, value in own.items()] if shape == "texts" else own

    def tree(self, depth):
        chance = self.file.random
        kind = chance.randrange(9) if depth else 0
        if kind <= 1:
            return chance.choice(["text", 5, True, None, "a b", "/usr/bin/x", "{{ x }}"])
        if kind <= 3:
            return self.settings(("mapping", "name")[kind - 2])
        if kind == 4:
            return {"sysctls": self.settings(chance.choice(["mapping", "name", "texts"])), "image": "x"}
        if kind == 5:
            return {"systemControls": self.settings("namespace"), "name": "a"}
        inside = [self.tree(depth - 1) for _ in range(chance.randrange(4))]
        return inside if kind == 6 else {f"k{depth}{number}": each for number, each in enumerate(inside)}


def a_structure(seed):
    """JSON with one token in each line, so that each setting has a place of its own."""
    file = Written(seed)
    structure = Structure(file)
    tree = {"top": [structure.tree(4), structure.tree(3)]}
    file.lines = json.dumps(tree, indent=file.random.choice([1, "\t"])).split("\n")
    file.settings = [
        (key, value, 1 + next(at for at, line in enumerate(file.lines) if f'"{key}' in line))
        for key, value in structure.wanted.items()
    ]
    return file


def a_yaml(seed):
    file = a_structure(seed)
    file.lines = [line.replace("\t", " ") for line in file.lines]
    return file


def a_toml(seed):
    file = Written(seed)
    for number in range(file.random.randrange(1, 5)):
        key, value = file.name(), file.number()
        kind = file.random.randrange(4)
        if kind == 0:
            file.add(f"[settings.s{number}]")
            file.add(f'"{key}" = "{value}" # why', (key, value))
        elif kind == 1:
            file.add(f"[c{number}]")
            file.add("default_sysctls = [")
            file.add(f'  "{key}={value}",', (key, value))
            file.add("]")
        elif kind == 2:
            file.add(f"[[list{number}]]")
            file.add(f'name = "{key}"')
            file.add(f'value = "{value}"')
            file.settings.append((key, value, len(file.lines) - 1))
        else:
            file.add(f"[t{number}]")
            file.add(f"x = {{ '{key}' = {value.split()[0]} }}", (key, value.split()[0]))
    return file


def an_ini(seed):
    file = Written(seed)
    file.add("[variables]")
    file.add("n = 42")
    file.add("[sysctl]")
    for _ in range(file.random.randrange(1, 6)):
        key, value = file.name(), file.value()
        kind = file.random.randrange(4)
        if kind == 0:
            file.add(f"{key}=${{n}}", (key, "42"))
        elif kind == 1:
            file.add(f'{key} = "{value}"  # why', (key, value))
        else:
            file.add(f"{key}={value}", (key, value))
    file.add("[Container]")
    for _ in range(file.random.randrange(3)):
        one, other = file.name(), file.name()
        file.add(f'Sysctl={one}=1 "{other}=4 5"', (one, "1"), (other, "4 5"))
    file.add("[Service]")
    key = file.name()
    file.add(f"ExecStartPre=-/usr/sbin/sysctl -w {key}=7", (key, "7"))
    return file


WRITERS = {
    "sysctl.d": a_sysctl_d, "shell": a_script, "YAML": a_yaml, "JSON": a_structure, "TOML": a_toml, "INI": an_ini
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_read_is_what_was_written(name):
    for seed in range(CASES):
        file = WRITERS[name](seed)
        found = read(name, file.text)
        assert not found.troubles, (seed, file.text, found.troubles)
        got = sorted((line.key, " ".join(line.value.split()), line.line) for line in found.lines)
        assert got == sorted(file.settings), (seed, file.text)


def test_every_format_has_a_writer():
    assert set(WRITERS) == {each.name for each in formats.FORMATS} - {"cloud-config"}


_KEYS = [
    "name", "value", "key", "val", "namespace", "sysctl", "description", "title", "loop", "with_items", "when", "vars",
    "args", "command", "image", "containers", "state", "dest", "path", "content", "source", "data", "sysctl.present",
    "ansible.posix.sysctl", "x", "tasks", "copy", "params", "sysctls", "systemControls", "machine", "setting",
]  # fmt: skip


def a_new(names):
    names.append(f"net.ipv4.tcp_made_up_{len(names)}_")
    return names[-1]


def a_text_with_names(chance, names):
    kind = chance.randrange(4)
    if kind <= 1 and chance.random() < 0.5:
        return a_new(names)
    if kind == 2:
        return f"{a_new(names)}={chance.choice(['1', '', '{{ x }}'])}"
    return chance.choice(["1", "x", None, "/etc/sysctl.d/9.conf", "absent", True, "{{ x }}"])


def a_tree_with_names(chance, depth, names):
    """Names as keys and as texts, among keys that some rule reads, and keys that no rule reads."""
    if not depth or chance.random() < 0.4:
        return a_text_with_names(chance, names)
    if chance.random() < 0.3:
        return [a_tree_with_names(chance, depth - 1, names) for _ in range(chance.randrange(4))]
    keys = [a_new(names) if chance.random() < 0.4 else chance.choice(_KEYS) for _ in range(chance.randrange(4))]
    return {key: a_tree_with_names(chance, depth - 1, names) for key in keys}


def test_every_sysctl_in_a_structured_file_is_read_or_reported():
    for seed in range(CASES):
        names = []
        text = json.dumps({"top": a_tree_with_names(random.Random(seed), 5, names)}, indent=1)
        found = read("JSON", text)
        values = " ".join(line.value for line in found.lines)
        places = {line.line for line in found.lines} | {place.line for place in found.troubles}
        for number, line in enumerate(text.split("\n"), 1):
            silent = [each for each in names if each in line and each not in values]
            assert not silent or number in places, (seed, silent, text, found.troubles)
