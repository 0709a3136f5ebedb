"""How much a person's title weighs when engagement is averaged over the people of an account."""

from __future__ import annotations

import re

_HELPER = re.compile(r"\b(assistant|secretary|aide|intern|trainee|apprentice)\b(?! (director|manager|vice|vp)\b)")
_TOP = re.compile(
    r"\b(c[cdefimoprst]o|ciso|chro|chief (\w+ ){1,4}officer|managing director"
    r"|(vice ?)?president|(co ?)?founder|[esa]?vp)\b"
)
_DIRECTOR = re.compile(r"\bdirector\b")
_MANAGER = re.compile(r"\bmanager\b")
_SEPARATORS = re.compile(r"[\W_]+")


def title_weight(title: str) -> float:
    """1.5 for the C-suite, presidents, founders and VPs, 1.3 for directors, 1.1 for managers, 1.0 for all others.

    Whoever assists one of these is none of them; an assistant director is a director.
    """
    words = _SEPARATORS.sub(" ", title.casefold()).strip()
    if _HELPER.search(words):
        return 1.0
    if _TOP.search(words):
        return 1.5
    if _DIRECTOR.search(words):
        return 1.3
    return 1.1 if _MANAGER.search(words) else 1.0
