"""Two workers on machines of their own do what one machine does, and neither kill nor restart costs more than time."""

import time
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from itertools import pairwise

from steps import pipeline
from tests.celery.conftest import Attempt, House
from tests.chaos.test_kills import wait_until
from tests.end_to_end.conftest import TODAY
from tests.end_to_end.content import content


def test_workers_end_with_what_the_local_executor_ends_with(on_workers: House) -> None:
    runs = on_workers.run(on_workers.companies, TODAY)
    on_workers.assert_success(runs)
    assert_alike(on_workers)
    attempts = on_workers.attempts(runs)
    assert {attempt.queue for attempt in attempts} == {"extract", "transform", "score"}
    # what is skipped is not attempted
    assert {attempt.number for attempt in attempts if attempt.state != "skipped"} == {1}


def test_airflow_shows_the_log_that_a_worker_serves_and_says_why_not_another(on_workers: House) -> None:
    company = on_workers.companies[0]
    run_id = on_workers.airflow.last_success(company.dag_id)
    assert "Done: " in on_workers.airflow.log(company.dag_id, run_id, "extract", map_index=0)
    # who is asked at that address has not got it, as if the worker had come back with an empty disk
    assert "Log file not found on worker" in on_workers.airflow.log(company.dag_id, run_id, "transform")


def test_a_message_that_comes_twice_is_carried_out_once(on_workers: House) -> None:
    runs = on_workers.run(on_workers.companies[:1], TODAY)
    wait_for(on_workers, runs, lambda attempt: attempt.queue != "extract" and attempt.state == "running")
    assert on_workers.redis.deliver_again() > 0
    on_workers.assert_success(runs)
    assert_alike(on_workers)
    assert {attempt.number for attempt in on_workers.attempts(runs) if attempt.state != "skipped"} == {1}

    def refused() -> bool:
        said = on_workers.reckoner.log.read_text(encoding="utf-8", errors="replace")
        return "Task already running elsewhere" in said or "TI was not in a state where it could be marked" in said

    # a worker tells of it when its process for the task is gone: Airflow may take five seconds to notice that
    wait_until(refused, 60)


def test_a_worker_killed_half_way_costs_nothing_but_time(on_workers: House) -> None:
    day = a_day_passes(on_workers, 1)
    runs = on_workers.run(on_workers.companies, day)
    wait_for(on_workers, runs, lambda attempt: attempt.queue != "extract" and attempt.state == "running")
    on_workers.reckoner.kill()
    lost = [attempt for attempt in on_workers.attempts(runs) if attempt.state == "running"]
    on_workers.reckoner.start()
    run_the_twins(on_workers, day)
    on_workers.assert_success(runs)
    assert_alike(on_workers)
    attempts = on_workers.attempts(runs)
    again = {attempt[:3] for attempt in attempts if attempt.number > 1}
    assert {attempt[:3] for attempt in lost if attempt.queue != "extract"} <= again
    assert_never_twice_at_once(attempts)


def test_redis_restarted_half_way_costs_nothing_but_time(on_workers: House) -> None:
    day = a_day_passes(on_workers, 2)
    runs = on_workers.run(on_workers.companies, day)
    wait_for(on_workers, runs, lambda attempt: attempt.state == "running")
    on_workers.redis.kill()
    run_the_twins(on_workers, day)
    on_workers.redis.start()
    on_workers.assert_success(runs)
    assert_alike(on_workers)
    # nobody took a task for failed while it could not be sent
    assert {attempt.number for attempt in on_workers.attempts(runs) if attempt.state != "skipped"} == {1}


def test_no_log_of_a_worker_holds_a_secret(on_workers: House) -> None:
    for worker in (on_workers.reader, on_workers.reckoner):
        said = worker.log.read_text(encoding="utf-8", errors="replace")
        assert "execute_workload" in said
        key = worker.told["CLARITY_ENCRYPTION_KEYS"].partition(":")[2]
        for hidden in (on_workers.redis.password, worker.told["CLARITY_AIRFLOW_SECRET"], key):
            assert hidden not in said
        # how the token of a task begins, for it is JSON
        assert "eyJ" not in said


def a_day_passes(house: House, days: int) -> date:
    for each in (*house.companies, *house.twins):
        each.advance()
    return TODAY + timedelta(days=days)


def run_the_twins(house: House, day: date) -> None:
    for twin in house.twins:
        pipeline.run(twin.slug, as_of=day)


def assert_alike(house: House) -> None:
    for company, twin in zip(house.companies, house.twins, strict=True):
        assert content(company) == content(twin), company.slug


def wait_for(house: House, runs: dict[str, str], happens: Callable[[Attempt], bool]) -> None:
    deadline = time.monotonic() + 120
    while not any(map(happens, house.attempts(runs))):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def assert_never_twice_at_once(attempts: Iterable[Attempt]) -> None:
    """One after the other: no attempt at a task began before the one before it was over."""
    begun = [attempt for attempt in attempts if attempt.start]
    for one, other in pairwise(begun):
        if one[:3] == other[:3]:
            assert one.end is not None
            assert other.start is not None
            assert one.end <= other.start
