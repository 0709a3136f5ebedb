"""What goes back into the CRM: a receipt per record, what each record was left showing, and who has overridden it."""

from warehouse.migrate import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_sql("0009_writeback.sql")
