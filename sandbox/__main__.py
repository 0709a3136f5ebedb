"""`python -m sandbox salesforce`: a vendor that is not there, for people and for other processes."""

import argparse
from threading import Event

from sandbox import graph
from sandbox.salesforce import Faults, Org, serve

GUIDE = """\
Logs in with client id sandbox-client and secret sandbox-secret, refresh token sandbox-refresh, or
user integration@seller.example with password sandbox-password and token sandbox-token.

Another process drives it by POST with JSON:
  /_sandbox/advance   {"days": 1}
  /_sandbox/mutate    {"do": "edit", "with": ["Account", "001..."], "values": {"Name": "New"}}
  /_sandbox/faults    {"rates": {"429": 0.05, "cut": 0.05}} or {"next": "timeout", "containing": "/query"}
  /_sandbox/settings  {"budget": 1000, "rotates": true, "public_key": "-----BEGIN PUBLIC KEY-----..."}
and reads /_sandbox/log and /_sandbox/truth/Account.
"""

GRAPH_GUIDE = """\
Directory sandbox-directory, client id sandbox-client, secret sandbox-secret. base_url ends in /v1.0.

Another process drives it by POST with JSON:
  /_sandbox/advance   {"days": 1}
  /_sandbox/mutate    {"do": "receive", "with": [{"name": "Ada", "address": "ada@acme.example"}], "values": {"to": 1}}
  /_sandbox/faults    {"rates": {"429": 0.05, "lost": 0.01}} or {"next": "timeout", "containing": "/delta"}
and reads /_sandbox/log.
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m sandbox", description="Vendors that behave like the real ones.")
    vendors = parser.add_subparsers(dest="vendor", required=True)
    salesforce = vendors.add_parser(
        "salesforce",
        help="an org with accounts, people, deals and mails",
        epilog=GUIDE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    salesforce.add_argument("--port", type=int, default=8040, help="0 for any free one (default: %(default)s)")
    salesforce.add_argument("--seed", type=int, default=1, help="the same seed gives the same org")
    salesforce.add_argument("--accounts", type=int, default=20)
    salesforce.add_argument("--tasks", type=int, default=0, help="so many tasks on top of those that were really done")
    salesforce.add_argument("--budget", type=int, default=100_000, help="calls per day")
    salesforce.add_argument("--faults", type=float, default=0.0, help="share of the requests that go wrong, 0 to 1")
    microsoft = vendors.add_parser(
        "graph",
        help="the mailboxes and calendars of the same people: Microsoft 365",
        epilog=GRAPH_GUIDE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    microsoft.add_argument("--port", type=int, default=8041, help="0 for any free one (default: %(default)s)")
    microsoft.add_argument("--seed", type=int, default=1, help="the same seed gives the same mailboxes")
    microsoft.add_argument("--accounts", type=int, default=20)
    microsoft.add_argument("--faults", type=float, default=0.0, help="share of the requests that go wrong, 0 to 1")
    chosen = parser.parse_args(arguments)
    if chosen.vendor == "graph":
        _serve_graph(chosen)
    else:
        _serve_salesforce(chosen)


def _serve_graph(chosen: argparse.Namespace) -> None:
    faults = graph.Faults(chosen.seed)
    if chosen.faults:
        faults.everything(chosen.faults)
    with graph.serve(graph.Directory(chosen.seed, chosen.accounts), faults, port=chosen.port) as served:
        _stands("Microsoft 365", served.url)


def _serve_salesforce(chosen: argparse.Namespace) -> None:
    org = Org(chosen.seed, chosen.accounts, budget=chosen.budget)
    org.fill("Task", chosen.tasks)
    faults = Faults(chosen.seed)
    if chosen.faults:
        faults.everything(chosen.faults)
    with serve(org, faults, port=chosen.port) as served:
        _stands("Salesforce", served.url)


def _stands(name: str, url: str) -> None:
    print(f"{name} stands at {url}", flush=True)
    try:
        Event().wait()
    except KeyboardInterrupt:
        print(f"{name} is closed.")


if __name__ == "__main__":
    main()
