"""YAML's nodes, by their names: what the readers of structured files share. A node knows where it stands."""

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
    """A text, the node that it stands in, and what a reader had to assume of it."""

    text: str
    node: Node
    note: str = ""


def is_text(node: Node | None) -> TypeGuard[ScalarNode]:
    """Whether it is a plain text, which null is not."""
    return isinstance(node, ScalarNode) and node.tag != _NULL


def merges(key: Node) -> bool:
    """Whether it is the key `<<`, whose value is merged in."""
    return isinstance(key, ScalarNode) and key.tag == _MERGE


class Names:
    """Mappings by their names, each made once: an alias may lead to one ten thousand times."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[MappingNode, dict[str, Node]]] = {}

    def of(self, node: Node | None) -> dict[str, Node]:
        """Empty if it is no mapping. The node is kept, so that its id stays its own."""
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
    """The first words of a list, of each its beginning: a command that is looked for is no longer."""
    return [each.value[:_LONGEST_WORD] for each in node.value[:_WORDS_LIMIT] if isinstance(each, ScalarNode)]


def is_whole(node: SequenceNode) -> bool:
    """Whether words() are all of it."""
    return len(node.value) <= _WORDS_LIMIT and all(
        isinstance(each, ScalarNode) and len(each.value) <= _LONGEST_WORD for each in node.value
    )


def pairs_as_items(node: MappingNode) -> Iterator[Node]:
    """What Ansible's dict2items makes of a mapping: items with a `key` and a `value`."""
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
