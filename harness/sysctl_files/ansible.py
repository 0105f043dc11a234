"""Ansible's sysctl tasks in a structured file: the module's arguments, loops and templates, as far as they are known.

A loop over a variable, and a template of one, are known if the file gives that variable one value (`vars`, set_fact, or
a file of defaults). Values that come only from an inventory or a fact are not known here.
"""

import itertools
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.sysctl_files.lines import LONGEST
from harness.sysctl_files.names import is_name
from harness.sysctl_files.nodes import Field, every_node, is_text, pairs_as_items

if TYPE_CHECKING:
    from harness.sysctl_files.manifests import Document

_MODULES = ("ansible.posix.sysctl", "ansible.builtin.sysctl", "ansible.legacy.sysctl", "sysctl")
"""The names of one module: ansible-core redirects its own names to ansible.posix (ansible_builtin_runtime.yml)."""

_ACTIONS = ("action", "local_action")
_ARGUMENTS = {"name", "key", "value", "val", "state", "sysctl_set", "sysctl_file", "reload", "ignoreerrors"}
_LOOPS = ("loop", "with_items", "with_list", "with_dict")
_TRUE = {"y", "yes", "on", "1", "true", "t", "1.0"}
_FALSE = {"n", "no", "off", "0", "false", "f", "0.0"}

_PART = r"(?:\.(\w+)|\[['\"](\w+)['\"]\])"
_EXPRESSION = re.compile(r"\{\{([^{}]{0,200})\}\}")
_NAMED = re.compile(rf"\s*([A-Za-z_]\w*){_PART}?\s*((?:\|\s*(?:int|string|trim|dict2items)\s*)*)")
_DEFAULT = re.compile(r"\s*[\w.\[\]'\"]+\s*\|\s*(?:default|d)\(\s*(?:'([^'{}]*)'|\"([^\"{}]*)\"|(-?\d+))[^(){}]*\)\s*")

_ITEMS_IN_A_TEMPLATE = 16
_LONGEST_WORD = 256


def is_task(key: ScalarNode, value: Node) -> bool:
    """Whether a pair is a task of the sysctl module. A bare `sysctl` is one only if it has the module's arguments."""
    if not isinstance(value, MappingNode | ScalarNode) or not (module := _module_of(key, value)):
        return False
    if module != "sysctl" or key.value != module:
        return True
    if isinstance(value, ScalarNode):
        return "=" in value.value or "{{" in value.value
    return any(isinstance(name, ScalarNode) and name.value in _ARGUMENTS for name, _ in value.value)


def _module_of(key: ScalarNode, value: Node) -> str:
    """The name of the sysctl module that a pair is a task of; empty if it is none."""
    name = str(key.value)
    if name in _ACTIONS and isinstance(value, ScalarNode):
        name = "".join(value.value[:_LONGEST_WORD].split()[:1])
    elif name in _ACTIONS and isinstance(value, MappingNode):
        name = next((str(node.value) for each, node in value.value if each.value == "module"), "")
    return name if name in _MODULES else ""


class Tasks:
    """The sysctl tasks of one document."""

    def __init__(self, document: "Document", nodes: Iterable[Node]) -> None:
        self._document, self._names = document, document.names
        self._inlines: dict[int, tuple[Node, dict[str, Field]]] = {}
        self._variables: dict[str, list[Node]] = {}
        self._taken: set[int] = set()
        self._item = "item"
        """The variable of the loop."""
        self._named: set[int] = set()
        tasks = []
        for node in nodes:
            if isinstance(node, MappingNode):
                self._take_variables(node)
                tasks += [node] if any(self.in_mapping(node)) else []
        self._loops = {id(loop) for task in tasks if (loop := self._loop(task)) is not None}

    def reads(self, node: Node) -> bool:
        """Whether a task loops over this node, so that its settings are the task's."""
        return id(node) in self._loops

    def in_mapping(self, node: MappingNode) -> Iterator[Node]:
        """The values under the module's names in a mapping, one for each task."""
        return (value for key, value in node.value if isinstance(key, ScalarNode) and is_task(key, value))

    def _take_variables(self, node: MappingNode) -> None:
        given = [self._names.get(node, name) for name in ("vars", "set_fact", "ansible.builtin.set_fact")]
        for each in [*given, node if self._document.is_top(node) else None]:
            if each is not None and id(each) not in self._taken:
                self._taken.add(id(each))
                for variable, its in self._names.of(each).items():
                    self._variables.setdefault(variable, []).append(its)

    def _variable(self, name: str) -> Node | None:
        """The one value that the document gives a variable; None if it gives none, or more than one."""
        found = self._variables.get(name, [])
        return found[0] if len(found) == 1 else None

    def read(self, task: MappingNode, node: Node) -> None:
        """Read one task; `node` is the value under the module's name."""
        arguments = self._names.get(task, "args")
        if isinstance(arguments, MappingNode | ScalarNode) and isinstance(node, ScalarNode) and not node.value.strip():
            node = arguments
        fields = self._fields(node)
        state = fields.get("state", Field("present", node))
        if state.text != "present":  # the module removes the line from its file, and writes nothing to the kernel
            self._document.trouble(state.node, f"state {state.text!r} sets nothing. Hint: remove the task")
            return
        name, value = (fields.get(one) or fields.get(other) for one, other in (("name", "key"), ("value", "val")))
        if name and value:
            self._read_each(task, name, value, fields)
        elif isinstance(node, ScalarNode) and "{{" in node.value:
            self._document.trouble(node, f"the template {node.value!r} is not known here")
        else:
            self._document.trouble(node, f"no {'value' if name else 'name'} in plain text")

    def _read_each(self, task: MappingNode, name: Field, value: Field, fields: dict[str, Field]) -> None:
        sometimes = self._names.get(task, "when") is not None
        ignores_errors = fields["ignoreerrors"].text.lower() in _TRUE if "ignoreerrors" in fields else False
        known = True
        self._item = self._names.text(self._names.get(task, "loop_control"), "loop_var") or "item"
        self._document.mark(name.node)
        for item in self._document.while_asked(self._items(task)):
            key = self._filled(name, item)
            filled = self._filled(value, item, key.text if key else "")
            known = known and bool(key and filled)
            if key and filled:  # plugins/modules/sysctl.py, _parse_value
                text = filled.text.lower()
                filled = filled._replace(text="1" if text in _TRUE else "0" if text in _FALSE else filled.text)
            optional = "ignoreerrors" if ignores_errors else ""
            self._document.setting(key, filled, optional=optional, sometimes=sometimes)
        if not known and (loop := self._loop(task)) is not None and id(loop) not in self._named:
            self._named.add(id(loop))
            for each in every_node(loop):
                if isinstance(each, ScalarNode) and is_name(each.value):
                    self._document.trouble(each, f"{each.value}: the value that the task sets is not known here")

    def _fields(self, node: Node) -> dict[str, Field]:
        if isinstance(node, MappingNode):
            return {name: Field(value.value, value) for name, value in self._names.of(node).items() if is_text(value)}
        if not isinstance(node, ScalarNode):
            return {}
        if id(node) not in self._inlines:
            self._inlines[id(node)] = node, {name: Field(text, node) for name, text in self._inline(node)}
        return self._inlines[id(node)][1]

    def _inline(self, node: ScalarNode) -> Iterator[tuple[str, str]]:
        try:
            split = shlex.split(re.sub(r"\{\{\s*(\S+?)\s*\}\}", r"{{\1}}", node.value))
        except ValueError as error:
            self._document.trouble(node, str(error).lower())
            return
        yield from ((name, value) for name, equals, value in (word.partition("=") for word in split) if equals)

    def _loop(self, task: MappingNode) -> Node | None:
        """What a task loops over; if that is a variable whose value is in this file, its value."""
        loop = next((its for name in _LOOPS if (its := self._names.get(task, name)) is not None), None)
        if isinstance(loop, ScalarNode) and (match := re.fullmatch(rf"\s*\{{\{{{_NAMED.pattern}\}}\}}\s*", loop.value)):
            variable = self._variable(match[1])
            part = match[2] or match[3]
            return (self._names.get(variable, part) if part else variable) or loop
        return loop

    def _items(self, task: MappingNode) -> Iterator[Node | None]:
        """The items of a task's loop; None once if it has no loop. A loop over unknown items is reported."""
        loop = self._loop(task)
        if loop is None:
            yield None
        elif isinstance(loop, SequenceNode):
            yield from loop.value
        elif isinstance(loop, MappingNode):
            yield from pairs_as_items(loop)
        else:
            self._document.trouble(loop, "a loop over items that are not in this file")

    def _filled(self, field: Field, item: Node | None, key: str = "") -> Field | None:
        """A text with its templates replaced, and the node that it comes from. Replacements are not expanded again.

        `key`: the key whose value it is.
        """
        text, node, note = field
        if len(text) > LONGEST:
            self._document.trouble(node, f"longer than {LONGEST} characters")
            return None
        parts = list(itertools.islice(_EXPRESSION.finditer(text), _ITEMS_IN_A_TEMPLATE + 1))
        pieces, end = [], 0
        for match in parts:
            part = self._value(match[1], item, node)
            if part is None and re.match(rf"\s*{re.escape(self._item)}\b(?!.*\|)", match[1]) and item is not None:
                self._document.trouble(node, f"{match[0]} is not known here")
                return None
            if part:
                pieces += [text[end : match.start()], part.text]
                node, end, note = part.node, match.end(), part.note or note
        pieces.append(text[end:])
        if parts and (len(parts) > _ITEMS_IN_A_TEMPLATE or sum(map(len, pieces)) > LONGEST):
            why = f"a template of more than {_ITEMS_IN_A_TEMPLATE} items or {LONGEST} characters"
            self._document.trouble(field.node, why)
            return None
        return self._document.without_templates(Field("".join(pieces), node, note), field.node, key)

    def _value(self, expression: str, item: Node | None, node: Node) -> Field | None:
        """The value of an expression in a node; None if the file does not have it."""
        if match := _NAMED.fullmatch(expression):
            part = match[2] or match[3]
            its = item if match[1] == self._item else self._variable(match[1])
            its = self._names.get(its, part) if part else its
            if its is not None and is_text(its):
                return Field(str(its.value), its)
        elif default := _DEFAULT.fullmatch(expression):
            text = next(each for each in default.groups() if each is not None)
            return Field(text, node, f"the default of {{{{{expression}}}}}")
        return None
