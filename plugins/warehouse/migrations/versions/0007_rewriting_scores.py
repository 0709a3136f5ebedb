"""Scores that are rewritten every night stay on their pages; candidates say what history is to tell."""

from warehouse.migrate import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql("0007_rewriting_scores.sql")
