"""The pictures' own words, in each language: page/words.json."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path


@cache
def words_in(language: str) -> Mapping[str, str]:
    """Those of one language; English ones where it is not known."""
    known = json.loads((Path(__file__).parent / "page" / "words.json").read_text(encoding="utf-8"))
    words: Mapping[str, str] = known.get(language) or known["en"]
    return words
