"""The product's schema reference: its 17 tables, under policies from their first row on."""

from warehouse.migrate import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql("0001_reference.sql")
