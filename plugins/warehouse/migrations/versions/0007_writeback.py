"""What goes back into the CRM: a receipt per record, what each record was left showing, and who has overridden it."""

from warehouse.migrate import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql("0007_writeback.sql")
