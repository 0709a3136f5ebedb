"""Where the reading of each mailbox stands: Graph's own links, as they came."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from connectors.contract import State, understood

VERSION = 1


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A meeting that has not ended: for whom it stands in raw, by digests, so that it can be called off."""

    ends: datetime
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """One folder or one calendar. `seen` are the upcoming events that a round from the start has met so far.

    `window` is the calendar's; None for mail. Without a link the place is read from its start.
    """

    link: str | None = None
    window: tuple[datetime, datetime] | None = None
    upcoming: Mapping[str, Upcoming] = field(default_factory=dict)
    seen: frozenset[str] | None = None

    def from_its_start(self, window: tuple[datetime, datetime] | None = None) -> "Place":
        return replace(self, link=None, window=window, seen=frozenset() if window else None)


Places = dict[str, Place]


def read(state: State | None) -> Places:
    if not state:
        return {}
    with understood(state, VERSION):
        return {str(name): _place(kept) for name, kept in state["places"].items()}


def write(places: Mapping[str, Place]) -> dict[str, Any]:
    return {"version": VERSION, "places": {name: _kept(place) for name, place in sorted(places.items())}}


def _place(kept: Mapping[str, Any]) -> Place:
    window, seen = kept.get("window"), kept.get("seen")
    return Place(
        link=None if kept["link"] is None else str(kept["link"]),
        window=None if window is None else (_moment(window[0]), _moment(window[1])),
        upcoming={
            str(event): Upcoming(_moment(ends), tuple(parts))
            for event, (ends, *parts) in kept.get("upcoming", {}).items()
        },
        seen=None if seen is None else frozenset(seen),
    )


def _kept(place: Place) -> dict[str, Any]:
    kept: dict[str, Any] = {"link": place.link}
    if place.window is not None:
        kept["window"] = [moment.isoformat() for moment in place.window]
        kept["upcoming"] = {
            event: [upcoming.ends.isoformat(), *upcoming.parts] for event, upcoming in sorted(place.upcoming.items())
        }
        kept["seen"] = None if place.seen is None else sorted(place.seen)
    return kept


def _moment(text: Any) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
