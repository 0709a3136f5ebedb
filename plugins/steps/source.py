"""A tenant's connector, opened: its other side, and what must never be repeated of it."""

import logging
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import psycopg

from connectors import catalogue
from connectors.contract import Connector, ConnectorError, Consent
from control import connectors, consent
from control.connectors import OpenConnector
from steps.acquaintances import Acquaintances
from warehouse import database
from warehouse.errors import ClarityError
from warehouse.text import storable

log = logging.getLogger(__name__)


class Source:
    def __init__(self, connection: psycopg.Connection, tenant_id: str, connector: str) -> None:
        self._opened = [connectors.open_connector(connection, tenant_id, connector)]
        self.tenant_id, self.type, self.id = tenant_id, connector, self._opened[0].id
        allowed = consent.of(connection, tenant_id)
        self._consent = Consent(allowed.accepted_at is not None, frozenset(allowed.domains), allowed.own_domain)

    def connect(self) -> Connector:
        """Raises Fatal if the configuration is wrong."""
        config = self._opened[-1].config
        if catalogue.is_behind_consent(self.type):
            return catalogue.connect(self.type, config, self._renew, self._consent)
        if catalogue.asks_about_people(self.type):
            acquaintances = Acquaintances(self.tenant_id, self.id)
            return catalogue.connect(self.type, config, self._renew, acquaintances=acquaintances)
        return catalogue.connect(self.type, config, self._renew)

    def redacted(self, text: str) -> str:
        """What a vendor says, as it may stand in logs and tables: its library may repeat whatever it was given."""
        for opened in self._opened:
            text = opened.redacted(text, is_secret=partial(catalogue.is_secret, self.type))
        return storable(text)

    def sentence(self, stream: str, error: BaseException) -> str:
        """Why the stream failed, for people. Where and how goes to the log, if it was nobody's intention."""
        if isinstance(error, ConnectorError | ClarityError):
            return self.redacted(str(error))
        log.error("%s %s failed\n%s", self.type, stream, self.redacted("".join(traceback.format_exception(error))))
        first_line = self.redacted(str(error)).partition("\n")[0]
        return f"{type(error).__name__}: {first_line}"

    def _renew(
        self, *, stale: Mapping[str, str], ask_vendor: Callable[[Mapping[str, Any]], Mapping[str, str]]
    ) -> Mapping[str, Any]:
        # A session of its own: the new secrets are committed, whatever becomes of the page that is landing meanwhile.
        with database.run_session(self.tenant_id, autocommit=True, application=f"renew {self.type}") as connection:
            config = connectors.renew(connection, self.tenant_id, self.type, stale=stale, ask_vendor=ask_vendor)
        self._opened.append(OpenConnector(self.id, self.type, config))
        return config
