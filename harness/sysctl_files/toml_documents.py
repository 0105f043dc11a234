"""The sysctls in TOML: Bottlerocket's settings.kernel.sysctl, default_sysctls of containers.conf and cri-o.

tomllib keeps no places, so each text is searched for after the one before it. If the same text occurs in between as
part of another one, the place found is that of the other.
"""

import re
import tomllib
from bisect import bisect_right

from yaml import Mark
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.sysctl_files import manifests
from harness.sysctl_files.lines import Found

_DEEPEST = 50
_DEEP = re.compile(rf"(?<![\w\"'.-])(?:[\w\"'-]++[ \t]*+\.[ \t]*+){{{_DEEPEST}}}")
"""A name of many parts: tomllib's time grows with the square of their number."""

_MOST_MISSES = 1000
"""The most texts to search for from the beginning of the file: each search may take time linear in its length."""

_COMMENT = re.compile(r"^[ \t]*#.*$", re.M)


def read(text: str, source: str, found: Found) -> None:
    """Read one file into `found`."""
    if not manifests.concerns(text):
        return
    if deep := _DEEP.search(text):
        found.trouble(source, text.count("\n", 0, deep.start()) + 1, 1, f"a name of more than {_DEEPEST} parts")
        return
    try:
        document = tomllib.loads(text)
        node = _Places(text).node(document, 0)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"at line (\d+), column (\d+)", str(error))
        line, column = (int(at[1]), int(at[2])) if at else (0, 0)
        found.trouble(source, line, column, f"not TOML: {str(error).partition(' (at')[0]}")
    except RecursionError:
        found.trouble(source, 0, 0, "nested too deeply")
    except ValueError as error:  # an impossible date, or an integer that is too long
        found.trouble(source, 0, 0, f"not TOML: {error}")
    else:
        manifests.Document(source, found).walk(node)


class _Places:
    """Builds nodes from tomllib's result, with the places of their texts."""

    def __init__(self, text: str) -> None:
        self._text = _COMMENT.sub(lambda comment: " " * len(comment[0]), text)
        self._starts = [0, *(end.end() for end in re.finditer("\n", text))]
        self._after = self._misses = 0

    def node(self, value: object, at: int, depth: int = 0) -> Node:
        if depth > _DEEPEST:
            raise RecursionError
        mark = self._mark(at)
        if isinstance(value, dict):
            pairs = [self._pair(str(key), its, at, depth) for key, its in value.items()]
            return MappingNode("tag:yaml.org,2002:map", pairs, mark, mark)
        if isinstance(value, list):
            return SequenceNode("tag:yaml.org,2002:seq", [self._item(its, at, depth) for its in value], mark, mark)
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return ScalarNode("tag:yaml.org,2002:str", text, mark, mark)

    def _pair(self, key: str, value: object, at: int, depth: int) -> tuple[Node, Node]:
        where = self._find(key, at)
        return self.node(key, where), self.node(value, where, depth + 1)

    def _item(self, value: object, at: int, depth: int) -> Node:
        return self.node(value, self._find(value, at) if isinstance(value, str) else at, depth + 1)

    def _find(self, text: str, otherwise: int) -> int:
        """The next place of a text, or `otherwise`, that of its container, if it is written in another form."""
        if not text or self._misses > _MOST_MISSES:
            return otherwise
        where = self._text.find(text, self._after)
        if where < 0:
            self._misses += 1
            where = self._text.find(text)
        self._after = where + len(text) if where >= 0 else self._after
        return where if where >= 0 else otherwise

    def _mark(self, at: int) -> Mark:
        line = bisect_right(self._starts, at) - 1
        return Mark("", at, line, at - self._starts[line], None, 0)
