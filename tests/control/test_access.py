"""Who may do what: the table, walked against the real functions and the real commands."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cli import main
from control import access, bi_users, configs, connectors, mappings, members, templates, tenants, writeback_configs
from control.access import PERMISSIONS, ROLES
from steps import provision
from tests.conftest import Tenant
from warehouse import database
from warehouse.errors import ClarityError

SYSTEM = "system:tests"
USERS = {"stranger": None, "vic": "viewer", "max": "manager", "ada": "admin", SYSTEM: "admin"}

NAME = {"sourceField": "Company", "targetField": "name"}
TIER = {"canonicalField": "tier", "targetField": "Tier__c"}
CHAMPION = {"role": "champion", "required": True, "weight": 1}
FILES = ("files", "accounts")

# In this order each works for whoever may do all of it. Actions that are not here are asked of the table directly.
ATTEMPTS: list[tuple[str, Callable[[str, str], Any]]] = [
    ("config.show", lambda t, a: configs.show(t, actor=a)),
    ("config.show", lambda t, a: configs.versions(t, "fit", actor=a)),
    ("config.set", lambda t, a: provision.set_scoring_config(t, "fit", {"industries": ["X"]}, actor=a)),
    ("config.rollback", lambda t, a: provision.rollback_scoring_config(t, "fit", 1, actor=a)),
    ("mapping.show", lambda t, a: mappings.show(t, *FILES, actor=a)),
    ("mapping.show", lambda t, a: mappings.versions(t, *FILES, actor=a)),
    ("mapping.set", lambda t, a: mappings.put(t, *FILES, {"mappings": [NAME]}, actor=a)),
    ("mapping.set", lambda t, a: mappings.rollback(t, *FILES, 1, actor=a)),
    ("mapping.reset", lambda t, a: mappings.reset(t, *FILES, actor=a)),
    ("template.show", lambda t, a: templates.show(t, actor=a)),
    ("template.show", lambda t, a: templates.versions(t, "Mine", actor=a)),
    ("template.set", lambda t, a: templates.put(t, {"name": "Mine", "roles": [CHAMPION]}, actor=a)),
    ("template.set", lambda t, a: templates.rollback(t, "Mine", 1, actor=a)),
    ("writeback_config.show", lambda t, a: writeback_configs.show(t, actor=a)),
    ("writeback_config.show", lambda t, a: writeback_configs.versions(t, *FILES, actor=a)),
    ("writeback_config.set", lambda t, a: writeback_configs.put(t, *FILES, {"field_map": [TIER]}, actor=a)),
    ("writeback_config.set", lambda t, a: writeback_configs.rollback(t, *FILES, 1, actor=a)),
    ("writeback_config.enable", lambda t, a: writeback_configs.enable(t, *FILES, writable=True, actor=a)),
    ("writeback_config.disable", lambda t, a: writeback_configs.disable(t, *FILES, actor=a)),
    ("member.list", lambda t, a: members.all_of(t, actor=a)),
    ("member.add", lambda t, a: members.add(t, "guest", "viewer", actor=a)),
    ("member.remove", lambda t, a: members.remove(t, "guest", actor=a)),
    ("bi_user.list", lambda t, a: bi_users.names(t, actor=a)),
    ("bi_user.add", lambda t, a: bi_users.add(t, actor=a)),
    ("bi_user.revoke", lambda t, a: bi_users.revoke(t, bi_users.names(t, actor=SYSTEM)[0], actor=a)),
    ("connector.list", lambda t, a: connectors.overview(t, actor=a)),
    ("tenant.pause", lambda t, a: tenants.set_paused(t, True, actor=a)),
    ("tenant.resume", lambda t, a: tenants.set_paused(t, False, actor=a)),
]

KEPT = (
    "scoring_configs", "scoring_config_versions", "field_mappings", "mapping_versions", "role_templates",
    "role_template_versions", "writeback_configs", "writeback_config_versions", "members", "connectors",
)  # fmt: skip


@pytest.fixture
def furnished(tenant: Tenant, tmp_path: Path) -> Tenant:
    """A tenant with something of everything, and a member of each role."""
    provision.add_connector(tenant.id, "files", {"folder": str(tmp_path)}, actor=SYSTEM)
    for user, role in USERS.items():
        if role and user != SYSTEM:
            members.add(tenant.id, user, role, actor=SYSTEM)
    members.add(tenant.id, "guest", "viewer", actor=SYSTEM)
    mappings.put(tenant.id, *FILES, {"mappings": [NAME]}, actor=SYSTEM)
    templates.put(tenant.id, {"name": "Mine", "roles": [{**CHAMPION, "weight": 2}]}, actor=SYSTEM)
    writeback_configs.put(tenant.id, *FILES, {"field_map": [{**TIER, "targetField": "T"}]}, actor=SYSTEM)
    bi_users.add(tenant.id, actor=SYSTEM)
    return tenant


def of_the_table(action: str) -> Callable[[str, str], Any]:
    return lambda tenant_id, actor: access.require(tenant_id, actor, action)


def everything(tenant: Tenant) -> str:
    with database.control_session(tenant.id) as connection:
        tables = {
            table: connection.execute(f"select to_jsonb(t) from control.{table} as t order by 1".encode()).fetchall()
            for table in KEPT
        }
        paused = connection.execute("select paused_at is null from control.tenants").fetchall()
    return json.dumps([tables, paused, bi_users.names(tenant.id, actor=SYSTEM)])


def trail(tenant: Tenant) -> list[tuple[str, str]]:
    with database.control_session(tenant.id) as connection:
        return connection.execute("select user_id, action from control.audit_log order by seq").fetchall()


@pytest.mark.parametrize("user", USERS)
def test_each_role_can_do_what_the_table_says_and_a_refusal_is_audited_and_changes_nothing(
    furnished: Tenant, user: str
) -> None:
    rank = -1 if USERS[user] is None else ROLES.index(str(USERS[user]))
    asked = [(action, of_the_table(action)) for action in PERMISSIONS.keys() - {action for action, _ in ATTEMPTS}]
    for action, attempt in (*ATTEMPTS, *asked):
        if rank >= ROLES.index(PERMISSIONS[action]):
            attempt(furnished.id, user)
            continue
        before, known = everything(furnished), trail(furnished)
        with pytest.raises(ClarityError, match=f"{action} needs the role {PERMISSIONS[action]}"):
            attempt(furnished.id, user)
        assert everything(furnished) == before
        assert trail(furnished) == [*known, (user, f"{action}.refused")]


def test_a_change_names_who_made_it(furnished: Tenant) -> None:
    before = len(trail(furnished))
    mappings.reset(furnished.id, *FILES, actor="max")
    assert trail(furnished)[before:] == [("max", "mapping.reset")]


def test_a_member_of_one_tenant_is_a_stranger_to_another(furnished: Tenant, other_tenant: Tenant) -> None:
    with pytest.raises(ClarityError, match="ada is no member of this tenant"):
        mappings.reset(other_tenant.id, *FILES, actor="ada")


def test_a_viewer_only_reads_and_nobody_else_is_needed_to_read_what_is_no_secret() -> None:
    reads = {action for action, role in PERMISSIONS.items() if role == "viewer"}
    assert reads == {action for action in PERMISSIONS if action.endswith((".show", ".list"))}


# ── every command has its row in the table ───────────────────────────────────────────────────────────────────────────

# `clarity GROUP VERB` is the action group.verb, but for these
NAMED_OTHERWISE = {
    "audit": "audit.read",
    "prove": "tenant.prove",
    "run": "run.start",
    "publish": "run.start",
    "quality": "quality.show",
    "incidents": "incident.list",
    "alerts test": "alerts.set",
    "why-red": "run.show",
    "explain": "score.show",
    "sync": "run.start",
    "transform": "run.start",
    "writeback": "run.start",
    "undo": "writeback.undo",
    "held": "writeback.list",
    "release": "writeback.release",
    "drift": "writeback.list",
    "quarantine": "quarantine.list",
    "config versions": "config.show",
    "mapping versions": "mapping.show",
    "mapping rollback": "mapping.set",
    "template versions": "template.show",
    "template rollback": "template.set",
    "writeback-config versions": "writeback_config.show",
    "writeback-config rollback": "writeback_config.set",
}
# of the platform and not of one tenant: the machine's operators alone
OF_THE_PLATFORM = {
    "migrate", "status", "up", "down", "db url", "tenant create", "tenant list", "tenant import",
    "connector rotate-keys",
    "docs", "db env", "db dump", "db restore", "webhooks", "provision", "maintenance", "worker", "exec",
}  # fmt: skip


def commands(app: typer.Typer, *words: str) -> Iterator[str]:
    for command in app.registered_commands:
        assert command.callback is not None
        yield " ".join((*words, command.name or command.callback.__name__))
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, *words, str(group.name))


def test_every_command_takes_an_action_of_the_table() -> None:
    typed = {command for command in commands(main.app) if not command.startswith("demo")} - OF_THE_PLATFORM
    actions = {command: NAMED_OTHERWISE.get(command, command.replace(" ", ".").replace("-", "_")) for command in typed}
    assert {command: action for command, action in actions.items() if action not in PERMISSIONS} == {}
    assert "config set" in typed
