"""An extract that a vendor puts off: nobody sits there until then."""

from datetime import UTC, datetime, timedelta

import pytest

from connectors.contract import Health, WaitUntil
from steps import pipeline
from tests.steps.conftest import Play
from tests.steps.customer import Customer
from tests.steps.test_extract_errors import never_mind_after
from warehouse.errors import ClarityError, MisuseError, NotNow


def extract(customer: Customer, **how: object) -> dict[str, object]:
    return pipeline.extract(customer.tenant.slug, "files", "test", report=customer.told.append, **how)  # type: ignore[arg-type]


def test_a_vendor_who_names_a_time_is_come_back_to_at_the_last_of_the_times_named(
    customer: Customer, play: Play
) -> None:
    soon, later = (datetime.now(UTC) + timedelta(minutes=minutes) for minutes in (1, 2))
    play(accounts=never_mind_after(2, WaitUntil("Later.", later)), people=never_mind_after(1, WaitUntil("Soon.", soon)))
    with pytest.raises(NotNow, match="Later") as put_off:
        extract(customer, patience=5)
    assert put_off.value.until == later
    assert (customer.raw("accounts"), customer.raw("people")) == (2, 1)
    # what had landed stands, and coming again goes on from there
    assert extract(customer, patience=5)["failures"] == {}
    assert (customer.raw("accounts"), customer.raw("people")) == (10, 10)


def test_a_connector_that_lets_nobody_in_before_a_time_is_come_back_to_then(customer: Customer, play: Play) -> None:
    until = datetime.now(UTC) + timedelta(minutes=1)

    async def check() -> Health:
        raise WaitUntil("Too many logins.", until)

    play(with_={"check": check})
    with pytest.raises(NotNow, match="Too many logins") as put_off:
        extract(customer, patience=5)
    assert put_off.value.until == until


def test_a_failure_without_a_time_is_a_failure(customer: Customer, play: Play) -> None:
    play(accounts=never_mind_after(0, RuntimeError("broken"), times=9))
    with pytest.raises(ClarityError, match="broken") as failed:
        extract(customer, patience=5)
    assert not isinstance(failed.value, NotNow)


def test_only_the_streams_asked_for_are_read_and_one_that_nobody_has_is_refused(customer: Customer, play: Play) -> None:
    source = play(
        accounts=never_mind_after(0, ValueError(), times=0), people=never_mind_after(0, ValueError(), times=0)
    )
    assert list(extract(customer, streams=["people"])["streams"]) == ["people"]  # type: ignore[call-overload]
    assert [name for name, _state in source.asked] == ["people"]
    with pytest.raises(MisuseError, match="there is no stream 'poeple': files has"):
        extract(customer, streams=["poeple"])
