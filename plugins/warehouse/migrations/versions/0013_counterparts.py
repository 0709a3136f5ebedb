"""Whoever is known by an address or a company by its domain: looked at again when that becomes somebody else's."""

from warehouse.migrate import run_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_sql("0013_counterparts.sql")
