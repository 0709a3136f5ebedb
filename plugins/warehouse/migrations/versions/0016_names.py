"""Whoever took part in a meeting under a name alone is found by it, within the meeting's company."""

from warehouse.migrate import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_sql("0016_names.sql")
