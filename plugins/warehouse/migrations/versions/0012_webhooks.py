"""Where vendors tell by themselves what happens: an endpoint per connector, and the inbox behind it."""

from warehouse.migrate import run_sql

revision = "0012"
down_revision = "0009"


def upgrade() -> None:
    run_sql("0012_webhooks.sql")
