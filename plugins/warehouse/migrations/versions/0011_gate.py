"""The gate before publication: what each run measured and what was expected; incidents, and who is told of them."""

from warehouse.migrate import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql("0011_gate.sql")
