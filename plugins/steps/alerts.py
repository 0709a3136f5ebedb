"""Telling people of incidents: each once where it begins and once where it ends, on every channel.

What is to be told stands in control.incidents, so nothing is lost with a process or with a receiver that is down: what
could not be told is told by the next run. docs/alerts.md says what a message looks like and how its signature is read.
"""

import hashlib
import hmac
import ipaddress
import json
import logging
import os
import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from control import alert_channels, incidents, registry
from control.incidents import Incident
from warehouse import database
from warehouse.errors import ClarityError, MisuseError

log = logging.getLogger(__name__)

SLACK_URL = "CLARITY_ALERT_SLACK_URL"
WEBHOOK_URL = "CLARITY_ALERT_WEBHOOK_URL"
WEBHOOK_SECRET = "CLARITY_ALERT_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
SMTP_URL = "CLARITY_ALERT_SMTP_URL"
EMAIL_FROM = "CLARITY_ALERT_EMAIL_FROM"
EMAIL_TO = "CLARITY_ALERT_EMAIL_TO"
ALLOW_PRIVATE = "CLARITY_ALERT_ALLOW_PRIVATE"

# a run waits for nobody longer than this
SECONDS = 5.0
# an incident that nobody could be told of for so long is told by whoever looks
DAYS_TO_TELL = 7

_TO_TELL = f"""
select {incidents.COLUMNS}, told, end_told from control.incidents
where tenant_id = %(tenant)s and last_seen_at > now() - make_interval(days => %(days)s)
    and (
        (recovered_at is null and not told ?& %(channels)s)
        or (recovered_at is not null and exists (
            select from unnest(%(channels)s::text[]) as c (name) where told ? c.name and not end_told ? c.name
        ))
    )
order by opened_at, id
for update skip locked
"""  # noqa: S608 - our own columns


@dataclass(frozen=True)
class Waiting(Incident):
    """An incident with who has been told of its beginning and of its end."""

    told: Mapping[str, str]
    end_told: Mapping[str, str]

    def is_known_to(self, channel: str) -> bool:
        """The end of what was never told there is no news either."""
        if self.recovered_at is None:
            return channel in self.told
        return channel in self.end_told or channel not in self.told


# One connector of several is a part that is missing. Where none arrived nothing is scored.
_NOTHING_ARRIVED = """
update control.incidents as i set severity = 'failure'
where i.tenant_id = %(tenant)s and i.run_id = %(run)s and i.recovered_at is null and i.stage like 'extract %%'
    and not exists (
        select from control.sync_logs as s
        where s.tenant_id = i.tenant_id and s.run_id = i.run_id and s.status = 'completed'
    )
"""


class NotTold(Exception):
    """The receiver did not take it. Says why without repeating an address, which may be a secret."""


@dataclass(frozen=True)
class Message:
    """`kind` is failure, degradation or recovery."""

    tenant: str
    slug: str
    kind: str
    stage: str
    reason: str
    what_to_do: str
    run: str
    link: str
    since: datetime
    id: str

    @property
    def subject(self) -> str:
        return f"{self.tenant}: {self.stage}: {self.kind}"

    @property
    def text(self) -> str:
        lines = [self.reason]
        if self.what_to_do:
            lines.append(f"What to do: {self.what_to_do}")
        lines.append(f"Since {self.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC, last in run {self.run}")
        return "\n".join([*lines, *([self.link] if self.link else [])])


@dataclass(frozen=True)
class Channel:
    name: str
    send: Callable[[Message], None] = field(repr=False)


def settle(slug: str, run_id: str, failure: str, *, airflow: str = "") -> None:
    """At the end of a run: tell what began and what is over. `failure` is why the run is red, nothing if it is not.

    `airflow` is the address of its user interface, for links. Never raises: a run does not fail because nobody listens.
    """
    try:
        tenant = registry.tenant(slug)
        with database.run_session(tenant.id, application="alerts") as connection:
            _note_the_run(connection, tenant.id, run_id, slug, failure)
        tell(tenant, airflow=airflow)
    except (psycopg.Error, ClarityError) as error:
        log.warning("nobody was told of this run's end, the next run tells: %s", error)


def tell(tenant: registry.TenantEntry, *, airflow: str = "") -> int:
    """Tell of everything that has not been told. Returns how many messages went out."""
    with database.run_session(tenant.id, application="alerts") as connection:
        listening = list(channels(connection, tenant.id))
        if not listening:
            return 0
        names = [channel.name for channel in listening]
        # whoever else is telling holds the rows: each is told once
        with connection.cursor(row_factory=class_row(Waiting)) as cursor:
            waiting = cursor.execute(
                _TO_TELL, {"tenant": tenant.id, "days": DAYS_TO_TELL, "channels": names}
            ).fetchall()
        told = 0
        for channel in listening if waiting else ():
            told += _tell(connection, tenant, channel, waiting, airflow)
        return told


def try_out(tenant: registry.TenantEntry) -> list[tuple[str, str]]:
    """A message to each channel, and what became of it: nothing if it was taken."""
    message = Message(
        tenant=tenant.name,
        slug=tenant.slug,
        kind="recovery",
        stage="alerts",
        reason="Somebody tries whether this channel works. It does.",
        what_to_do="",
        run="none",
        link="",
        since=datetime.now(UTC),
        id="test",
    )
    with database.run_session(tenant.id, application="alerts") as connection:
        listening = list(channels(connection, tenant.id))
    outcomes = []
    for channel in listening:
        try:
            channel.send(message)
            outcomes.append((channel.name, ""))
        except NotTold as error:
            outcomes.append((channel.name, str(error)))
    return outcomes


def channels(connection: psycopg.Connection, tenant_id: str) -> Iterator[Channel]:
    """Those of the platform's operators, named by the environment, then the tenant's own."""
    if url := os.environ.get(SLACK_URL):
        yield Channel("platform:slack", lambda message: _slack(url, message))
    if hook := os.environ.get(WEBHOOK_URL):
        secret = os.environ.get(WEBHOOK_SECRET)
        if not secret:
            raise MisuseError(f"{WEBHOOK_URL} is set and {WEBHOOK_SECRET} is not: without it nothing can be signed")
        yield Channel("platform:webhook", lambda message: _webhook(hook, secret, message))
    if to := os.environ.get(EMAIL_TO):
        yield Channel("platform:email", lambda message: _mail(to.split(","), message))
    for kind, envelope in alert_channels.envelopes(connection, tenant_id).items():
        yield Channel(f"tenant:{kind}", _of_tenant(tenant_id, kind, envelope))


def _of_tenant(tenant_id: str, kind: str, envelope: str) -> Callable[[Message], None]:
    def send(message: Message) -> None:
        try:
            config = alert_channels.unseal(tenant_id, kind, envelope)
        except ClarityError as error:
            raise NotTold(str(error)) from None
        if kind == "email":
            _mail(config["to"], message)
            return
        _refuse_private(config["url"])
        if kind == "slack":
            _slack(config["url"], message)
        else:
            _webhook(config["url"], config["secret"], message)

    return send


def _note_the_run(connection: psycopg.Connection, tenant_id: str, run_id: str, slug: str, failure: str) -> None:
    """A red run of which no stage has said why, because it was killed or never began, is an incident of its own."""
    if not failure:
        incidents.over(connection, tenant_id=tenant_id, stage="run", causes=[incidents.FAILED])
        incidents.forget_sources(connection, tenant_id)
        return
    connection.execute(_NOTHING_ARRIVED, {"tenant": tenant_id, "run": run_id})
    said = connection.execute(
        "select from control.incidents where tenant_id = %s and run_id = %s and recovered_at is null",
        [tenant_id, run_id],
    ).fetchone()
    if said is None:
        incidents.seen(
            connection,
            tenant_id=tenant_id,
            stage="run",
            cause=incidents.FAILED,
            severity="failure",
            reason=f"the run ended red, and no stage had the time to say why: {failure}",
            remedy=f"A worker that was killed leaves no word: clear the tasks that failed, or `clarity run {slug}`.",
            run_id=run_id,
        )


def _tell(
    connection: psycopg.Connection,
    tenant: registry.TenantEntry,
    channel: Channel,
    waiting: Sequence[Waiting],
    airflow: str,
) -> int:
    told = 0
    for incident in waiting:
        if incident.is_known_to(channel.name):
            continue
        try:
            channel.send(_message(tenant, incident, airflow))
        except NotTold as error:
            # it is down: what else there is for it waits for the next run too
            log.warning("%s does not take messages, the next run tries again: %s", channel.name, error)
            return told
        connection.execute(
            sql.SQL("update control.incidents set {column} = {column} || %s where tenant_id = %s and id = %s").format(
                column=sql.Identifier("told" if incident.recovered_at is None else "end_told")
            ),
            [Jsonb({channel.name: datetime.now(UTC).isoformat()}), tenant.id, incident.id],
        )
        told += 1
    return told


def _message(tenant: registry.TenantEntry, incident: Incident, airflow: str) -> Message:
    is_over = incident.recovered_at is not None
    return Message(
        tenant=tenant.name,
        slug=tenant.slug,
        kind="recovery" if is_over else incident.severity,
        stage=incident.stage,
        reason=f"It is over: {incident.reason}" if is_over else incident.reason,
        what_to_do="" if is_over else incident.remedy,
        run=incident.run_id,
        link=_link(airflow, incident.run_id),
        since=incident.opened_at,
        id=f"{incident.id}:{'end' if is_over else 'begin'}",
    )


def _link(airflow: str, run_id: str) -> str:
    dag_id, slash, name = run_id.partition("/")
    return f"{airflow.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(name, safe='')}" if airflow and slash else ""


def _slack(url: str, message: Message) -> None:
    # three characters mean something to Slack; a reason may hold them
    escaped = message.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    _post(url, json.dumps({"text": f"*{message.subject}*\n{escaped}"}).encode(), {})


def _webhook(url: str, secret: str, message: Message) -> None:
    body = json.dumps({**asdict(message), "since": message.since.isoformat()}).encode()
    at = str(int(time.time()))
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    _post(url, body, {"X-Clarity-Signature": f"t={at},v1={signature}", "X-Clarity-Message": message.id})


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        return None


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    request = Request(url, data=body, headers={"Content-Type": "application/json", **headers})  # noqa: S310 - checked
    if urlsplit(url).scheme not in ("https", "http"):
        raise NotTold("the address must begin with https://")
    handlers = [_NoRedirects()]
    host = urlsplit(url).hostname or ""
    opener = build_opener(*handlers, *([ProxyHandler({})] if host in ("127.0.0.1", "localhost", "::1") else []))
    try:
        with opener.open(request, timeout=SECONDS):
            return
    except HTTPError as refused:
        raise NotTold(f"it answered {refused.code}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise NotTold(f"it can't be reached ({type(error).__name__})") from None


def _mail(to: Sequence[str], message: Message) -> None:
    server = os.environ.get(SMTP_URL)
    if not server:
        raise NotTold(f"{SMTP_URL} names no mail server")
    letter = EmailMessage()
    try:
        letter["Subject"] = message.subject.replace("\n", " ").replace("\r", " ")
        letter["From"] = os.environ.get(EMAIL_FROM) or "gtm-clarity@localhost"
        letter["To"] = ", ".join(address.strip() for address in to)
        letter["Message-ID"] = f"<{message.id.replace(':', '.')}@{message.slug}.gtm-clarity>"
    except ValueError as error:
        raise NotTold(f"an address can't be written to: {type(error).__name__}") from None
    letter.set_content(message.text)
    at = urlsplit(server)
    try:
        with _mail_server(at.scheme, at.hostname or "", at.port) as connection:
            if at.scheme == "smtp" and connection.has_extn("starttls"):
                connection.starttls(context=ssl.create_default_context())
                connection.ehlo()
            elif at.scheme == "smtp" and at.username:
                raise NotTold("it offers no encryption, and a password is not sent in the clear")
            if at.username:
                connection.login(unquote(at.username), unquote(at.password or ""))
            connection.send_message(letter)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise NotTold(f"the mail server does not take it ({type(error).__name__})") from None


def _mail_server(scheme: str, host: str, port: int | None) -> smtplib.SMTP:
    if scheme not in ("smtp", "smtps") or not host:
        raise NotTold(f"{SMTP_URL} must read smtp://USER:PASSWORD@HOST:PORT or smtps://...")
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port or 465, timeout=SECONDS, context=ssl.create_default_context())
    connection = smtplib.SMTP(host, port or 587, timeout=SECONDS)
    connection.ehlo()
    return connection


def _refuse_private(url: str) -> None:
    """A tenant names the address, our network makes the call: it must not reach what only we can."""
    if os.environ.get(ALLOW_PRIVATE) == "yes":
        return
    parts = urlsplit(url)
    if parts.scheme != "https":
        raise NotTold("the address must begin with https://")
    try:
        found = {info[4][0] for info in socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)}
    except OSError:
        raise NotTold("no such host") from None
    if not all(ipaddress.ip_address(str(address).partition("%")[0]).is_global for address in found):
        raise NotTold("the address is inside a private network")
