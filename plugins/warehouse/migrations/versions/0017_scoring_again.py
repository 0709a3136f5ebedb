"""Candidates that a crash took are made again from where their run had begun."""

from warehouse.migrate import run_sql

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run_sql("0017_scoring_again.sql")
