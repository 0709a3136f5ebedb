"""The index of versions by number is for those who ask by number."""

from warehouse.migrate import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql("0007_lookups.sql")
