"""One score told on a screen: for whoever has to call somebody, and for whoever doubts the number."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from scoring.explain import phrases


def told(row: Mapping[Any, Any], name: str, people: Mapping[str, str]) -> list[str]:
    """The lines that explain a row of `score_all`, which has its breakdown as text or as what the text says.

    `name` is that of the account, person or opportunity; `people` gives names to the ids of people in the breakdown.
    """
    found = row["score_breakdown"]
    breakdown: Mapping[str, Any] = json.loads(found) if isinstance(found, str) else found
    fit, engagement = breakdown["fit"], breakdown["engagement"]
    known = "nothing" if fit["score"] is None else f"{fit['coverage']:.0%}"
    return [
        f"{name}: {row['tier']}, {_figure(row['combined_score'])} of 100",
        "",
        breakdown["because"],
        breakdown["to_be_hot"],
        "",
        f"Fit {_figure(row['fit_score'])} ({known} of the profile is known)",
        *_lines(fit["parts"], people),
        "",
        f"Engagement {_figure(row['engagement_score'])}" + (" (nothing yet)" if not engagement["parts"] else ""),
        *_lines(engagement["parts"], people),
    ]


def _figure(score: float | None) -> str:
    return "unknown" if score is None else f"{score:.1f}"


def _lines(parts: list[Mapping[str, Any]], people: Mapping[str, str]) -> Iterator[str]:
    for part in parts:
        unknown = "match" in part and part["match"] is None
        yield f"{'?' if unknown else format(part['points'], '+.1f'):>8}  {_what(part, people)}"


def _what(part: Mapping[str, Any], people: Mapping[str, str]) -> str:
    kind = str(part["part"])
    if "text" in part:
        return str(part["text"])
    if kind == "person":
        return people.get(part["person_id"], part["person_id"])
    if kind == "others":
        return f"{part['people']} more people"
    if kind == "company":
        return "interest of the company that nobody of it stands for"
    if kind == "breadth":
        return f"{part['people']} people are active"
    if kind == "velocity":
        return f"its pace, {'quicker' if part['points'] > 0 else 'slower'} than expected"
    return f"{part['count']}{phrases(kind)[part['count'] != 1]}, last on {part['last_on']}"
