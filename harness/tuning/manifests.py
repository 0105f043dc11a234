"""The sysctls in YAML: Kubernetes' securityContext.sysctls, compose's `sysctls:`, Ansible's ansible.posix.sysctl tasks.

The text is composed to nodes, which know where they stand, and never constructed: no object of Python's comes of it.
Each node is looked at once, however many aliases lead to it. Commands that set sysctls are named, not read; so are
settings that go to a file of sysctls (Ansible's copy and lineinfile, cloud-init's write_files, a ConfigMap).
"""

import itertools
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import TypeVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.tuning import scripts
from harness.tuning.files import is_read_at_boot, is_sysctl_file
from harness.tuning.lines import LINES_LIMIT, LONGEST, Found, names_a_secret

_TASKS = ("ansible.posix.sysctl", "ansible.builtin.sysctl", "ansible.legacy.sysctl", "sysctl")
"""One module: ansible-core leads the names of its own to ansible.posix (ansible_builtin_runtime.yml)."""

_ACTIONS = ("action", "local_action")
_ITEM = re.compile(r"\{\{\s*item(?:\.(\w+)|\[['\"](\w+)['\"]\])?\s*\}\}")
_NULL = "tag:yaml.org,2002:null"
_TRUE = {"y", "yes", "on", "1", "true", "t", "1.0"}
_FALSE = {"n", "no", "off", "0", "false", "f", "0.0"}
_TITLES = {"name", "description", "msg"}
"""Keys whose texts are for people."""

_DESTINATIONS = ("dest", "destfile", "path")
_FILLED_WITH = {"block", "content", "contents", "line", "option", "regexp", "replace", "source", "src"}
"""Beside a path: what is put into the file that it names."""

_NOT_FILLED = {"absent", "directory", "file", "touch"}
"""States of Ansible's file module."""

_INLINE = re.compile(r"(?<!\S)(dest|destfile|path)=[\"']?((?:\{\{[^}]{0,200}\}\})?[^\s\"']{0,4096})")
_CONCERNS = re.compile(r"sysctl|/proc/sys/|\b(net|vm|kernel|fs)[./]\w")
_SETTINGS = re.compile(
    r"^[ \t]*-?(net[./](core|ipv[46]|bridge|mptcp|netfilter|unix)[./][\w./*-]+[ \t]*=|"
    r"(net[./]nf_|vm[./]|kernel[./]|fs[./])[\w./*-]+[ \t]*=[ \t]*[-\d{$])",
    re.M,
)
"""A line as in a file of sysctls; of names that programs have as well, one with a number."""

_WORDS_LIMIT = 50
_LONGEST_WORD = 256
_MERGES_LIMIT = 1000
_DEEPEST_MERGE = 50
_ITEMS_IN_A_TEMPLATE = 16

_A_COMMAND = "a command that sets sysctls. Give it as a script"
_A_FILE = "settings as in a file of sysctls. Give them as a file of their own"

T = TypeVar("T")
Field = tuple[str, Node]
"""A text, and the node that it stands in."""


def read(text: str, source: str, found: Found) -> None:
    """Take in one file of one or more documents."""
    if not _CONCERNS.search(text):
        return
    reader = _Reader(source, found)
    try:
        for document in yaml.compose_all(text, Loader=yaml.SafeLoader):
            reader.walk(document)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        found.trouble(source, before.count("\n") + 1, len(before) - before.rfind("\n"), str(error.reason))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        found.trouble(source, line, column, f"no YAML: {error.problem or error.context}")
    except RecursionError:
        found.trouble(source, 0, 0, "nested too deeply")
    except ValueError as error:  # PyYAML: a numeric escape or a version that is no number
        found.trouble(source, 0, 0, f"no YAML: {error}")


class _Reader:
    def __init__(self, source: str, found: Found) -> None:
        self._source, self._found = source, found
        self._mappings: dict[int, dict[str, Node]] = {}
        self._inlines: dict[int, dict[str, Field]] = {}
        self._merged = 0

    def walk(self, document: Node | None) -> None:
        """Take in one document."""
        self._mappings.clear()
        self._inlines.clear()
        seen: set[int] = set()
        waiting = [document] if document else []
        while waiting and not self._found.full:
            node = waiting.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, SequenceNode):
                self._command(node, _words(node))
                waiting += reversed(node.value)
            elif isinstance(node, MappingNode):
                self._mapping(node)
                if not self._filled_file(node):
                    waiting += (child for pair in reversed(node.value) for child in _read_further(*pair))
            elif isinstance(node, ScalarNode):
                self._text(node)

    def _command(self, node: SequenceNode, words: list[str]) -> None:
        """Words that are a command only together; one that is a command alone is found by itself."""
        if sets_sysctls(" ".join(words)) and not any(map(sets_sysctls, set(words))):
            self._trouble(node, _A_COMMAND)

    def _text(self, node: ScalarNode) -> None:
        filled = any(f"{name}=" in node.value for name in _FILLED_WITH)
        files = (file for name, file in _INLINE.findall(node.value) if filled or name.startswith("dest"))
        if file := next(filter(is_read_at_boot, files), ""):
            self._trouble(node, f"settings written to {file}. Give that file itself")
        elif sets_sysctls(node.value):
            self._trouble(node, _A_COMMAND)
        elif _SETTINGS.search(node.value):
            self._trouble(node, _A_FILE)

    def _filled_file(self, node: MappingNode) -> bool:
        """Name the file of sysctls that a mapping fills; whether it fills one."""
        fields, filled = self._fields(node), _FILLED_WITH & set(self._names(node))
        for name in _DESTINATIONS:
            file, at = fields.get(name, ("", node))
            is_written = filled or (name.startswith("dest") and fields.get("state", ("", node))[0] not in _NOT_FILLED)
            if is_written and is_read_at_boot(file):
                self._trouble(at, f"settings written to {file}. Give that file itself")
                return True
        return False

    def _holds_a_file(self, key: ScalarNode, node: Node) -> bool:
        """Whether a pair is the name of a file of sysctls and what it holds (a ConfigMap, cfn-init)."""
        holds = _is_text(node) or (isinstance(node, MappingNode) and bool(_FILLED_WITH & set(self._names(node))))
        return holds and is_sysctl_file(key.value)

    def _mapping(self, node: MappingNode) -> None:
        command, arguments = (self._get(node, name) for name in ("command", "args"))
        if isinstance(command, SequenceNode) and isinstance(arguments, SequenceNode):
            words = _words(command)
            if not sets_sysctls(" ".join(words)) and not sets_sysctls(" ".join(_words(arguments))):
                self._command(command, words + _words(arguments))
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                continue
            if key.value == "sysctls":
                self._sysctls(value, node)
            elif self._holds_a_file(key, value):
                self._trouble(value, _A_FILE)
            elif isinstance(value, MappingNode | ScalarNode) and (module := _task_of(key, value)):
                self._task(node, value, certain=module != "sysctl" or key.value != module)

    def _sysctls(self, node: Node, container: MappingNode) -> None:
        """A mapping or a list of `key=value` (compose), or a list of name and value (Kubernetes)."""
        if isinstance(node, ScalarNode) and re.search(r"\{\{|\$", node.value):
            self._trouble(node, f"the template {node.value!r} is not known here")
        elif isinstance(node, MappingNode):
            own = set(self._names(node))
            for number, (pair, depth) in enumerate(self._while_asked(self._pairs(node))):
                if number > LINES_LIMIT:
                    self._trouble(node, f"more than {LINES_LIMIT} settings")
                    break
                if not (depth and isinstance(pair[0], ScalarNode) and pair[0].value in own):
                    self._setting(*map(self._field, pair), scope=container)
                    own |= {pair[0].value} if depth else set()
        elif isinstance(node, SequenceNode):
            for each in self._while_asked(node.value):
                self._item(each, scope=container)

    def _pairs(self, node: Node, depth: int = 0) -> Iterator[tuple[tuple[Node, Node], int]]:
        """A mapping's pairs, and then those of what it merges in (`<<`), which count where it has none of that name."""
        self._merged += depth > 0
        if not isinstance(node, MappingNode) or depth > _DEEPEST_MERGE or self._merged > _MERGES_LIMIT:
            self._trouble(node, f"no mapping, or more than {_MERGES_LIMIT} that are merged in (<<)")
            return
        yield from ((pair, depth) for pair in node.value if not _merges(pair[0]))
        for key, value in node.value:
            if _merges(key):
                for each in value.value if isinstance(value, SequenceNode) else [value]:
                    yield from self._pairs(each, depth + 1)

    def _item(self, each: Node, *, scope: Node) -> None:
        if isinstance(each, MappingNode):
            name, value = (self._field(self._get(each, name), each) for name in ("name", "value"))
            self._setting(name, value, scope=scope)
        elif field := self._field(each):
            key, equals, text = field[0].partition("=")
            if equals:
                self._setting((key, each), (text, each), scope=scope)
            else:
                self._trouble(each, f"no '=' in {field[0]!r}")

    def _while_asked(self, each: Iterable[T]) -> Iterator[T]:
        return itertools.takewhile(lambda _: not self._found.full, each)

    def _task(self, task: MappingNode, node: MappingNode | ScalarNode, *, certain: bool) -> None:
        """`certain`: it is Ansible's module; else a text without names and values may be anything."""
        arguments = self._get(task, "args")
        if isinstance(arguments, MappingNode | ScalarNode) and isinstance(node, ScalarNode) and not node.value.strip():
            node, certain = arguments, True
        fields = self._fields(node)
        state = fields.get("state", ("present", node))
        if state[0] != "present":  # the module takes the line out of its file, and writes nothing to the kernel
            self._trouble(state[1], f"state {state[0]!r} sets nothing that is known here. Take the task out")
            return
        name = fields.get("name") or fields.get("key")
        value = fields.get("value") or fields.get("val")
        sometimes = self._get(task, "when") is not None
        optional = "ignoreerrors" if fields.get("ignoreerrors", ("no", node))[0].lower() in _TRUE else ""
        if not name or not value:
            if isinstance(node, ScalarNode) and "{{" in node.value:
                self._trouble(node, f"the template {node.value!r} is not known here")
            elif fields or certain or isinstance(node, MappingNode):
                self._trouble(node, f"no {'value' if name else 'name'} that is a plain text")
            return
        for item in self._while_asked(self._items(task)):
            key = self._filled(name, item)
            self._setting(
                key,
                self._filled(value, item, key[0] if key else ""),
                optional=optional,
                ansible=True,
                sometimes=sometimes,
            )

    def _fields(self, node: MappingNode | ScalarNode) -> dict[str, Field]:
        if isinstance(node, MappingNode):
            return {name: (value.value, value) for name, value in self._names(node).items() if _is_text(value)}
        if id(node) not in self._inlines:
            self._inlines[id(node)] = {name: (text, node) for name, text in self._inline(node)}
        return self._inlines[id(node)]

    def _inline(self, node: ScalarNode) -> Iterator[tuple[str, str]]:
        try:
            words = shlex.split(re.sub(r"\{\{\s*(\S+?)\s*\}\}", r"{{\1}}", node.value))
        except ValueError as error:
            self._trouble(node, str(error).lower())
            return
        yield from ((name, value) for name, equals, value in (word.partition("=") for word in words) if equals)

    def _items(self, task: MappingNode) -> Iterator[Node | None]:
        """What the loop of a task runs over: None once where it has none. Loops over what is not written are named."""
        loop = self._get(task, "loop") or self._get(task, "with_items")
        if loop is None:
            yield None
        elif isinstance(loop, SequenceNode):
            yield from loop.value
        else:
            self._trouble(loop, "a loop over what is not written here")

    def _filled(self, field: Field, item: Node | None, key: str = "") -> Field | None:
        """A text with the loop's item in its place, and the node that made it. What is filled in is not read again.

        `key`: whose value it is.
        """
        text, node = field
        if len(text) > LONGEST:
            self._trouble(node, f"longer than {LONGEST} characters")
            return None
        parts = list(itertools.islice(_ITEM.finditer(text), _ITEMS_IN_A_TEMPLATE + 1))
        made_by, pieces, end = node, [], 0
        for match in parts:
            name = match[1] or match[2]
            part = self._get(item, name) if name else item
            if part is None or not _is_text(part):
                self._trouble(node, f"{match[0]} is not known here")
                return None
            pieces += [text[end : match.start()], str(part.value)]
            made_by, end = part, match.end()
        pieces.append(text[end:])
        if parts and (len(parts) > _ITEMS_IN_A_TEMPLATE or sum(map(len, pieces)) > LONGEST):
            self._trouble(node, f"a template of more than {_ITEMS_IN_A_TEMPLATE} items or {LONGEST} characters")
            return None
        text = "".join(pieces)
        if re.search(r"\{\{|\{%", text):
            self._template(node, text, key)
            return None
        return text, made_by

    def _get(self, node: Node | None, name: str) -> Node | None:
        return self._names(node).get(name) if isinstance(node, MappingNode) else None

    def _names(self, node: MappingNode) -> dict[str, Node]:
        """A mapping by its names, made once: an alias may lead here ten thousand times."""
        if id(node) not in self._mappings:
            self._mappings[id(node)] = {key.value: value for key, value in node.value if isinstance(key, ScalarNode)}
        return self._mappings[id(node)]

    def _field(self, node: Node | None, inside: Node | None = None) -> Field | None:
        if node is not None and _is_text(node):
            return str(node.value), node
        if at := node or inside:
            self._trouble(at, "no plain text where a name or a value belongs")
        return None

    def _setting(
        self,
        name: Field | None,
        value: Field | None,
        *,
        optional: str = "",
        ansible: bool = False,
        scope: object = None,
        sometimes: bool = False,
    ) -> None:
        if not name or not value:
            return
        text = value[0]
        if "{{" in name[0] + text or "$" in name[0] + text:
            self._template(value[1], text, name[0])
            return
        if ansible:  # plugins/modules/sysctl.py, _parse_value
            text = "1" if text.lower() in _TRUE else "0" if text.lower() in _FALSE else text
        mark = name[1].start_mark
        where = self._source, mark.line + 1, mark.column + 1
        self._found.setting(name[0], text, where, optional=optional, scope=scope, sometimes=sometimes)

    def _template(self, node: Node, text: str, key: str) -> None:
        told = "(secret)" if names_a_secret(key) else repr(text)
        self._trouble(node, f"the template {told} is not known here")

    def _trouble(self, node: Node, why: str) -> None:
        self._found.trouble(self._source, node.start_mark.line + 1, node.start_mark.column + 1, why)


def sets_sysctls(command: str) -> bool:
    """Whether this looks like a command that sets sysctls, of the host or of a container."""
    return scripts.sets_sysctls(command) or bool(re.search(r"(?<!\S)--sysctl[=\s]", command))


def _merges(key: Node) -> bool:
    return isinstance(key, ScalarNode) and key.tag == "tag:yaml.org,2002:merge"


def _words(node: SequenceNode) -> list[str]:
    """The first words of a list, of each its beginning: a command is no longer."""
    return [each.value[:_LONGEST_WORD] for each in node.value[:_WORDS_LIMIT] if isinstance(each, ScalarNode)]


def _task_of(key: ScalarNode, value: Node) -> str:
    """The name of the sysctl module that a pair is a task of; empty where it is none."""
    name = str(key.value)
    if name in _ACTIONS and isinstance(value, ScalarNode):
        name = "".join(value.value[:_LONGEST_WORD].split()[:1])
    elif name in _ACTIONS and isinstance(value, MappingNode):
        name = next((str(node.value) for each, node in value.value if each.value == "module"), "")
    return name if name in _TASKS else ""


def _read_further(key: Node, value: Node) -> list[Node]:
    """What of a pair may hold settings or commands, the last first."""
    if isinstance(key, ScalarNode) and key.value == "sysctls" and not isinstance(value, ScalarNode):
        return [key]
    if not isinstance(key, ScalarNode) or not isinstance(value, ScalarNode):
        return [value, key]
    return [key] if key.value in _TITLES or _task_of(key, value) else [value, key]


def _is_text(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag != _NULL
