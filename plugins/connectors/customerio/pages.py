"""From what Customer.io tells to records: pure. What is no record costs itself alone.

A person becomes one flat object, a message one record for each thing that came of it, as its webhooks tell of them: a
message changes with every open, and most of what is known of it does not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from connectors.contract import Record, Rejected

Told = Any  # whatever stands in a list of the vendor's

# Of a message, what is worth a signal, by the name that the log of activities has for it.
METRICS = {
    "sent": "sent_email",
    "opened": "opened_email",
    "clicked": "clicked_email",
    "bounced": "bounced_email",
    "unsubscribed": "unsubscribed_email",
    "spammed": "spammed_email",
}
# Machines open mails and follow links too, and the vendor counts people apart from them.
BY_HUMANS = {"opened": "human_opened", "clicked": "human_clicked"}
# What moves with every open, or is said otherwise in the record.
NOT_OF_THE_MESSAGE = frozenset({"metrics", "deduplicate_id", "customer_identifiers", "type"})
# What a webhook says of an open or a click that a mail gateway or a proxy made in advance.
MARKS_OF_MACHINES = ("prefetched", "machine")
# What is smaller than a time in this century is a count.
SMALLEST_TIME = 1_000_000_000


def people_of(rows: Iterable[Told], told_at: datetime | None) -> tuple[list[Record], list[Rejected]]:
    """As they were when this was told. Attributes have times of their own, but none tells that one was taken away."""
    return _read(rows, lambda row, position: _person(row, position, told_at))


def messages_of(rows: Iterable[Told]) -> tuple[list[Record], list[Rejected]]:
    made: list[Record] = []
    refused: list[Rejected] = []
    for number, row in enumerate(rows, start=1):
        outcome = _message(row, f"row {number} of the page")
        if isinstance(outcome, Rejected):
            refused.append(outcome)
        else:
            made += outcome
    return made, refused


def activities_of(rows: Iterable[Told]) -> tuple[list[Record], list[Rejected]]:
    return _read(rows, _activity)


def things_of(rows: Iterable[Told]) -> tuple[list[Record], list[Rejected]]:
    """Campaigns, newsletters and segments."""
    return _read(rows, _thing)


def gone(activity: Told, told_at: datetime | None) -> Record | Rejected:
    """What a profile_delete tells: who. Nothing else is known of them from then on, nor is to be."""
    who = cio_id_of(activity)
    if who is None:
        return Rejected("profile_delete", "does not tell who was deleted", activity)
    return Record(who, {"cio_id": who}, told_at, is_deleted=True)


def cio_id_of(activity: Told) -> str | None:
    """Of whom an activity tells. Customer.io's own id is the one that everybody has and that stays."""
    identifiers = activity.get("customer_identifiers") if isinstance(activity, Mapping) else None
    return _id(identifiers.get("cio_id")) if isinstance(identifiers, Mapping) else None


def outcome_of(stream: str, raw: Any, record_id: str | None) -> Record | Rejected:
    """Once more what was refused: as the vendor told it, or as a payload of ours that could not land."""
    if record_id is not None and isinstance(raw, Mapping) and _is_ours(stream, raw):
        return Record(record_id, raw)
    if stream == "messages":
        parts = _message(raw, "replayed")
        if isinstance(parts, Rejected):
            return parts
        return parts[0] if len(parts) == 1 else Rejected("replayed", "is a message: the next sync reads it anew", raw)
    match stream:
        case "people":
            return _person(raw, "replayed")
        case "activities":
            return _activity(raw, "replayed")
    return _thing(raw, "replayed")


def _is_ours(stream: str, raw: Mapping[str, Any]) -> bool:
    return (stream == "messages" and "metrics" not in raw) or (stream == "people" and "identifiers" not in raw)


def _read(rows: Iterable[Told], read: Callable[[Told, str], Record | Rejected]) -> tuple[list[Record], list[Rejected]]:
    made, refused = [], []
    for number, row in enumerate(rows, start=1):
        outcome = read(row, f"row {number} of the page")
        if isinstance(outcome, Record):
            made.append(outcome)
        else:
            refused.append(outcome)
    return made, refused


def _person(row: Told, position: str, told_at: datetime | None = None) -> Record | Rejected:
    """One flat object, as a mapping reads it: attributes beside the identifiers.

    Attributes with a leading underscore are Customer.io's own bookkeeping (_last_emailed): with them every mail would
    be a change of the person. Devices are not kept.
    """
    told = row.get("customer", row) if isinstance(row, Mapping) else None
    if not isinstance(told, Mapping):
        return Rejected(position, "is not an object with fields", row)
    attributes, identifiers = _object(told, "attributes"), _object(told, "identifiers")
    who = _id(identifiers.get("cio_id") or attributes.get("cio_id"))
    if who is None:
        return Rejected(position, "has no cio_id", row)
    payload = {name: value for name, value in attributes.items() if not name.startswith("_")}
    payload |= {
        "cio_id": who,
        "id": identifiers.get("id"),
        "email": identifiers.get("email"),
        "unsubscribed": told.get("unsubscribed"),
    }
    return Record(who, payload, told_at)


def _object(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = told.get(name)
    return found if isinstance(found, Mapping) else {}


def _message(row: Told, position: str) -> list[Record] | Rejected:
    if not isinstance(row, Mapping):
        return Rejected(position, "is not an object with fields", row)
    message, metrics = _id(row.get("id")), row.get("metrics")
    if message is None:
        return Rejected(position, "has no id", row)
    if not isinstance(metrics, Mapping):
        return Rejected(position, "does not tell what became of the message", row, message)
    about = {name: value for name, value in row.items() if name not in NOT_OF_THE_MESSAGE} | {"cio_id": cio_id_of(row)}
    updated_at = _deduplicated_at(row)
    made = []
    for metric in METRICS:
        if (at := _moment(metrics.get(metric))) is not None:
            payload = about | {"id": message, **_what(metric, at, metrics)}
            made.append(Record(f"{message}:{metric}", payload, updated_at or at))
    return made


def _what(metric: str, at: datetime, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What came of a message and when; of what machines do too, whether a person did it, and when the first did."""
    if (by_humans := BY_HUMANS.get(metric)) is None:
        return {"type": METRICS[metric], "occurred_at": _iso(at)}
    counted = metrics.get(by_humans)
    is_human = isinstance(counted, int) and counted > 0
    if isinstance(counted, int) and counted > SMALLEST_TIME:
        at = _moment(counted) or at
    return {"type": METRICS[metric], "occurred_at": _iso(at), "is_human": is_human}


def heard(event: Told) -> Iterator[tuple[str, Record | Rejected]]:
    """What a reporting webhook tells of an e-mail, as the list of messages will tell it.

    The list knows more of who opened, so its stamp, that of the message's latest change, is never the earlier one.
    """
    if not isinstance(event, Mapping) or event.get("object_type") != "email" or event.get("metric") not in METRICS:
        return
    data, metric, at = _object(event, "data"), str(event["metric"]), _moment(event.get("timestamp"))
    message = _id(data.get("delivery_id"))
    if message is None or at is None:
        yield "messages", Rejected("webhook", "has no delivery_id or no timestamp", event)
        return
    about = {name: value for name, value in data.items() if name not in ("identifiers", "delivery_id")}
    about |= {"cio_id": _id(_object(data, "identifiers").get("cio_id"))}
    what: dict[str, Any] = {"type": METRICS[metric], "occurred_at": _iso(at)}
    if metric in BY_HUMANS:
        what["is_human"] = not any(data.get(mark) for mark in MARKS_OF_MACHINES)
    yield "messages", Record(f"{message}:{metric}", about | {"id": message, **what}, at)


def _activity(row: Told, position: str) -> Record | Rejected:
    outcome = _with_id(row, position, lambda told: _moment(told.get("timestamp")))
    if isinstance(outcome, Rejected):
        return outcome
    at = outcome.source_updated_at
    more = {"cio_id": cio_id_of(row), "occurred_at": _iso(at) if at else None}
    return Record(outcome.id, {**outcome.payload, **more}, at)


def _thing(row: Told, position: str) -> Record | Rejected:
    return _with_id(
        row,
        position,
        lambda told: _deduplicated_at(told) or _moment(told.get("updated") or told.get("updated_at")),
    )


def _with_id(row: Told, position: str, stamp: Callable[[Mapping[str, Any]], datetime | None]) -> Record | Rejected:
    if not isinstance(row, Mapping):
        return Rejected(position, "is not an object with fields", row)
    record_id = _id(row.get("id"))
    if record_id is None:
        return Rejected(position, "has no id", row)
    return Record(record_id, row, stamp(row))


def _deduplicated_at(told: Mapping[str, Any]) -> datetime | None:
    """deduplicate_id is the id and the time of the latest update, with a colon between; an id may hold one too."""
    text = told.get("deduplicate_id")
    return _moment(text.rpartition(":")[2]) if isinstance(text, str) else None


def _id(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None


def _moment(value: Any) -> datetime | None:
    """Seconds since 1970. 0 is no time, and neither is what lies beyond any calendar."""
    try:
        return datetime.fromtimestamp(int(value), UTC) if value and not isinstance(value, bool) else None
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
