"""A Clerk that is not there: organisations with their members, and webhooks that tell of them. See `serve`, `World`."""

from sandbox.clerk.server import Served, serve
from sandbox.clerk.world import World

__all__ = ["Served", "World", "serve"]
