"""Helpers for YAML's nodes, which know their places, for the readers of structured files."""

from collections.abc import Iterator
from typing import NamedTuple, TypeGuard

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.sysctl_files.lines import LINES_LIMIT

_NULL = "tag:yaml.org,2002:null"
_STRING = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_WORDS_LIMIT = 50
_LONGEST_WORD = 256


class Field(NamedTuple):
    """A text, its node, and what the reader had to assume about it."""

    text: str
    node: Node
    note: str = ""


def is_text(node: Node | None) -> TypeGuard[ScalarNode]:
    """Whether a node is plain text; null is not."""
    return isinstance(node, ScalarNode) and node.tag != _NULL


def merges(key: Node) -> bool:
    """Whether a key is `<<`, whose value is merged into the mapping."""
    return isinstance(key, ScalarNode) and key.tag == _MERGE


class Names:
    """The pairs of mappings as dicts, each built once, because ten thousand aliases may lead to one mapping."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[MappingNode, dict[str, Node]]] = {}

    def of(self, node: Node | None) -> dict[str, Node]:
        """The pairs of a mapping; empty for any other node. The node is kept alive, so that its id stays unique."""
        if not isinstance(node, MappingNode):
            return {}
        if id(node) not in self._made:
            found = {key.value: value for key, value in node.value if isinstance(key, ScalarNode)}
            self._made[id(node)] = node, found
        return self._made[id(node)][1]

    def get(self, node: Node | None, name: str) -> Node | None:
        return self.of(node).get(name)

    def text(self, node: Node | None, *names: str) -> str:
        """The text of the first of these names that has one; else empty."""
        found = (self.of(node).get(name) for name in names)
        return next((str(each.value) for each in found if isinstance(each, ScalarNode) and is_text(each)), "")


def words(node: SequenceNode) -> list[str]:
    """The beginnings of a list's first words, long enough for the commands that are searched for."""
    return [each.value[:_LONGEST_WORD] for each in node.value[:_WORDS_LIMIT] if isinstance(each, ScalarNode)]


def is_whole(node: SequenceNode) -> bool:
    """Whether words() returns the whole list, uncut."""
    return len(node.value) <= _WORDS_LIMIT and all(
        isinstance(each, ScalarNode) and len(each.value) <= _LONGEST_WORD for each in node.value
    )


def pairs_as_items(node: MappingNode) -> Iterator[Node]:
    """A mapping as items with a `key` and a `value`, as by Ansible's dict2items."""
    for key, value in node.value[:LINES_LIMIT]:
        mark = key.start_mark
        named = [(ScalarNode(_STRING, name, mark, mark), each) for name, each in (("key", key), ("value", value))]
        yield MappingNode("tag:yaml.org,2002:map", named, mark, value.end_mark)


def every_node(document: Node) -> Iterator[Node]:
    """Each node once, in the order in which they are written."""
    seen: set[int] = set()
    waiting = [document]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            if isinstance(node, SequenceNode):
                waiting += reversed(node.value)
            elif isinstance(node, MappingNode):
                waiting += (each for pair in reversed(node.value) for each in reversed(pair))
