"""Numbers in sentences."""


def counted(count: int, one: str, many: str = "") -> str:
    """A number with its noun: 1 story, 2 stories."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"
