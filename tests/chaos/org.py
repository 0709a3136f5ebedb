"""A vendor of the sandbox in a process of its own, so that what is killed does not take it along."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from sandbox.salesforce.identity import Identity
from tests.chaos.conftest import SEED

# Every sandbox lets the same application in.
IDENTITY = Identity(SEED)
# Each new client would read all certificates that there are, which takes longer than the call.
HTTP = httpx.Client(timeout=60, trust_env=False)


@dataclass(frozen=True)
class Org:
    url: str

    @property
    def login(self) -> dict[str, Any]:
        """What a connector is configured with to get in."""
        return {
            "login_url": self.url,
            "client_id": IDENTITY.client_id,
            "client_secret": IDENTITY.client_secret,
            "backoff_seconds": 0.01,
        }

    def get(self, what: str) -> Any:
        return HTTP.get(f"{self.url}/_sandbox/{what}").raise_for_status().json()

    def post(self, what: str, **order: Any) -> Any:
        return HTTP.post(f"{self.url}/_sandbox/{what}", json=order).raise_for_status().json()

    def mutate(self, do: str, *arguments: Any, **values: Any) -> Any:
        return self.post("mutate", do=do, **{"with": arguments, "values": values})["done"]

    def calls(self, after: int = 0) -> int:
        """How many it has had, beyond so many."""
        return len(self.get(f"calls?after={after}"))


@contextmanager
def served(vendor: str = "salesforce", **sizes: int) -> Iterator[str]:
    """Its address."""
    sizes_given = " ".join(f"--{name} {size}" for name, size in sizes.items())
    sandbox = f"-m sandbox {vendor} --port 0 --seed {SEED} {sizes_given}"
    with subprocess.Popen([sys.executable, *sandbox.split()], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.kill()
