"""When the tenants' DAGs are to be parsed: when Airflow's are others than there should be.

Airflow parses a file over and over, changed or not; what these DAGs are made from is in the registry, not in the file.
To look there costs two queries, and to parse five hundred tenants seconds of a processor. So Airflow is asked for a
parse when there is something new, in the table in which it keeps what its own pages ask for.
"""

from collections.abc import Iterable, Mapping, Set

import psycopg

from control import registry
from control.registry import TenantEntry

# of either kind of DAG, where it is made
FILES = {"pipeline": "tenant_pipelines.py", "rescore": "tenant_nights.py"}
# how Airflow calls its folder of DAGs
BUNDLE = "dags-folder"

SHOWN = "select dag_id from dag where relative_fileloc = any(%s) and not is_stale"
ASK = """\
insert into dag_priority_parsing_request (id, bundle_name, relative_fileloc)
values (md5(%(bundle)s || ':' || %(file)s), %(bundle)s, %(file)s)
on conflict (id) do nothing
"""


def news(airflow: psycopg.Connection) -> Mapping[str, str]:
    """What a parse would change, in a few words, by the kind of DAGs. Of a connection to Airflow's own database."""
    there = registry.everybody()
    shown = {dag_id for (dag_id,) in airflow.execute(SHOWN, [list(FILES.values())])}
    return {kind: what for kind in FILES if (what := _news(kind, there, shown))}


def ask(airflow: psycopg.Connection, kinds: Iterable[str]) -> None:
    """Have the dag-processor parse their files next, whenever it last did."""
    for kind in kinds:
        airflow.execute(ASK, {"bundle": BUNDLE, "file": FILES[kind]})


def _news(kind: str, there: list[TenantEntry], shown: Set[str]) -> str | None:
    parsed = registry.last_parsed(kind)
    if parsed is None:
        # the first one is under way
        return None
    if there != parsed:
        return "the registry has changed"
    wanted = {f"{kind}__{tenant.slug}" for tenant in there}
    # a database that went away in the middle of a parse leaves some out
    different = wanted ^ {dag_id for dag_id in shown if dag_id.startswith(f"{kind}__")}
    return f"{len(different)} DAGs are missing or too many" if different else None
