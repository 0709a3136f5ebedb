"""Who is who: merges, conversions, people and companies across sources."""

from warehouse.migrate import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql("0005_identity.sql")
