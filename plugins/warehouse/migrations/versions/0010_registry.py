"""The registry knows which connectors a tenant has, for the tasks of its DAG and their pools; nothing else of them."""

from warehouse.migrate import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql("0010_registry.sql")
