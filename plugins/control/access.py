"""Who may do what. Three roles, each with the rights of those below it; every action needs one of them.

    admin     connectors and their credentials, settings, members, BI logins, the tenant itself
    manager   how scores are made: configurations, mappings, templates, writeback fields, confirmed roles
    viewer    reads

`system:<name>` is whoever works on the platform's own machine: they hold its keys, so nothing is kept from them, but
everything that they do is written down. Anybody else must be a member of the tenant. A refusal is audited too.
"""

from control import audit
from warehouse import database
from warehouse.errors import ClarityError

ROLES = ("viewer", "manager", "admin")

# the table to check: action -> the least role that may take it
PERMISSIONS = {
    "tenant.show": "viewer",
    "tenant.settings": "admin",
    "tenant.pause": "admin",
    "tenant.resume": "admin",
    "tenant.export": "admin",
    "tenant.delete": "admin",
    "tenant.erase": "admin",
    "tenant.prove": "admin",
    "audit.read": "admin",
    "member.list": "viewer",
    "member.add": "admin",
    "member.remove": "admin",
    "bi_user.list": "viewer",
    "bi_user.add": "admin",
    "bi_user.revoke": "admin",
    "connector.list": "viewer",
    "connector.show": "viewer",
    "connector.test": "admin",
    "connector.add": "admin",
    "connector.remove": "admin",
    "connector.accept_dpa": "admin",
    "connector.withdraw_dpa": "admin",
    "connector.allow_domains": "admin",
    "config.show": "viewer",
    "config.set": "manager",
    "config.rollback": "manager",
    "mapping.show": "viewer",
    "mapping.set": "manager",
    "mapping.reset": "manager",
    "template.show": "viewer",
    "template.set": "manager",
    "score.show": "viewer",
    "group.show": "viewer",
    "group.confirm": "manager",
    "group.withdraw": "manager",
    "writeback_config.show": "viewer",
    "writeback_config.set": "manager",
    "writeback_config.enable": "admin",
    "writeback_config.disable": "manager",
    "writeback.show": "viewer",
    "writeback.list": "viewer",
    "writeback.undo": "admin",
    "writeback.release": "manager",
    "quarantine.list": "viewer",
    "quarantine.replay": "manager",
    "run.start": "manager",
    "run.show": "viewer",
}


def require(tenant_id: str, actor: str, action: str) -> None:
    """Raise, and write it down, unless the actor may take this action in this tenant."""
    needed = PERMISSIONS[action]
    if is_system(actor):
        return
    role = role_of(tenant_id, actor)
    if role is not None and ROLES.index(role) >= ROLES.index(needed):
        return
    with database.control_session(tenant_id) as connection:
        audit.record(
            connection,
            tenant_id=tenant_id,
            actor=actor,
            action=f"{action}.refused",
            resource="permission",
            after={"role": role, "needed": needed},
        )
    standing = f"is a {role}" if role else "is no member of this tenant"
    raise ClarityError(
        f"{actor} {standing}; {action} needs the role {needed}. An admin can give it: clarity member add"
    )


def require_system(actor: str, action: str) -> None:
    """For what concerns the platform rather than one tenant."""
    if not is_system(actor):
        raise ClarityError(f"{action} is for the platform's operators: leave out --actor on the platform's own machine")


def role_of(tenant_id: str, user: str) -> str | None:
    with database.control_session(tenant_id) as connection:
        row = connection.execute(
            "select role from control.members where tenant_id = %s and user_id = %s", [tenant_id, user]
        ).fetchone()
    return str(row[0]) if row else None


def is_system(actor: str) -> bool:
    return actor.startswith("system:")
