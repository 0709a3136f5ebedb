"""About whom a vendor was asked who is paid by the person, and what it says of them."""

from warehouse.migrate import run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_sql("0014_lookups.sql")
