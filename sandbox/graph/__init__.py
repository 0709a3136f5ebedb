"""A Microsoft 365 that is not there: mailboxes, calendars, changes since a link. See `serve`, `Directory`, `Faults`."""

from sandbox.graph.app import create_app
from sandbox.graph.directory import Directory
from sandbox.graph.faults import Faults
from sandbox.graph.server import Served, serve

__all__ = ["Directory", "Faults", "Served", "create_app", "serve"]
