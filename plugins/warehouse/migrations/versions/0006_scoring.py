"""What a run of the scores leaves for the next one: who is to be scored anew, and candidates of buying groups."""

from warehouse.migrate import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql("0006_scoring.sql")
