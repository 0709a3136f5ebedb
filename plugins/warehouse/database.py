"""Where the platform's PostgreSQL is, and how each part of the platform logs in to it.

Nobody shares a login. The administrator makes roles and databases, the owner migrates, the registry lists tenants,
the registrar makes them; runs, the control plane and BI tools use logins that belong to one tenant each, so that no
setting and no SQL that a login can say changes whose rows it sees.

Passwords of the platform's own logins are derived from the platform's newest key: none is stored. While a key is being
replaced, logins that still have the password of an older one are let in with that.
"""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from warehouse import keys, server, sessions
from warehouse.errors import ClarityError, MisuseError
from warehouse.home import secret, setting

URL_VARIABLE = "CLARITY_DATABASE_URL"
CONNECT_TIMEOUT = 10
WRONG_PASSWORD = "password authentication failed"  # noqa: S105 - what PostgreSQL says, not a password

OWNER = "clarity_owner"
REGISTRY = "clarity_registry"
REGISTRAR = "clarity_registrar"
AIRFLOW = "clarity_airflow"
RECEIVER = "clarity_receiver"


@dataclass(frozen=True)
class Login:
    name: str
    password: str = field(repr=False)


def is_embedded() -> bool:
    return setting(URL_VARIABLE) is None


def ensure_up() -> None:
    """Start the embedded server if it is the one in use; an external server is its operator's."""
    if is_embedded():
        server.start()


def _admin_parameters() -> dict[str, Any]:
    external = setting(URL_VARIABLE)
    if external is None:
        address = server.address()
        return {
            "host": address.host,
            "port": address.port,
            "user": "clarity_admin",
            "password": secret("postgres_password"),
            "dbname": "clarity",
        }
    try:
        parameters = conninfo_to_dict(external)
    except psycopg.ProgrammingError:
        # the driver's message would repeat the URL, password included
        raise MisuseError(
            f"{URL_VARIABLE} is not a PostgreSQL URL; write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None
    return {"dbname": "clarity", **parameters}


def database_name() -> str:
    return str(_admin_parameters()["dbname"])


def airflow_database_name() -> str:
    """Airflow's metadata lives beside our tables, in a database that none of our tenants' logins may open."""
    return f"{database_name()}_airflow"


def conninfo(login: Login, dbname: str | None = None) -> str:
    parameters = {**_admin_parameters(), "user": login.name, "password": login.password}
    return make_conninfo(**{**parameters, **({"dbname": dbname} if dbname else {})})


def admin_conninfo(dbname: str | None = None) -> str:
    parameters = _admin_parameters()
    return make_conninfo(**{**parameters, **({"dbname": dbname} if dbname else {})})


def platform_login(name: str, key: keys.Key | None = None) -> Login:
    """A login of the platform's own, with the password that the newest key derives, or another key."""
    return Login(name, keys.derive(f"login:{name}", key))


def owner_conninfo() -> str:
    return conninfo(platform_login(OWNER))


def registry_conninfo() -> str:
    return conninfo(platform_login(REGISTRY))


def registrar_conninfo() -> str:
    return conninfo(platform_login(REGISTRAR))


def receiver_conninfo() -> str:
    return conninfo(platform_login(RECEIVER))


def run_login(tenant_id: str) -> Login:
    """The login of a tenant's runs. Any login can read the names of all others, so names tell nothing."""
    return platform_login("r_" + hashlib.sha256(f"run:{tenant_id}".encode()).hexdigest()[:20])


def control_login(tenant_id: str) -> Login:
    """The login with which the control plane changes this tenant's things, and no other's."""
    return platform_login("c_" + hashlib.sha256(f"control:{tenant_id}".encode()).hexdigest()[:20])


def url(conninfo_string: str, driver: str = "postgresql") -> str:
    """The same address as a URL, for tools that want one."""
    parameters = {name: str(value) for name, value in conninfo_to_dict(conninfo_string).items() if value is not None}
    user, password = (quote(parameters.pop(part, ""), safe="") for part in ("user", "password"))
    host, port, dbname = parameters.pop("host", "localhost"), parameters.pop("port", "5432"), parameters.pop("dbname")
    query = f"?{urlencode(parameters)}" if parameters else ""
    return f"{driver}://{user}:{password}@{host}:{port}/{quote(dbname, safe='')}{query}"


def airflow_url(driver: str = "postgresql+psycopg2") -> str:
    return url(conninfo(platform_login(AIRFLOW), airflow_database_name()), driver)


def connect(
    conninfo_string: str,
    *,
    autocommit: bool = False,
    application: str = "clarity",
    patience: int = CONNECT_TIMEOUT,
    statement_timeout: int = 0,
    newest_key_only: bool = False,
) -> psycopg.Connection:
    """A connection, or one sentence about why not and what to do. Times are in seconds; 0 is none."""
    attempts = iter([conninfo_string] if newest_key_only else _with_each_key(conninfo_string))
    attempt = next(attempts)
    while True:
        try:
            return psycopg.connect(
                attempt,
                autocommit=autocommit,
                application_name=application,
                connect_timeout=patience,
                options=f"-c statement_timeout={statement_timeout * 1000}" if statement_timeout else None,
            )
        except psycopg.OperationalError as error:
            another = next(attempts, None) if WRONG_PASSWORD in str(error) else None
            if another is None:
                raise ClarityError(_explain(error, conninfo_string)) from None
            attempt = another


def conninfo_in_force(login: Login) -> str:
    """The address with the password that the login has at this moment, for programs that log in by themselves."""
    if len(keys.keyring()) == 1:
        return conninfo(login)
    with connect(conninfo(login)) as connection:
        return conninfo(Login(login.name, connection.info.password))


def session(
    conninfo_string: str,
    *,
    application: str,
    autocommit: bool = False,
    patience: int = CONNECT_TIMEOUT,
    statement_timeout: int = 0,
) -> AbstractContextManager[psycopg.Connection]:
    """A connection for the body of a `with`. It may have served somebody else in this process, who left no trace."""
    opened = partial(
        connect, conninfo_string, application=application, patience=patience, statement_timeout=statement_timeout
    )
    return sessions.lent((conninfo_string, statement_timeout), opened, application=application, autocommit=autocommit)


def run_session(
    tenant_id: str, *, autocommit: bool = False, application: str = "run"
) -> AbstractContextManager[psycopg.Connection]:
    """The database as this tenant's runs see it."""
    return session(conninfo(run_login(tenant_id)), autocommit=autocommit, application=application)


def control_session(tenant_id: str, *, autocommit: bool = False) -> AbstractContextManager[psycopg.Connection]:
    """The database as the control plane sees it on behalf of one tenant."""
    return session(conninfo(control_login(tenant_id)), autocommit=autocommit, application="control")


def registrar_session() -> AbstractContextManager[psycopg.Connection]:
    """The one door through which tenants come and go."""
    return session(registrar_conninfo(), application="registrar")


def _with_each_key(conninfo_string: str) -> Iterator[str]:
    """The address as it is; if it is that of a login of ours, then also with the passwords that older keys derive."""
    yield conninfo_string
    parameters = conninfo_to_dict(conninfo_string)
    name = str(parameters.get("user"))
    if parameters.get("password") == platform_login(name).password and len(keys.keyring()) > 1:
        for older in keys.keyring()[1:]:
            yield conninfo(platform_login(name, older), str(parameters["dbname"]))
        # between the first attempt and the last, a rotation may have given it the newest
        yield conninfo_string


def _explain(error: psycopg.OperationalError, conninfo_string: str) -> str:
    parameters = conninfo_to_dict(conninfo_string)
    where = f"{parameters.get('host', 'localhost')}:{parameters.get('port', 5432)}"
    reason = str(error).strip().splitlines()[-1].strip() if str(error).strip() else "no answer"
    if WRONG_PASSWORD in reason or "does not exist" in reason:
        return (
            f"PostgreSQL at {where} does not know the login {parameters.get('user')} as this platform does: "
            f"run `clarity migrate` ({reason})"
        )
    remedy = "run `clarity up`" if is_embedded() else f"check {URL_VARIABLE} and that the server is running"
    return f"PostgreSQL at {where} can't be reached: {remedy} ({reason})"
