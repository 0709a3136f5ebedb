"""A Fathom that is not there: its doors and recordings. See `serve`, `Studio`."""

from sandbox.fathom.app import create_app
from sandbox.fathom.server import Served, serve
from sandbox.fathom.studio import Studio

__all__ = ["Served", "Studio", "create_app", "serve"]
