"""The words of the pictures, in each language: page/words.json."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path


@cache
def words_in(language: str) -> Mapping[str, str]:
    """The words in one language; in English if the language is not known."""
    known = json.loads((Path(__file__).parent / "page" / "words.json").read_text(encoding="utf-8"))
    words: Mapping[str, str] = known.get(language) or known["en"]
    return words
