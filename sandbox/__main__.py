"""`python -m sandbox salesforce` (customerio, fathom): a vendor that is not there, for people and other processes."""

import argparse
from pathlib import Path
from threading import Event

from sandbox import clerk, customerio, delivrai, demo_vendors, fathom, graph
from sandbox.customerio import Workspace
from sandbox.delivrai import Index
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

DELIVRAI_GUIDE = """\
Topics: planning-software, supplier-comparison, automation, compliance. Another process moves the day by POST with
JSON to /_sandbox/advance, {"days": 1}, and reads what was charged at /_sandbox/billed.
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m sandbox", description="Vendors that behave like the real ones.")
    vendors = parser.add_subparsers(dest="vendor", required=True)

    def vendor(name: str, port: int, about: str, guide: str = "") -> argparse.ArgumentParser:
        made = vendors.add_parser(name, help=about, epilog=guide, formatter_class=argparse.RawDescriptionHelpFormatter)
        made.add_argument("--port", type=int, default=port, help="0 for any free one (default: %(default)s)")
        return made

    vendor("clerk", 8041, "organisations and their members", ABOUT_CLERK)
    salesforce = vendor("salesforce", 8040, "an org with accounts, people, deals and mails", GUIDE)
    of_the_world = (
        salesforce,
        vendor("customerio", 8043, "a workspace with people, e-mails and what came of them"),
        vendor("fathom", 8042, "recordings of meetings"),
        vendor("delivrai", 8045, "who researches what at the same companies, and who they are", DELIVRAI_GUIDE),
        vendor("graph", 8044, "the mailboxes and calendars of the same people: Microsoft 365", GRAPH_GUIDE),
    )
    for each in of_the_world:
        each.add_argument("--seed", type=int, default=1, help="the same seed gives the same companies in all of them")
        each.add_argument("--accounts", type=int, default=20)
        each.add_argument("--faults", type=float, default=0.0, help="share of the requests that go wrong, 0 to 1")
    salesforce.add_argument("--tasks", type=int, default=0, help="so many tasks on top of those that were really done")
    salesforce.add_argument("--budget", type=int, default=100_000, help="calls per day")
    demo = vendors.add_parser("demo", help="all vendors of the demo's tenants, where its plan says")
    demo.add_argument("--plan", type=Path, required=True)
    demo.add_argument("--day", required=True, help="the last day of the plan")
    chosen = parser.parse_args(arguments)
    stands = {
        "clerk": _clerk,
        "customerio": _customerio,
        "delivrai": _delivrai,
        "demo": _demo,
        "fathom": _fathom,
        "graph": _graph,
        "salesforce": _salesforce,
    }
    stands[chosen.vendor](chosen)


def _clerk(chosen: argparse.Namespace) -> None:
    with clerk.serve(port=chosen.port) as served:
        _stand("Clerk", served.url)


def _demo(chosen: argparse.Namespace) -> None:
    with demo_vendors.stand(chosen.plan):
        _stand("The demo", str(chosen.plan))


def _fathom(chosen: argparse.Namespace) -> None:
    studio = Studio(chosen.seed, chosen.accounts)
    with fathom.serve(studio, _by_key(chosen), port=chosen.port) as served:
        _stand("Fathom", served.url, f"The API key is {studio.api_key}. ")


def _customerio(chosen: argparse.Namespace) -> None:
    workspace = Workspace(chosen.seed, chosen.accounts)
    with customerio.serve(workspace, _by_key(chosen), port=chosen.port) as served:
        _stand("Customer.io", served.url, f"The App API key is {workspace.api_key}. ")


def _delivrai(chosen: argparse.Namespace) -> None:
    index = Index(chosen.seed, chosen.accounts)
    with delivrai.serve(index, _by_key(chosen), port=chosen.port) as served:
        _stand("Delivr.ai", served.url, f"The API key is {index.api_key}, its secret {index.api_secret}. ")


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


def _by_key(chosen: argparse.Namespace) -> Faults:
    """Whoever is let in by a key has no session that ends, and no day's quota."""
    faults = Faults(chosen.seed)
    if chosen.faults:
        faults.everything(chosen.faults, without=("expired", "quota"))
    return faults


def _stand(vendor: str, url: str, first: str = "") -> None:
    # on one line, which ends with the address: whoever started this as a process reads it there
    print(f"{first}{vendor} stands at {url}", flush=True)
    try:
        Event().wait()
    except KeyboardInterrupt:
        print(f"{vendor} is closed.")


if __name__ == "__main__":
    main()
