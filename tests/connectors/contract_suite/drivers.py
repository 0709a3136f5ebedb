"""Who is in the suite."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.connectors.contract_suite import customerio, delivrai, fathom, files, o365, salesforce
from tests.connectors.contract_suite.driver import Capability, Driver


@dataclass(frozen=True, slots=True)
class Entry:
    opened: Callable[[Path, pytest.MonkeyPatch], AbstractContextManager[Driver]]
    cannot: Mapping[Capability, str]


DRIVERS = {
    "files": Entry(files.files, files.CANNOT),
    "whole_files": Entry(files.whole_files, files.CANNOT_IF_WHOLE),
    "salesforce_rest": Entry(salesforce.by_rest, salesforce.CANNOT),
    "salesforce_bulk": Entry(salesforce.by_bulk, salesforce.CANNOT),
    "customerio_messages": Entry(customerio.messages, customerio.CANNOT),
    "customerio_people": Entry(customerio.people, customerio.CANNOT),
    "delivrai": Entry(delivrai.people, delivrai.CANNOT),
    "fathom": Entry(fathom.meetings, fathom.CANNOT),
    "o365_mail": Entry(o365.mail, o365.CANNOT_MAIL),
    "o365_calendar": Entry(o365.calendar, o365.CANNOT),
}
