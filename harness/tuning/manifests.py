"""The sysctls in YAML: Kubernetes' securityContext.sysctls, compose's `sysctls:`, Ansible's ansible.posix.sysctl tasks.

The text is composed to nodes, which know where they stand, and never constructed: no object of Python's comes of it.
Each node is looked at once, however many aliases lead to it.
"""

import itertools
import re
import shlex
from collections.abc import Iterator

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.tuning.lines import LINES_LIMIT, Found

_TASKS = ("ansible.posix.sysctl", "sysctl")
_ITEM = re.compile(r"\{\{\s*item(?:\.(\w+)|\[['\"](\w+)['\"]\])?\s*\}\}")
_NULL = "tag:yaml.org,2002:null"
_TRUE = {"y", "yes", "on", "1", "true", "t", "1.0"}
_FALSE = {"n", "no", "off", "0", "false", "f", "0.0"}

Field = tuple[str, Node]
"""A text, and the node that it stands in."""


def read(text: str, source: str, found: Found) -> None:
    """Take in one file of one or more documents."""
    if "sysctl" not in text:
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

    def walk(self, document: Node | None) -> None:
        seen: set[int] = set()
        waiting = [document] if document else []
        while waiting:
            node = waiting.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, SequenceNode):
                waiting += reversed(node.value)
            elif isinstance(node, MappingNode):
                self._mapping(node)
                waiting += (child for pair in reversed(node.value) for child in reversed(pair))

    def _mapping(self, node: MappingNode) -> None:
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                continue
            if key.value == "sysctls":
                self._sysctls(value)
            elif key.value in _TASKS and isinstance(value, MappingNode | ScalarNode):
                self._task(node, value)

    def _sysctls(self, node: Node) -> None:
        """A mapping or a list of `key=value` (compose), or a list of name and value (Kubernetes)."""
        if isinstance(node, MappingNode):
            for key, value in node.value:
                self._setting(self._field(key), self._field(value))
        elif isinstance(node, SequenceNode):
            for each in node.value:
                if isinstance(each, MappingNode):
                    self._setting(*(self._field(_get(each, name), each) for name in ("name", "value")))
                elif field := self._field(each):
                    key, equals, value = field[0].partition("=")
                    if equals:
                        self._setting((key, each), (value, each))
                    else:
                        self._trouble(each, f"no '=' in {field[0]!r}")

    def _task(self, task: MappingNode, node: MappingNode | ScalarNode) -> None:
        """One task; `state: absent` sets nothing."""
        if isinstance(node, ScalarNode):
            fields: dict[str, Field] = {name: (text, node) for name, text in self._inline(node)}
        else:
            fields = {k.value: (v.value, v) for k, v in node.value if isinstance(k, ScalarNode) and _is_text(v)}
        if fields.get("state", ("present", node))[0] == "absent":
            return
        name = fields.get("name") or fields.get("key")
        value = fields.get("value") or fields.get("val")
        optional = fields.get("ignoreerrors", ("no", node))[0].lower() in _TRUE
        if not name or not value:
            if name or isinstance(node, MappingNode):
                self._trouble(node, f"no {'value' if name else 'name'} that is a plain text")
            return
        for item in itertools.islice(self._items(task), LINES_LIMIT + 1):
            self._setting(self._filled(name, item), self._filled(value, item), optional=optional, ansible=True)

    def _inline(self, node: ScalarNode) -> Iterator[tuple[str, str]]:
        try:
            words = shlex.split(re.sub(r"\{\{\s*(\S+?)\s*\}\}", r"{{\1}}", node.value))
        except ValueError as error:
            self._trouble(node, str(error).lower())
            return
        yield from ((name, value) for name, equals, value in (word.partition("=") for word in words) if equals)

    def _items(self, task: MappingNode) -> Iterator[Node | None]:
        """What the loop of a task runs over: None once where it has none. Loops over what is not written are named."""
        loop = _get(task, "loop") or _get(task, "with_items")
        if loop is None:
            yield None
        elif isinstance(loop, SequenceNode):
            yield from loop.value
        else:
            self._trouble(loop, "a loop over what is not written here")

    def _filled(self, field: Field, item: Node | None) -> Field | None:
        """A text with the loop's item in its place, and the node that made it."""
        text, node = field
        made_by = node
        for match in list(_ITEM.finditer(text)):
            name = match[1] or match[2]
            part = _get(item, name) if name and isinstance(item, MappingNode) else None if name else item
            if part is None or not _is_text(part):
                self._trouble(node, f"{match[0]} is not known here")
                return None
            text, made_by = text.replace(match[0], str(part.value)), part
        if re.search(r"\{\{|\{%", text):
            self._trouble(node, f"the template {text!r} is not known here")
            return None
        return text, made_by

    def _field(self, node: Node | None, inside: Node | None = None) -> Field | None:
        if node is not None and _is_text(node):
            return str(node.value), node
        if at := node or inside:
            self._trouble(at, "no plain text where a name or a value belongs")
        return None

    def _setting(
        self, name: Field | None, value: Field | None, *, optional: bool = False, ansible: bool = False
    ) -> None:
        if not name or not value:
            return
        text = value[0]
        if "{{" in name[0] + text or "$" in name[0] + text:
            self._trouble(value[1], f"the template {text!r} is not known here")
            return
        if ansible:  # plugins/modules/sysctl.py, _parse_value
            text = "1" if text.lower() in _TRUE else "0" if text.lower() in _FALSE else text
        mark = name[1].start_mark
        self._found.setting(name[0], text, (self._source, mark.line + 1, mark.column + 1), optional=optional)

    def _trouble(self, node: Node, why: str) -> None:
        self._found.trouble(self._source, node.start_mark.line + 1, node.start_mark.column + 1, why)


def _get(node: Node | None, name: str) -> Node | None:
    if not isinstance(node, MappingNode):
        return None
    return next((v for k, v in reversed(node.value) if isinstance(k, ScalarNode) and k.value == name), None)


def _is_text(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag != _NULL
