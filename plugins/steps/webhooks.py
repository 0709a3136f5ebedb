"""Webhooks: what a vendor sends is kept in one quick transaction, and landed by the connector's next extract.

Accepted means on the disk: whoever is killed afterwards has lost nothing. Nothing is worked out meanwhile, so the
answer takes milliseconds and a vendor that waits for it does not hold back what follows.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
import psycopg

from connectors import catalogue
from connectors.contract import Hears, Page, Record, Rejected
from connectors.webhooks import Unsigned
from control import registry
from control import webhooks as kept
from control.webhooks import Endpoint
from warehouse import database, landing
from warehouse.errors import MisuseError
from warehouse.landing import Landed

MOST_BYTES = 1 << 20
STATEMENT_SECONDS = 3


@dataclass(frozen=True)
class Answer:
    """What the vendor is told: an HTTP status and a sentence."""

    status: int
    sentence: str


def endpoint(slug: str, connector_type: str, *, secret: str | None = None, actor: str) -> Endpoint:
    """Where the vendor of this connector may send what happens."""
    if connector_type not in catalogue.names() or catalogue.webhooks(connector_type) is None:
        senders = ", ".join(name for name in catalogue.names() if catalogue.webhooks(name)) or "none"
        raise MisuseError(f"{connector_type[:40]} sends no webhooks; of the connectors these do: {senders}")
    return kept.endpoint(registry.tenant(slug).id, connector_type, secret=secret, actor=actor)


def session() -> psycopg.Connection:
    """The receiver's own way into the database."""
    return database.connect(
        database.receiver_conninfo(), autocommit=True, application="webhooks", statement_timeout=STATEMENT_SECONDS
    )


def accept(
    connection: psycopg.Connection,
    vendor: str,
    key: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Answer:
    """Keep what the vendor has sent, if it is the vendor who has. Headers by their names in small letters."""
    scheme = catalogue.webhooks(vendor) if vendor in catalogue.names() else None
    secret = kept.secret_behind(connection, vendor, key) if scheme and key.isprintable() else None
    if scheme is None or secret is None:
        return Answer(404, "there is no such endpoint, or its secret was not given yet")
    try:
        event_id = scheme(secret, headers, body, now())
    except Unsigned as refusal:
        return Answer(401, str(refusal))
    try:
        event = orjson.dumps(orjson.loads(body)).decode()
    except orjson.JSONDecodeError:
        return Answer(400, "the body is not JSON")
    is_new = kept.accept(connection, key, event_id, event)
    return Answer(200, "accepted" if is_new else "known already")


@dataclass(slots=True)
class Landing:
    """The inbox of one connector on its way into raw."""

    connection: psycopg.Connection
    tenant_id: str
    connector_id: str
    connector: str
    sync_id: str
    fence: int
    # leaves out what is about erased people
    screened: Callable[[str, Page], tuple[Page, int]]
    # why an event could not be read, for people
    sentence: Callable[[str, BaseException], str]

    def run(self, client: Hears) -> tuple[dict[str, Landed], str]:
        """Land what waits. Returns the counts by stream, and why an event stays where it is, if one does.

        Killed between a page and the mark that it has landed, the same is landed again, which raw knows to be no news.
        """
        counts: defaultdict[str, Landed] = defaultdict(Landed)
        failure = ""
        for events in kept.waiting(self.connection, self.tenant_id, self.connector_id):
            by_stream: defaultdict[str, list[Record | Rejected]] = defaultdict(list)
            read: list[str] = []
            for event in events:
                try:
                    told = list(client.heard(orjson.loads(event.text)))
                except Exception as error:  # noqa: BLE001 - one event must not hold up the others; it is told at the end
                    failure = failure or self.sentence(f"the webhook event {event.id}", error)
                    continue
                read.append(event.id)
                for stream, outcome in told:
                    by_stream[stream].append(outcome)
            for stream, outcomes in by_stream.items():
                counts[stream] += self._land(stream, outcomes)
            with landing.fenced(self.connection, self.fence):
                kept.landed(self.connection, self.tenant_id, self.connector_id, read, self.sync_id)
        return dict(counts), failure

    def _land(self, stream: str, outcomes: list[Record | Rejected]) -> Landed:
        # where the stream stands is not moved: its own reading goes on from there
        state = landing.state_of(self.connection, self.tenant_id, self.connector, stream)
        page, _ = self.screened(
            stream,
            Page(
                [outcome for outcome in outcomes if isinstance(outcome, Record)],
                state,
                [outcome for outcome in outcomes if isinstance(outcome, Rejected)],
            ),
        )
        return landing.land(
            self.connection,
            landing.prepare(page.records, page.rejected),
            tenant_id=self.tenant_id,
            connector_id=self.connector_id,
            connector=self.connector,
            stream=stream,
            state=state,
            sync_id=self.sync_id,
            fence=self.fence,
        )
