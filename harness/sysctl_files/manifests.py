"""The sysctls in a structured file, whatever its syntax, from a tree of YAML's nodes, which know their places.

The rule: a key or a text that has the form of a sysctl's name is either read as a setting or reported with its place.

- A mapping from such names to plain texts is read as settings; so are an item with a name and a value (`name`, `key` or
  `namespace`, and `value`), and a text `name=value`.
- `sysctls:` (compose, Kubernetes) and `systemControls:` (ECS) contain a container's settings, whatever their names.
- Ansible's sysctl tasks (ansible.py) and Salt's sysctl.present are read from their arguments.
- The content of a file of sysctls (cloud-init's write_files, Ansible's copy, a ConfigMap) is read as that file.
- A command that sets sysctls is read as a shell would read it.

Each node is read once, however many aliases lead to it.
"""

import itertools
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.sysctl_files import ansible, formats, scripts
from harness.sysctl_files.files import is_read_at_boot, is_sysctl_file
from harness.sysctl_files.lines import LINES_LIMIT, LONGEST, Found, Where, names_a_secret, normalised, overruled, shown
from harness.sysctl_files.names import in_linux, is_name
from harness.sysctl_files.nodes import Field, Names, every_node, is_text, is_whole, merges, words
from harness.sysctl_files.sysctl_d import SysctlD

_CONCERNS = re.compile(
    r"sysctl|systemControls|/proc/sys/|\b(net|vm|kernel|fs|user|dev|abi|debug|crypto|sunrpc|xen)\b", re.I
)
_OF_CONTAINERS = ("sysctls", "systemControls", "SystemControls")
_LXD = "linux.sysctl."
"""The prefix of a sysctl's name in the configuration of an LXD or Incus instance."""

_ROOTS = {"net", "vm", "kernel", "fs"}
_TITLES = {"name", "description", "msg", "title", "summary"}
"""Keys whose texts are prose, and are not searched for commands."""

_NAMED = ("name", "namespace", "key", "sysctl", "param", "parameter", "setting", "option", "k", "item")
_VALUED = ("value", "val", "v", "setting", "data")
_DESTINATIONS = ("dest", "destfile", "path")
_TEXTS = ("content", "contents", "block", "line", "inline")
"""Keys beside a path: the text that is put into that file."""

_FILLED_WITH = {*_TEXTS, "option", "regexp", "replace", "source", "src"}
_WHERE = {"regexp", "search_string", "insertafter", "insertbefore", "marker"}
"""Keys for what Ansible searches for in a file, to find the place to write to."""

_NOT_FILLED = {"absent", "directory", "file", "touch"}
"""States of Ansible's file module."""

_INLINE = re.compile(r"(?<!\S)(dest|destfile|path)=[\"']?((?:\{\{[^}]{0,200}\}\})?[^\s\"']{0,4096})")
_SETTINGS = re.compile(
    r"^[ \t]*-?(net[./](core|ipv[46]|bridge|mptcp|netfilter|unix)[./][\w./*-]+[ \t]*=|"
    r"(net[./]nf_|vm[./]|kernel[./]|fs[./])[\w./*-]+[ \t]*=[ \t]*[-\d{$])",
    re.M,
)
"""A line as in a file of sysctls; if its name is one that programs use, too, its value must be a number."""

_INI = re.compile(r"\s*\[[\w-]+\]\s*$", re.M)
_DEFAULT = re.compile(r"\$\{\w+:?-([^${}`]*)\}")
_LOADS = re.compile(r"\bsysctl\s[^;&|\n]{0,200}?(--system|(?<=\s)-[a-zA-Z]*[pf]\b|--load)")
_DEEPEST_NAME = 6
_MOST_ARGUMENTS = 50
_MOST_PARSED = 2 << 20
"""The most characters of commands in one document, twice the size limit of a file: aliases can repeat a command."""

_MERGES_LIMIT = 1000
_DEEPEST_MERGE = 50

_A_COMMAND = "a command that sets sysctls, and is too long to be read here. Hint: give it as a script"
_NOT_READ = "a command that names a sysctl, but contains no setting that can be read. Hint: give it as a script"
_A_FILE = "settings as in a file of sysctls. Hint: give them as a file of their own"

T = TypeVar("T")


def concerns(text: str) -> bool:
    """Whether a text may contain sysctls at all; most files do not, and then need not be parsed."""
    return bool(_CONCERNS.search(text))


def sets_sysctls(command: str) -> bool:
    """Whether this looks like a command that sets sysctls, of the host or of a container."""
    return scripts.sets_sysctls(command) or bool(re.search(r"(?<!\S)--sysctl[=\s]", command))


class Document:
    """One document of a file."""

    def __init__(self, source: str, found: Found) -> None:
        self._source, self._found = source, found
        self.names = Names()
        self._top: Node | None = None
        self._tasks = ansible.Tasks(self, ())
        self._used: set[int] = set()
        """Nodes that a rule has read, and that are not read again."""
        self._handled: set[int] = set()
        """Nodes that were read or reported; a sysctl's name in any other node is reported at the end."""
        self._read: set[int] = set()
        self._written: set[str] = set()
        self._merged = self._parsed = 0

    def walk(self, document: Node | None) -> None:
        """Read the whole document, in the order in which it is written."""
        if document is None:
            return
        self._top = document
        nodes = list(every_node(document))
        self._tasks = ansible.Tasks(self, nodes)
        self._used = set(self._of_the_containers(nodes))
        seen: set[int] = set()
        waiting: list[tuple[Node, str, object]] = [(document, "", None)]
        while waiting and not self._found.full:
            node, key, scope = waiting.pop()
            if id(node) in seen or id(node) in self._used or self._tasks.reads(node):
                continue
            seen.add(id(node))
            if isinstance(node, SequenceNode):
                self._command(node, scope)
                waiting += [(each, key, scope) for each in reversed(node.value)]
            elif isinstance(node, MappingNode):
                waiting += reversed(self._mapping(node, key, scope))
            elif isinstance(node, ScalarNode):
                self._text(node, key, scope)
        self._report_the_rest(nodes)

    def _report_the_rest(self, nodes: Iterable[Node]) -> None:
        """Report each name of a sysctl that no rule has read."""
        for node in self.while_asked(nodes):
            if isinstance(node, ScalarNode) and id(node) not in self._handled and _has_a_name(node.value):
                self._report_name(node)

    def _report_name(self, node: ScalarNode) -> None:
        self.trouble(node, f"the name of a sysctl without a value: {shown(node.value)}")

    def is_top(self, node: Node) -> bool:
        """Whether this is the whole document."""
        return node is self._top

    # Mappings.

    def _mapping(self, node: MappingNode, key: str, scope: object) -> list[tuple[Node, str, object]]:
        """Read the settings of a mapping; returns the nodes in it still to be read, each with its key and container."""
        scope = self._scope(node, key, scope)
        if self._fills_a_file(node, scope) or self._is_a_pair(node, scope):
            return [(each, name, scope) for name, each in self.names.of(node).items() if id(each) not in self._used]
        self._command_and_arguments(node, scope)
        inside: list[tuple[Node, str, object]] = []
        for name, value in node.value:
            if isinstance(name, ScalarNode) and self._reads_pair(node, name, value, key, scope):
                continue
            inside += [(name, "", scope), (value, str(name.value) if isinstance(name, ScalarNode) else "", scope)]
        return inside

    def _scope(self, node: MappingNode, key: str, scope: object) -> object:
        """The container whose network a mapping's settings and commands belong to; None is the host.

        The containers of a pod share one network. A pod with hostNetwork has the host's.
        """
        if self.names.text(node, "hostNetwork", "network_mode").lower() in ("true", "host"):
            return None
        its = self.names.of(node)
        if "containers" in its or ("image" in its and scope is None and key != "docker_container"):
            return node
        return scope

    def _reads_pair(self, node: MappingNode, name: ScalarNode, value: Node, key: str, scope: object) -> bool:
        """Read a pair of a mapping, if it is a setting or a file's content; returns whether nothing is left to read."""
        if name.value in _OF_CONTAINERS and self._has_items(value):
            self._sysctls(value, None if key == "machine" else scope or node)  # machine: Talos, for the host
            return True
        if name.value.startswith(_LXD) and is_text(value):
            own = Field(name.value.removeprefix(_LXD), name)
            self.setting(own, Field(value.value, value), scope=scope or node, at_start=True)
            return True
        if ansible.is_task(name, value):
            self._task(node, name, value)
            return True
        if self._is_salt(name, value):
            return True
        if is_name(name.value, value.value if isinstance(value, ScalarNode) else ""):
            return self._named(name, value, scope)
        if name.value in _ROOTS and isinstance(value, MappingNode):
            return self._nested(name.value, value, scope)
        return self._holds_a_file(name, value) and self._file(name.value, value, scope, encoded=key == "binaryData")

    def _task(self, node: MappingNode, name: ScalarNode, value: Node) -> None:
        """Read a task of Ansible, whose title may contain the name of the sysctl that it sets."""
        before = len(self._found.lines)
        self._tasks.read(node, value)
        read = {line.key for line in self._found.lines[before:]}
        for beside in ("name", "args"):
            if (each := self.names.get(node, beside)) is not None and each is not value:
                self._used.add(id(each))
                self._handled |= {id(each)} if is_text(each) and normalised(each.value) in read else set()

    def _named(self, name: ScalarNode, value: Node, scope: object) -> bool:
        """Read a sysctl's name and value; returns whether nothing is left to read."""
        inner = self.names.get(value, "value")
        field = Field(value.value, value) if is_text(value) else Field(inner.value, inner) if is_text(inner) else None
        if field:
            self.setting(Field(name.value, name), field, scope=scope)
            return True
        self.trouble(name, f"{name.value} has no value in plain text")
        return isinstance(value, ScalarNode)

    def _nested(self, prefix: str, node: MappingNode, scope: object) -> bool:
        """Read names that are split into nested mappings (net, ipv4, tcp_sack); returns whether there are any."""
        leaves = _leaves(prefix, node)
        if not any(in_linux(name.value) for name, _ in leaves):
            return False
        for name, value in self.while_asked(leaves):
            self._named(name, value, scope)
        return True

    def _is_a_pair(self, node: MappingNode, scope: object) -> bool:
        """Read an item with a name and a value; returns whether it is one."""
        its = {name.lower(): value for name, value in self.names.of(node).items()}
        value = next((its[each] for each in _VALUED if is_text(its.get(each))), None)
        if value is None or any(self._tasks.in_mapping(node)):
            return False
        names = (its[each] for each in _NAMED if is_text(its.get(each)) and its[each] is not value)
        name = next((each for each in names if is_name(each.value, value.value)), None)
        if name is None:
            return False
        self.setting(Field(name.value, name), Field(value.value, value), scope=scope)
        self._used |= {id(name), id(value)}
        return True

    def _is_salt(self, name: ScalarNode, value: Node) -> bool:
        """Read a state of Salt, whose ID is the name unless its arguments have one; returns whether it is one."""
        present = self.names.get(value, "sysctl.present")
        present = value if name.value == "sysctl.present" else present
        if present is None:
            return False
        arguments = present.value[:_MOST_ARGUMENTS] if isinstance(present, SequenceNode) else [present]
        its_name, its_value = (
            next((its for each in arguments if (its := self.names.get(each, one)) is not None), None)
            for one in ("name", "value")
        )
        its_name = name if its_name is None else its_name
        if is_text(its_name) and is_text(its_value):
            self.setting(Field(its_name.value, its_name), Field(its_value.value, its_value))
        else:
            self.trouble(name, "a sysctl.present without a name and a value in plain text")
        return True

    # The settings of a container.

    def _has_items(self, node: Node) -> bool:
        return not isinstance(node, ScalarNode) or bool(re.search(r"\{\{|\$", node.value))

    def _of_the_containers(self, nodes: Iterable[Node]) -> Iterator[int]:
        """The ids of all containers' `sysctls` nodes, and of those merged into them: they set nothing else."""
        its = (self.names.get(node, name) for node in nodes for name in _OF_CONTAINERS)
        waiting, seen = [each for each in its if each is not None], set()
        while waiting:
            node = waiting.pop()
            if id(node) in seen or isinstance(node, ScalarNode):
                continue
            seen.add(id(node))
            yield id(node)
            for key, value in node.value if isinstance(node, MappingNode) else ():
                if merges(key):
                    waiting += value.value if isinstance(value, SequenceNode) else [value]

    def _sysctls(self, node: Node, scope: object) -> None:
        """Read a mapping or a list of `key=value` (compose), or a list of names and values (Kubernetes, ECS)."""
        if isinstance(node, ScalarNode):
            self.trouble(node, f"the template {node.value!r} is not known here")
        elif isinstance(node, MappingNode):
            own = set(self.names.of(node))
            for number, (pair, depth) in enumerate(self.while_asked(self._pairs(node))):
                if number > LINES_LIMIT:
                    self.trouble(node, f"more than {LINES_LIMIT} settings")
                    break
                if not (depth and isinstance(pair[0], ScalarNode) and pair[0].value in own):
                    self.setting(*map(self._field, pair), scope=scope, at_start=True)
                    own |= {pair[0].value} if depth else set()
                self._handled.add(id(pair[0]))
        elif isinstance(node, SequenceNode):
            for each in self.while_asked(node.value):
                self._item(each, scope=scope)

    def _pairs(self, node: Node, depth: int = 0) -> Iterator[tuple[tuple[Node, Node], int]]:
        """A mapping's own pairs, then those that it merges in (`<<`), which count only if it has none of that name."""
        self._merged += depth > 0
        if not isinstance(node, MappingNode) or depth > _DEEPEST_MERGE or self._merged > _MERGES_LIMIT:
            self.trouble(node, f"not a mapping, or more than {_MERGES_LIMIT} mappings merged in (<<)")
            return
        yield from ((pair, depth) for pair in node.value if not merges(pair[0]))
        for key, value in node.value:
            if merges(key):
                for each in value.value if isinstance(value, SequenceNode) else [value]:
                    yield from self._pairs(each, depth + 1)

    def _item(self, each: Node, *, scope: object) -> None:
        if isinstance(each, MappingNode):
            its = {name.lower(): value for name, value in self.names.of(each).items()}
            name, value = (self._field(its.get(one, its.get(other)), each)
                           for one, other in (("name", "namespace"), ("value", "")))  # fmt: skip
            self.setting(name, value, scope=scope, at_start=True)
        elif field := self._field(each):
            self._assignment(field, scope=scope, at_start=True)

    def _assignment(self, field: Field, *, scope: object, at_start: bool = False) -> None:
        key, equals, text = field.text.partition("=")
        if equals:
            self.setting(Field(key, field.node), Field(text, field.node), scope=scope, at_start=at_start)
        else:
            self.trouble(field.node, f"{field.text!r} is not KEY=VALUE")

    def while_asked(self, each: Iterable[T]) -> Iterator[T]:
        """The items of an iterable, until the limits of Found are reached."""
        return itertools.takewhile(lambda _: not self._found.full, each)

    # Texts: commands, and files of sysctls.

    def _text(self, node: ScalarNode, key: str, scope: object) -> None:
        if _has_a_name(node.value):
            self._name(node, key, scope)
        elif key not in _TITLES:
            self._command_or_file(node, key, scope)

    def _name(self, node: ScalarNode, key: str, scope: object) -> None:
        """Read or report a name, or `name=value`, that no other rule has read."""
        if key in _TITLES and re.search(r"\s=", node.value):  # prose
            self._handled.add(id(node))
        if id(node) in self._handled:
            return
        if "=" not in node.value or key in _TITLES:
            self._report_name(node)
        elif key in _FILLED_WITH:
            self.trouble(node, _A_FILE)
        else:  # containers.conf(5), crio.conf(5): for each container
            of_containers = key.endswith("default_sysctls")
            scope = self._top if of_containers else scope
            self._assignment(Field(node.value, node), scope=scope, at_start=of_containers)

    def _command_or_file(self, node: ScalarNode, key: str, scope: object) -> None:
        filled = any(f"{name}=" in node.value for name in _FILLED_WITH)
        files = (file for name, file in _INLINE.findall(node.value) if filled or name.startswith("dest"))
        if file := next(filter(is_read_at_boot, files), ""):
            self.trouble(node, f"settings written to {file}. Hint: give that file itself")
        elif sets_sysctls(node.value):
            self._shell(node, node.value, scope)
        elif _SETTINGS.search(node.value):
            if key in _FILLED_WITH or not (_INI.match(node.value) or _is_all_settings(node.value)):
                self.trouble(node, _A_FILE)
            else:
                self._content(node, scope)

    def _command(self, node: SequenceNode, scope: object, before: SequenceNode | None = None) -> None:
        """Read words that form a command together; a word that is a whole command is read by itself.

        `before`: a list of words that these words continue.
        """
        lists = [before, node] if before else [node]
        its = [word for each in lists for word in words(each)]
        together = " ".join(its)
        if not (_is_sysctl(its) or sets_sysctls(together)) or (_are_commands(its) and not before):
            return
        if all(map(is_whole, lists)):
            self._used |= {id(each) for part in lists for each in part.value}
            self._handled |= {id(each) for part in lists for each in part.value}
            self._shell(lists[0], shlex.join(its), scope)
        else:
            self.trouble(lists[0], _A_COMMAND)

    def _command_and_arguments(self, node: MappingNode, scope: object) -> None:
        command, arguments = (self.names.get(node, name) for name in ("command", "args"))
        if isinstance(command, SequenceNode) and isinstance(arguments, SequenceNode):
            one, other = " ".join(words(command)), " ".join(words(arguments))
            self._parsed += len(one) + len(other)
            if self._parsed > _MOST_PARSED:
                self.trouble(command, _A_COMMAND)
            elif not sets_sysctls(one) and not sets_sysctls(other):
                self._command(arguments, scope, command)

    def _shell(self, node: Node, text: str, scope: object) -> None:
        """Read a command, unless a template is part of it."""
        self._parsed += len(text)
        if "{{" in text or "{%" in text or self._parsed > _MOST_PARSED:
            why = _A_COMMAND if self._parsed > _MOST_PARSED else f"the template {text!r} is not known here"
            self.trouble(node, why)
            return
        part = Found()
        scripts.read(text, self._source, part, self._written)
        if not part.lines and not part.troubles and sets_sysctls(_LOADS.sub("", text)):
            self.trouble(node, _NOT_READ)
        self._found.take_in(part, self._moved(node), scope=scope)

    def _fills_a_file(self, node: MappingNode, scope: object) -> bool:
        """Read what a mapping writes into a file of sysctls, or report that file; returns whether it writes one."""
        its = self.names.of(node)
        filled = _FILLED_WITH & set(its)
        for name in _DESTINATIONS:
            file = self.names.text(node, name)
            is_written = filled or (name.startswith("dest") and self.names.text(node, "state") not in _NOT_FILLED)
            if is_written and is_read_at_boot(file):
                if is_text(self._given_text(node)):
                    self._file(file, node, scope)
                else:
                    self._written.add(file)
                    self.trouble(its[name], f"settings written to {file}. Hint: give that file itself")
                self._used |= {id(each) for each in its.values()}
                self._handled |= {id(its[each]) for each in (_WHERE | _FILLED_WITH) & set(its)}
                return True
        return False

    def _holds_a_file(self, key: ScalarNode, node: Node) -> bool:
        """Whether a pair is the name of a file of sysctls and its content (a ConfigMap, cfn-init)."""
        holds = is_text(node) or (isinstance(node, MappingNode) and bool(_FILLED_WITH & set(self.names.of(node))))
        return holds and is_sysctl_file(key.value)

    def _file(self, path: str, node: Node, scope: object, *, encoded: bool = False) -> bool:
        """Read the content of a file of sysctls, or report it if this file does not have it. Returns True."""
        text = node if isinstance(node, ScalarNode) else self._given_text(node)
        self._written.add(path)
        if isinstance(text, ScalarNode) and is_text(text) and not encoded:
            self._content(text, scope)
        else:
            self.trouble(node, _A_FILE)
        return True

    def _given_text(self, node: Node) -> Node | None:
        """The text that is written to a file; None if it is encoded, removed, or elsewhere."""
        encoding = self.names.text(node, "encoding") or "text/plain"
        if encoding != "text/plain" or self.names.text(node, "state") == "absent":
            return None
        text = next((its for name in _TEXTS if (its := self.names.get(node, name)) is not None), None)
        return self.names.get(text, "inline") if isinstance(text, MappingNode) else text

    def _content(self, node: ScalarNode, scope: object) -> None:
        """Read a text as a file of its own, once, however many aliases lead to it."""
        if id(node) in self._read:
            return
        self._read.add(id(node))
        self._handled.add(id(node))
        at, why = formats.template(node.value)
        if why:
            source, line, column = self._moved(node)((self._source, node.value.count("\n", 0, at) + 1, 1))
            self._found.trouble(source, line, column, why)
            return
        part = Found()
        if _INI.match(node.value):
            from harness.sysctl_files import ini_files

            ini_files.read(node.value, self._source, part)
        else:
            file = SysctlD()
            file.read(node.value, self._source)
            part.lines, part.troubles = overruled(file.lines()), file.found.troubles
        self._found.take_in(part, self._moved(node), scope=scope)

    def _moved(self, node: Node) -> Callable[[Where], Where]:
        """A function from places in a node's text to places in the file: exact in a literal block, else its start."""
        source, first, column = self._where(node)
        if not (isinstance(node, ScalarNode) and node.style == "|"):
            return lambda _: (source, first, column)
        return lambda place: (source, first + max(place[1], 1), 1)

    # Settings and troubles.

    def _field(self, node: Node | None, inside: Node | None = None) -> Field | None:
        if node is not None and is_text(node):
            return Field(str(node.value), node)
        if at := node or inside:
            self.trouble(at, "a name or a value that is not plain text")
        return None

    def setting(
        self, name: Field | None, value: Field | None, *, optional: str = "", scope: object = None,
        sometimes: bool = False, at_start: bool = False,
    ) -> None:  # fmt: skip
        """Add a setting, unless a part of it is missing (which was reported before) or is not known here."""
        if not name or not value:
            return
        self._handled |= {
            id(each.node) for each in (name, value) if self._where(each.node)[1] == self._where(value.node)[1]
        }
        if len(value.text) > LONGEST:
            self.trouble(value.node, f"longer than {LONGEST} characters")
            return
        note, text = name.note or value.note, value.text
        if default := _DEFAULT.search(text):
            text, note = _DEFAULT.sub(r"\1", text), f"the default of {default[0]}"
        if self.without_templates(Field(name.text + text, value.node), value.node, name.text, text):
            self._handled.add(id(name.node))
            self._found.setting(name.text, text, self._where(name.node), optional=optional, scope=scope,
                                sometimes=sometimes, at_start=at_start, note=note)  # fmt: skip

    def without_templates(self, field: Field, at: Node, key: str, text: str = "") -> Field | None:
        """The same text; None, and reported, if a template engine or compose would insert something into it."""
        if not re.search(r"\{\{|\{%|\$", field.text):
            return field
        quoted = "(secret)" if names_a_secret(key) else repr(text or field.text)
        self.trouble(at, f"the template {quoted} is not known here")
        return None

    def mark(self, node: Node) -> None:
        """Note that a rule has read this node, or has reported the node that contains it."""
        self._handled.add(id(node))

    def trouble(self, node: Node, why: str) -> None:
        """Report a place that cannot be read."""
        self._handled.add(id(node))
        self._found.trouble(*self._where(node), why)

    def _where(self, node: Node) -> Where:
        return self._source, node.start_mark.line + 1, node.start_mark.column + 1


def _is_sysctl(its: list[str]) -> bool:
    """Whether these words are sysctl's command line."""
    return bool(its) and its[0].rpartition("/")[2] == "sysctl"


def _has_a_name(text: str) -> bool:
    """Whether a text is the name of a sysctl, or `name=value`."""
    name, _, value = text.partition("=")
    return is_name(name.strip(), value) and "\n" not in text.strip()


def _are_commands(its: list[str]) -> bool:
    """Whether these are commands, not the words of one command, in which only `sh -c` has words with spaces."""
    return "-c" not in its and any(sets_sysctls(word) for word in set(its) if " " in word.strip())


def _leaves(prefix: str, node: MappingNode) -> list[tuple[ScalarNode, Node]]:
    """The leaves of nested mappings, each with the names that lead to it, joined by dots."""
    found: list[tuple[ScalarNode, Node]] = []
    waiting = [(prefix, pair, 0) for pair in reversed(node.value)]
    for _ in range(LINES_LIMIT):
        if not waiting:
            break
        before, (key, value), depth = waiting.pop()
        name = ScalarNode(key.tag, f"{before}.{key.value if isinstance(key, ScalarNode) else ''}", key.start_mark)
        if isinstance(value, MappingNode) and depth < _DEEPEST_NAME:
            waiting += [(name.value, pair, depth + 1) for pair in reversed(value.value)]
        else:
            found.append((name, value))
    return found


def _is_all_settings(text: str) -> bool:
    """Whether every line, apart from comments, is `name=value`."""
    lines = (line.strip() for line in text.splitlines())
    parts = (line.partition("=") for line in lines if line and line[0] not in "#;")
    return all(equals and is_name(name.strip().removeprefix("-"), value) for name, equals, value in parts)
