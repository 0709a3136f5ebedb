"""When the tenants' DAGs are to be parsed: when Airflow's are others than there should be.

Airflow parses a file over and over, changed or not; what these DAGs are made from is in the registry, not in the file.
To look there costs two queries, and to parse five hundred tenants seconds of a processor. So Airflow is asked for a
parse when there is something new, in the table in which it keeps what its own pages ask for.
"""

import psycopg

from control import registry

FILE = "tenant_pipelines.py"
# how Airflow calls its folder of DAGs
BUNDLE = "dags-folder"
KINDS = ("pipeline", "rescore")

ASK = """\
insert into dag_priority_parsing_request (id, bundle_name, relative_fileloc)
values (md5(%(bundle)s || ':' || %(file)s), %(bundle)s, %(file)s)
on conflict (id) do nothing
"""


def news(airflow: psycopg.Connection) -> str | None:
    """What a parse would change, in a few words; None if nothing. Of a connection to Airflow's own database."""
    parsed = registry.last_parsed()
    if parsed is None:
        # the first one is under way
        return None
    there = registry.everybody()
    if there != parsed:
        return "the registry has changed"
    wanted = {f"{kind}__{tenant.slug}" for tenant in there for kind in KINDS}
    # a database that went away in the middle of a parse leaves some out
    shown = airflow.execute("select dag_id from dag where relative_fileloc = %s and not is_stale", [FILE]).fetchall()
    different = wanted ^ {dag_id for (dag_id,) in shown}
    return f"{len(different)} DAGs are missing or too many" if different else None


def ask(airflow: psycopg.Connection) -> None:
    """Have the dag-processor parse the file next, whenever it last did."""
    airflow.execute(ASK, {"bundle": BUNDLE, "file": FILE})
