"""Scores that are rewritten every night stay on their pages; candidates say what history is to tell."""

from warehouse.migrate import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql("0008_rewriting_scores.sql")
