"""A tenant as files, and back: row for row, ids and times included.

An export is a folder, or a .tar of one: JSON Lines per table and `manifest.json`, which counts and hashes them. Which
tables there are is read from the catalogue, so that one added next year travels too.

Connectors' configurations travel sealed. They are bound to tenant and connector, whose ids stay, so they open again
wherever the same encryption keys are in force, and nowhere else. BI logins do not travel: nobody keeps their passwords.
The audit trail is in the files to be read; it is never loaded, for a trail only grows by what happens where it stands.
"""

import json
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Protocol

import psycopg
from psycopg import sql
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control import access, audit, tables, tenants
from control.registry import TenantEntry
from warehouse import database, lease, migrate, roles
from warehouse.errors import ClarityError, MisuseError

Report = Callable[[str], None]

FORMAT = 1
MANIFEST = "manifest.json"
TENANTS = "control.tenants"
AUDIT = "control.audit_log"
CHUNK = 1 << 20

# One JSON value per line, untouched: JSON text never holds the characters chosen here as quote and delimiter.
AS_LINES = sql.SQL("(format csv, quote e'\\x01', delimiter e'\\x02')")


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z]+\.[a-z][a-z0-9_]*$")
    columns: list[str]
    rows: int
    sha256: str

    @property
    def file(self) -> str:
        return f"{self.name}.jsonl"

    @property
    def identifier(self) -> sql.Identifier:
        return tables.identifier(self.name)


class Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    schema_revision: str
    exported_at: datetime
    tenant_id: str
    slug: str
    tables: list[Table]

    def table(self, name: str) -> Table:
        found = next((table for table in self.tables if table.name == name), None)
        if found is None:
            raise ClarityError(f"the export is damaged: {name} is missing")
        return found


@dataclass(frozen=True)
class Transferred:
    tenant_id: str
    slug: str
    place: Path
    tables: int
    rows: int


def export(tenant: TenantEntry, target: Path, *, actor: str, report: Report) -> Transferred:
    """Write everything of the tenant, as it is at one moment, to a new folder, or a new file if it ends in .tar."""
    access.require(tenant.id, actor, "tenant.export")
    target = target.absolute()
    if target.exists():
        raise MisuseError(f"{target} is there already; name a new file or folder")
    with database.control_session(tenant.id) as connection:
        # written down before the first row leaves, and apart: the export itself holds no lock that others wait for
        audit.record(
            connection,
            tenant_id=tenant.id,
            actor=actor,
            action="tenant.export",
            resource="tenant",
            resource_id=tenant.id,
            after={"to": str(target)},
        )
    with _draft_beside(target) as draft:
        with database.control_session(tenant.id) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            names = (TENANTS, *tables.of_tenants(connection))
            dumped = [_dump(connection, tenant.id, name, draft) for name in names]
        report(f"{len(dumped)} tables are written")
        manifest = Manifest(
            format=FORMAT,
            schema_revision=migrate.head(),
            exported_at=datetime.now(UTC),
            tenant_id=tenant.id,
            slug=tenant.slug,
            tables=dumped,
        )
        (draft / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        _move_into_place(draft, target)
    return Transferred(tenant.id, tenant.slug, target, len(dumped), sum(table.rows for table in dumped))


def load(source: Path, *, actor: str, report: Report) -> Transferred:
    """Make the tenant that an export holds. One that is there is never touched; a failure leaves nothing behind."""
    access.require_system(actor, "tenant.import")
    with _opened(source) as files:
        manifest = _manifest(files)
        for table in manifest.tables:
            _verify(files, table)
        report(f"{len(manifest.tables)} files are whole")
        row = _tenant_row(files, manifest)
        tenant_id = str(row["id"])
        _make_tenant(row, manifest)
        try:
            with lease.hold(tenant_id, lease.local_holder(), stage="import", report=report):
                loaded = _load_tables(files, manifest, tenant_id, actor)
        except BaseException:
            with database.registrar_session() as connection:
                tenants.remove(connection, tenant_id)
            raise
    return Transferred(tenant_id, str(row["slug"]), source, len(manifest.tables), loaded)


# ── out ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _dump(connection: psycopg.Connection, tenant_id: str, name: str, folder: Path) -> Table:

    query = sql.SQL("copy (select to_jsonb(t) from {} as t where {} = {}) to stdout {}").format(
        tables.identifier(name),
        sql.Identifier("id" if name == TENANTS else "tenant_id"),
        sql.Literal(tenant_id),
        AS_LINES,
    )
    digest, rows = sha256(), 0
    with (folder / f"{name}.jsonl").open("wb") as file, connection.cursor().copy(query) as lines:
        for block in lines:
            file.write(block)
            digest.update(block)
            rows += bytes(block).count(b"\n")
    return Table(name=name, columns=tables.columns(connection, name), rows=rows, sha256=digest.hexdigest())


@contextmanager
def _draft_beside(target: Path) -> Iterator[Path]:
    """A folder for nobody else to read, gone afterwards unless it was moved: half an export is none."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        draft.mkdir(mode=0o700)
    except OSError as error:
        raise MisuseError(f"{target.parent} can't be written to: {error.strerror}") from None
    try:
        yield draft
    except OSError as error:
        raise ClarityError(f"{target} can't be written: {error.strerror}. Free the disk or choose another") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _move_into_place(draft: Path, target: Path) -> None:
    if target.suffix != ".tar":
        draft.rename(target)
        return
    packed = draft / "packed.tar"
    packed.touch(mode=0o600)
    with tarfile.open(packed, "w") as tar:
        for file in sorted(draft.iterdir(), key=lambda file: (file.name != MANIFEST, file.name)):
            if file != packed:
                tar.add(file, file.name)
                file.unlink()
    packed.rename(target)


# ── in ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Files(Protocol):
    """The files of an export, by name."""

    def open(self, name: str) -> IO[bytes]: ...

    def close(self) -> None: ...


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: str) -> IO[bytes]:
        return (self._folder / name).open("rb")

    def close(self) -> None:
        """A folder needs none."""


class _Tar:
    def __init__(self, file: Path) -> None:
        self._tar = tarfile.open(file, "r:")  # noqa: SIM115 - closed by close()

    def open(self, name: str) -> IO[bytes]:
        member = self._tar.extractfile(name)
        if member is None:
            raise KeyError(name)
        return member

    def close(self) -> None:
        self._tar.close()


@contextmanager
def _opened(source: Path) -> Iterator[Files]:
    try:
        files: Files = _Folder(source) if source.is_dir() else _Tar(source)
    except OSError as error:
        raise MisuseError(f"{source} can't be read: {error.strerror}") from None
    except tarfile.TarError:
        raise MisuseError(f"{source} is no export: a folder or a .tar from `clarity tenant export` is") from None
    with closing(files):
        try:
            yield files
        except (KeyError, FileNotFoundError, tarfile.TarError, EOFError) as error:
            raise ClarityError(f"{source} is damaged or no export: {error}. Use another copy") from None


def _manifest(files: Files) -> Manifest:
    with files.open(MANIFEST) as file:
        text = file.read()
    try:
        content = json.loads(text)
        if isinstance(content, dict) and isinstance(made := content.get("format"), int) and made > FORMAT:
            raise ClarityError(
                f"this export has format {made}, made by a newer platform; this one reads up to {FORMAT}: update it"
            )
        return Manifest.model_validate(content)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ClarityError(f"the export is damaged: {MANIFEST} is wrong at {where}. Use another copy") from None
    except ValueError:
        raise ClarityError(f"the export is damaged: {MANIFEST} is not JSON. Use another copy") from None


def _verify(files: Files, table: Table) -> None:
    digest, rows = sha256(), 0
    with files.open(table.file) as file:
        while block := file.read(CHUNK):
            digest.update(block)
            rows += block.count(b"\n")
    if (digest.hexdigest(), rows) != (table.sha256, table.rows):
        raise ClarityError(f"the export is damaged: {table.file} is not as it was written. Use another copy")


def _tenant_row(files: Files, manifest: Manifest) -> dict[str, Any]:
    with files.open(manifest.table(TENANTS).file) as file:
        row: dict[str, Any] = json.loads(file.readline())
    tenants.validate(row["name"], row["slug"], (row["settings"] or {}).get("timezone", "UTC"))
    return row


def _make_tenant(row: Mapping[str, Any], manifest: Manifest) -> None:
    # only what the export has: what an older one lacks gets its default
    columns = sql.SQL(", ").join(map(sql.Identifier, row))
    with database.registrar_session() as connection:
        _refuse_unknown(TENANTS, set(row) - set(tables.columns(connection, TENANTS)), manifest)
        try:
            connection.execute(
                sql.SQL(
                    "insert into control.tenants ({columns})"
                    " select {columns} from jsonb_populate_record(null::control.tenants, %s)"
                ).format(columns=columns),
                [json.dumps(row)],
            )
        except psycopg.errors.UniqueViolation as violation:
            taken = {"tenants_slug_key": "slug", "tenants_clerk_org_id_key": "Clerk organisation"}.get(
                violation.diag.constraint_name or "", "id"
            )
            raise MisuseError(
                f"there is a tenant with this {taken} already, and an import changes none:"
                f" `clarity tenant delete {row['slug']} --yes` makes room"
            ) from None
        roles.create_tenant_logins(connection, str(row["id"]))


def _load_tables(files: Files, manifest: Manifest, tenant_id: str, actor: str) -> int:
    loaded = 0
    with database.control_session(tenant_id) as connection:
        known = tables.of_tenants(connection)
        _refuse_unknown("the database", {table.name for table in manifest.tables} - {TENANTS, *known}, manifest)
        # COPY goes into a temporary table: PostgreSQL refuses it for tables under policies
        connection.execute("create temporary table lines (line jsonb) on commit drop")
        present = {table.name: table for table in manifest.tables if table.name not in (TENANTS, AUDIT)}
        for table in (present[name] for name in known if name in present):
            _refuse_unknown(table.name, set(table.columns) - set(tables.columns(connection, table.name)), manifest)
            if table.name in tables.FILLED_BY_TRIGGERS:
                # what loading its sources has put there
                connection.execute(sql.SQL("delete from {} where tenant_id = %s").format(table.identifier), [tenant_id])
            try:
                loaded += _load_table(connection, files, table)
            except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.InsufficientPrivilege) as error:
                reason = error.diag.message_primary or "PostgreSQL refused it"
                raise ClarityError(f"{table.file} can't be loaded: {reason}. Nothing was kept") from None
        audited = manifest.table(AUDIT)
        audit.record(
            connection,
            tenant_id=tenant_id,
            actor=actor,
            action="tenant.import",
            resource="tenant",
            resource_id=tenant_id,
            after={
                "rows": loaded,
                "exported_at": manifest.exported_at.isoformat(),
                "trail_in_the_export": {"rows": audited.rows, "sha256": audited.sha256},
            },
        )
    return loaded


def _load_table(connection: psycopg.Connection, files: Files, table: Table) -> int:
    connection.execute("truncate lines")
    with connection.cursor() as cursor:
        with files.open(table.file) as file, cursor.copy(sql.SQL("copy lines from stdin {}").format(AS_LINES)) as copy:
            while block := file.read(CHUNK):
                copy.write(block)
        columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        cursor.execute(
            sql.SQL(
                "insert into {table} ({columns}) select {columns}"
                " from lines, jsonb_populate_record(null::{table}, lines.line)"
            ).format(table=table.identifier, columns=columns)
        )
        return cursor.rowcount


def _refuse_unknown(place: str, names: set[str], manifest: Manifest) -> None:
    if names:
        raise ClarityError(
            f"the export has {sorted(names)[0]}, which {place} does not have here: it was made at schema"
            f" {manifest.schema_revision}, this code is at {migrate.head()}. Update the platform, run `clarity migrate`"
        )
