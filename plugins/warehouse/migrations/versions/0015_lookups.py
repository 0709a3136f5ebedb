"""About whom a vendor was asked who is paid by the person, and what it says of them."""

from warehouse.migrate import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_sql("0015_lookups.sql")
