"""Raw rows are tied to their tenant once per statement instead of once per row."""

from warehouse.migrate import run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_sql("0014_raw_and_its_tenant.sql")
