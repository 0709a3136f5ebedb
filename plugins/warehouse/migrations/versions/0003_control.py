"""What the control plane keeps: versions of everything that can be rolled back, and whom not to bring back."""

from warehouse.migrate import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql("0003_control.sql")
