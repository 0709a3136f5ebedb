"""`python -m sandbox salesforce` (customerio, fathom): a vendor that is not there, for people and other processes."""

import argparse
from threading import Event

from sandbox import clerk, customerio, fathom, graph
from sandbox.customerio import Workspace
from sandbox.fathom import Studio
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


ABOUT_CLERK = """\
The secret key is sk_test_sandbox. Another process makes things happen by POST with JSON to /_sandbox/do:
  {"do": "found", "with": ["Acme"], "values": {"slug": "acme"}}      answers with the organisation's id
  {"do": "join", "with": ["org_...", "ann@acme.example", "org:admin"]}
  {"do": "rename" | "describe" | "dissolve" | "leave" | "refuse", "with": [...]}
and reads /_sandbox/calls and /_sandbox/events.
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
    organisations = vendors.add_parser(
        "clerk",
        help="organisations and their members",
        epilog=ABOUT_CLERK,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    organisations.add_argument("--port", type=int, default=8041, help="0 for any free one (default: %(default)s)")
    marketing = vendors.add_parser("customerio", help="a workspace with people, e-mails and what came of them")
    marketing.add_argument("--port", type=int, default=8043, help="0 for any free one (default: %(default)s)")
    marketing.add_argument("--seed", type=int, default=1, help="the same seed gives the same people as in salesforce")
    marketing.add_argument("--accounts", type=int, default=20)
    marketing.add_argument("--faults", type=float, default=0.0, help="share of the requests that go wrong, 0 to 1")
    meetings = vendors.add_parser("fathom", help="recordings of meetings")
    meetings.add_argument("--port", type=int, default=8042, help="0 for any free one (default: %(default)s)")
    meetings.add_argument("--seed", type=int, default=1, help="the same seed gives the same meetings as in salesforce")
    meetings.add_argument("--accounts", type=int, default=20)
    meetings.add_argument("--faults", type=float, default=0.0, help="share of the requests that go wrong, 0 to 1")
    microsoft = vendors.add_parser(
        "graph",
        help="the mailboxes and calendars of the same people: Microsoft 365",
        epilog=GRAPH_GUIDE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    microsoft.add_argument("--port", type=int, default=8044, help="0 for any free one (default: %(default)s)")
    microsoft.add_argument("--seed", type=int, default=1, help="the same seed gives the same mailboxes")
    microsoft.add_argument("--accounts", type=int, default=20)
    microsoft.add_argument("--faults", type=float, default=0.0, help="share of the requests that go wrong, 0 to 1")
    chosen = parser.parse_args(arguments)
    stands = {
        "clerk": _clerk,
        "customerio": _customerio,
        "fathom": _fathom,
        "graph": _graph,
        "salesforce": _salesforce,
    }
    stands[chosen.vendor](chosen)


def _clerk(chosen: argparse.Namespace) -> None:
    with clerk.serve(port=chosen.port) as served:
        _stand("Clerk", served.url)


def _fathom(chosen: argparse.Namespace) -> None:
    faults = Faults(chosen.seed)
    if chosen.faults:
        faults.everything(chosen.faults, without=("expired", "quota"))
    studio = Studio(chosen.seed, chosen.accounts)
    with fathom.serve(studio, faults, port=chosen.port) as served:
        _stand("Fathom", served.url, f"The API key is {studio.api_key}. ")


def _customerio(chosen: argparse.Namespace) -> None:
    faults = Faults(chosen.seed)
    if chosen.faults:
        faults.everything(chosen.faults, without=("expired", "quota"))
    workspace = Workspace(chosen.seed, chosen.accounts)
    with customerio.serve(workspace, faults, port=chosen.port) as served:
        _stand("Customer.io", served.url, f"The App API key is {workspace.api_key}. ")


def _graph(chosen: argparse.Namespace) -> None:
    faults = graph.Faults(chosen.seed)
    if chosen.faults:
        faults.everything(chosen.faults)
    with graph.serve(graph.Directory(chosen.seed, chosen.accounts), faults, port=chosen.port) as served:
        _stand("Microsoft 365", served.url)


def _salesforce(chosen: argparse.Namespace) -> None:
    org = Org(chosen.seed, chosen.accounts, budget=chosen.budget)
    org.fill("Task", chosen.tasks)
    faults = Faults(chosen.seed)
    if chosen.faults:
        faults.everything(chosen.faults)
    with serve(org, faults, port=chosen.port) as served:
        _stand("Salesforce", served.url)


def _stand(vendor: str, url: str, first: str = "") -> None:
    # on one line, which ends with the address: whoever started this as a process reads it there
    print(f"{first}{vendor} stands at {url}", flush=True)
    try:
        Event().wait()
    except KeyboardInterrupt:
        print(f"{vendor} is closed.")


if __name__ == "__main__":
    main()
