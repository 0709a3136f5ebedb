"""What PostgreSQL can keep as text and JSON: what Python can, but for NUL and for halves of characters."""

from collections.abc import Mapping, Sequence
from typing import Any


def is_storable(content: Any) -> bool:
    """Whether a text, or every text in a piece of JSON, can be kept."""
    match content:
        case str():
            return "\0" not in content and (content.isascii() or not any(map(_is_half, content)))
        case Mapping():
            return all(is_storable(key) and is_storable(value) for key, value in content.items())
        case Sequence() if not isinstance(content, bytes | bytearray):
            return all(map(is_storable, content))
        case _:
            return True


def storable(text: str) -> str:
    """The same text, with what can't be kept written out."""
    return text.replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode("utf-8")


def _is_half(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"
