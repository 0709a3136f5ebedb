"""A Salesforce that is not there: its doors, its records, its moods. See `serve`, `Org`, `Faults`."""

from sandbox.salesforce.app import create_app
from sandbox.salesforce.faults import Faults
from sandbox.salesforce.log import Call, Log, Write
from sandbox.salesforce.org import Org
from sandbox.salesforce.server import Served, serve

__all__ = ["Call", "Faults", "Log", "Org", "Served", "Write", "create_app", "serve"]
