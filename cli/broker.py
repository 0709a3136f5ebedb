"""The Redis through which workers on other machines hear of their tasks."""

from contextlib import closing
from urllib.parse import urlsplit

from cli import airflow_env
from warehouse.errors import ClarityError

SECONDS_TO_ANSWER = 3


def ask() -> str:
    """Where it is and what waits there, or one sentence about why not: Celery itself would wait without a word."""
    airflow_env.require_celery()
    import redis  # type: ignore[import-not-found,unused-ignore]

    address = urlsplit(airflow_env.broker_url())
    where = f"{address.hostname}:{address.port or 6379}"
    try:
        with closing(
            redis.Redis.from_url(
                airflow_env.broker_url(), socket_connect_timeout=SECONDS_TO_ANSWER, socket_timeout=SECONDS_TO_ANSWER
            )
        ) as server:
            waiting = {queue: server.llen(queue) for queue in airflow_env.QUEUES}
    except (redis.exceptions.RedisError, OSError, ValueError) as error:
        raise ClarityError(
            f"Redis at {where} does not answer as it should: {error}. Start it, or correct"
            f" {airflow_env.BROKER_VARIABLE}"
        ) from None
    return f"answers on {where}; waiting: {', '.join(f'{queue} {tasks}' for queue, tasks in waiting.items())}"
