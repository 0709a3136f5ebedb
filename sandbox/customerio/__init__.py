"""A Customer.io that is not there: its doors, its people and messages. See `serve`, `Workspace`."""

from sandbox.customerio.app import create_app
from sandbox.customerio.server import Served, serve
from sandbox.customerio.workspace import Workspace

__all__ = ["Served", "Workspace", "create_app", "serve"]
