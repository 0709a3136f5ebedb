"""A rehearsal: models tried in a private schema, what they would change, and that nothing is changed by it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from control import bi_users, tenants
from steps import provision, rehearsal
from steps.rehearsal import Difference, Example, Rehearsal
from tests.dbt.conftest import Pipeline
from tests.dbt.project_copy import project_copy
from warehouse import database, isolation, lease, private
from warehouse.errors import ClarityError, MisuseError
from warehouse.home import project_root

ME = "system:ann.lee"
MART, COUNTS = "mart_revenue__scores", "mart_revenue__tier_distribution"
LIVE = "select oid::regclass::text from pg_class where relkind = 'r' and relnamespace::regnamespace::text = any(%s)"


@dataclass
class Stage:
    pipeline: Pipeline
    told: list[str] = field(default_factory=list)

    def rehearse(self, *select: str) -> Rehearsal:
        return rehearsal.run(
            self.pipeline.slug, actor=ME, select=select, on_result=lambda result: self.told.append(result.model)
        )

    def live(self) -> dict[str, list[tuple[str, str]]]:
        """Where each row of every table stands and which transaction put it there; of leases, which beat, not."""
        schemas = ["raw", "control", "canonical", "rollups", "scores", "marts", "quality"]
        with database.connect(database.admin_conninfo()) as admin:
            tables = [name for (name,) in admin.execute(LIVE, [schemas]).fetchall()]
            admin.execute("set local row_security = off")
            return {
                name: admin.execute(f"select ctid::text, xmin::text from {name} order by 1".encode()).fetchall()
                for name in tables
                if name != "control.run_leases"
            }


@pytest.fixture(scope="module")
def stage(platform: Path) -> Iterator[Stage]:
    """A tenant with a hot account and a cold one, scored and published."""
    slug = f"rehearsed_{os.getpid()}"
    tenant_id = provision.create_tenant("Rehearsed", slug, actor="system:tests")
    pipeline = Pipeline(tenant_id, slug)
    pipeline.land("accounts", {"id": "a1", "name": "Acme", "website": "acme.com"}, {"id": "a2", "name": "Bolt"})
    pipeline.land("people", {"id": "p1", "account_id": "a1", "email": "ann@acme.com"})
    pipeline.land("opportunities", {"id": "o1", "account_id": "a1", "name": "Renewal", "contact_ids": "p1"})
    pipeline.land(
        "activities",
        {"id": "e1", "person_id": "p1", "type": "demo_request", "occurred_at": "2026-03-01T10:00:00Z"},
        {"id": "e2", "person_id": "p1", "type": "page_view", "occurred_at": "2026-03-02T10:00:00Z"},
    )
    pipeline.transform()
    for external_id, score, tier in (("files:a1", 80, "hot"), ("files:a2", 20, "cold")):
        ((account,),) = pipeline.rows(f"select id from canonical.accounts where external_id = '{external_id}'")
        pipeline.score("account", account, score, tier)
    pipeline.transform("marts")
    # a correction, so that the rollup of signals has a history
    pipeline.land(
        "activities", {"id": "e2", "person_id": "p1", "type": "form_fill", "occurred_at": "2026-03-02T10:00:00Z"}
    )
    pipeline.transform()
    pipeline.transform("marts")
    yield Stage(pipeline)
    tenants.delete(tenant_id, actor="system:tests")


@pytest.mark.long
def test_what_is_deployed_gives_what_is_live_from_canonical_to_the_marts(stage: Stage) -> None:
    before = stage.live()
    # a rehearsal only reads: it waits for no run and no run waits for it
    with lease.hold(stage.pipeline.id, "another", stage="transform"):
        done = stage.rehearse("canonical", "rollups", "marts")
    assert stage.live() == before
    # marts of operations tell what runs did, also the one that wrote them
    told = [it for it in done.differences if not it.model.startswith("mart_operations__")]
    different = [it for it in told if it.changed or it.only_live or it.only_here]
    assert different == []
    compared = {it.model: it.equal for it in done.differences}
    assert compared["activities"] == 2
    assert compared["rollup_person_signals_daily"] == 2
    assert compared[MART] == 2
    assert done.failed_tests == ()
    assert MART in stage.told


@pytest.mark.long
def test_an_edit_is_shown_row_by_row_with_the_tests_that_it_would_fail(stage: Stage, tmp_path: Path) -> None:
    with project_copy(tmp_path / "dbt") as project:
        project.rewrite(
            MART,
            "is_hot",
            "made.tier = 'hot'",
            data_type="boolean",
            data_tests=[{"accepted_values": {"arguments": {"values": [True], "quote": False}}}],
        )
        project.rewrite(MART, "combined", "made.combined + case when made.tier = 'hot' then 1 else 0 end")
        project.rewrite(COUNTS, "tier", "case made.tier when 'hot' then 'boiling' else made.tier end")
        # by default what differs from what is deployed, and what reads it
        done = stage.rehearse()
    ((key,),) = stage.pipeline.rows(f"select entity_id from marts.{MART} where tier = 'hot'")
    shown = {difference.model: difference for difference in done.differences}
    assert shown.keys() == {MART, COUNTS}
    assert shown[MART] == Difference(
        MART,
        equal=1,
        changed=1,
        columns={"combined": 1},
        new_columns=("is_hot",),
        examples=(Example({"entity_type": "account", "entity_id": key}, "changed", {"combined": (80, 81)}),),
    )
    # rows that come and go are counted
    counted = shown[COUNTS]
    assert (counted.equal, counted.changed, counted.only_live, counted.only_here) == (3, 0, 1, 1)
    assert {(example.side, example.key["tier"]) for example in counted.examples} == {
        ("only_here", "boiling"),
        ("only_live", "hot"),
    }
    told = {(failed.model, failed.test.split(f"{failed.model}_")[-1].split("__")[0]) for failed in done.failed_tests}
    assert told >= {(MART, "is_hot"), (COUNTS, "tier")}
    assert {failed.model for failed in done.failed_tests} == {MART, COUNTS}
    assert stage.pipeline.rows(f"select count(*) from {done.schema}.{MART} where is_hot") == [(1,)]
    assert stage.pipeline.rows(f"select max(combined) from marts.{MART}") == [(80,)]


@pytest.mark.long
def test_plain_dbt_works_there_and_says_what_it_can_not_make(stage: Stage, tmp_path: Path) -> None:
    # by the command, in a process that has not met dbt yet
    rehearsed = subprocess.run(
        [sys.executable, "-m", "cli.main", "transform", stage.pipeline.slug, "--dev", "--select", MART],
        env={**os.environ, "LOGNAME": ME.removeprefix("system:")},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert rehearsed.returncode == 0, rehearsed.stderr
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "dbt", "--no-use-colors", "build", "--target-path", tmp_path / "target"),
            *("--select", MART, "rollup_person_signals_daily"),
        ],
        cwd=project_root() / "dbt",
        env={
            **os.environ,
            **rehearsal.environment(stage.pipeline.slug, actor=ME),
            "DBT_LOG_PATH": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=200,
    )
    told = " ".join(done.stdout.split())
    assert done.returncode == 1, told
    assert " ERROR=1 " in told
    assert f"OK created sql incremental model dev_annlee_{stage.pipeline.slug}.{MART}" in told
    assert "does not exist yet: run `clarity transform TENANT --dev` with this model selected" in told


@pytest.mark.long
def test_nobody_else_may_look_at_it_and_the_isolation_walk_holds(stage: Stage) -> None:
    schema = stage.rehearse(MART).schema
    other = provision.create_tenant("Other", f"other_{os.getpid()}", actor="system:tests")
    bi = bi_users.add(stage.pipeline.id, actor="system:tests")
    run, control = database.run_login(stage.pipeline.id), database.control_login(stage.pipeline.id)
    for login in (bi, control, database.run_login(other)):
        with database.connect(database.conninfo(login)) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for schema"):
                connection.execute(f"select from {schema}.{MART}".encode())
    with database.connect(database.conninfo(run)) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for schema"):
            connection.execute(f"create table {schema}.mine ()".encode())
    assert isolation.walk({"run": run, "control": control, "bi": bi}, stage.pipeline.id, other).findings == ()
    assert isolation.walk({"run": database.run_login(other)}, other, stage.pipeline.id).findings == ()

    bi_users.revoke(stage.pipeline.id, bi.name, actor="system:tests")
    assert rehearsal.drop(stage.pipeline.slug, actor=ME)
    assert not rehearsal.drop(stage.pipeline.slug, actor=ME)
    # what is left of a tenant's rehearsals goes with the tenant
    private.make(private.name_for("bob", f"other_{os.getpid()}"), other)
    assert private.of_tenant(other) == [f"dev_bob_other_{os.getpid()}"]
    tenants.delete(other, actor="system:tests")
    assert private.of_tenant(other) == []


@pytest.mark.long
def test_a_rehearsal_that_can_not_be_says_why(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no model differs from what is deployed"):
        stage.rehearse()
    with pytest.raises(MisuseError, match="means no model"):
        stage.rehearse("mart_of_nobody")
    with pytest.raises(ClarityError, match="platform's operators"):
        rehearsal.run(stage.pipeline.slug, actor="eve", select=[MART])
    with project_copy(tmp_path / "dbt") as project:
        project.rewrite(MART, "tier", "made.no_such_column")
        with pytest.raises(ClarityError, match=f"the rehearsal failed. {MART}: column made.no_such_column does not"):
            stage.rehearse(MART)


@pytest.mark.parametrize(
    ("user", "slug", "schema"),
    [("ann", "acme", "dev_ann_acme"), ("Ann.Lee", "a_b", "dev_annlee_a_b"), ("ann_a", "b", "dev_anna_b")],
)
def test_a_schema_belongs_to_one_user_and_tenant(user: str, slug: str, schema: str) -> None:
    assert private.name_for(user, slug) == schema
    assert len(private.name_for("u" * 100, "s" * 40)) <= 63
