"""What holds for every task, a tenant's or the platform's own, unless it says otherwise."""

from datetime import timedelta

# Which workers take a task, where there are workers on other machines (docs/celery.md): those with the way to the
# vendors, those for PostgreSQL, those with memory and processor to spare.
VENDORS, DATABASE, ENGINE = "extract", "transform", "score"

DEFAULT_ARGS = {
    "owner": "data-platform",
    "retries": 2,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": 3,
    "max_retry_delay": timedelta(minutes=2),
    "execution_timeout": timedelta(minutes=30),
}
