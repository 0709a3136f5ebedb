"""Whoever is known by an address or a company by its domain: looked at again when that becomes somebody else's."""

from warehouse.migrate import run_sql

revision = "0014"
down_revision = "0010"


def upgrade() -> None:
    run_sql("0014_counterparts.sql")
