"""A Delivr.ai that is not there: who it knows, what they research, and what it charges. See `serve`, `Index`."""

from sandbox.delivrai.app import create_app
from sandbox.delivrai.index import Index
from sandbox.delivrai.server import Served, serve

__all__ = ["Index", "Served", "create_app", "serve"]
