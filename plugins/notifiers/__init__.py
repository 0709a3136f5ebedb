"""Airflow's side of the alerts: what tells it that a run has ended, one way or the other."""
