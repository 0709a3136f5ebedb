"""Whoever took part in a meeting under a name alone is found by it, within the meeting's company."""

from warehouse.migrate import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_sql("0015_names.sql")
