"""What the platform needs beyond the reference: landing, leases, versions, candidates, quality."""

from warehouse.migrate import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql("0002_platform.sql")
