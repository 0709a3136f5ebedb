"""A small invented tenant, described by plain objects: what the reference scores as it is, and the engine as frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from scoring.engine import Inputs


@dataclass(frozen=True)
class Account:
    account_id: str
    industry: str | None = None
    employee_count: float | None = None
    annual_revenue: float | None = None
    custom: dict[str, Any] | None = None


@dataclass(frozen=True)
class Person:
    person_id: str
    account_id: str | None = None
    title: str | None = None
    industry: str | None = None
    employee_count: float | None = None
    annual_revenue: float | None = None


@dataclass(frozen=True)
class Signal:
    person_id: str
    signal: str
    day: date
    count: int = 1
    is_bot: bool = False


@dataclass(frozen=True)
class CompanySignal:
    account_id: str
    signal: str
    day: date
    count: int = 1


@dataclass(frozen=True)
class Opportunity:
    opportunity_id: str
    account_id: str | None = None
    is_closed: bool = False
    days_in_stage: float | None = None


@dataclass(frozen=True)
class Contact:
    opportunity_id: str
    person_id: str


@dataclass(frozen=True)
class Previous:
    entity_type: str
    entity_id: str
    fit_high: bool | None = None
    engagement_high: bool | None = None


@dataclass(frozen=True)
class World:
    accounts: tuple[Account, ...] = ()
    people: tuple[Person, ...] = ()
    signals: tuple[Signal, ...] = ()
    opportunities: tuple[Opportunity, ...] = ()
    opportunity_contacts: tuple[Contact, ...] = ()
    previous: tuple[Previous, ...] = ()
    company_signals: tuple[CompanySignal, ...] = ()

    def inputs(self) -> Inputs:
        return Inputs(
            accounts=_frame(Account, self.accounts),
            people=_frame(Person, self.people),
            signals=_frame(Signal, self.signals).astype({"day": "datetime64[s]"}),
            opportunities=_frame(Opportunity, self.opportunities),
            opportunity_contacts=_frame(Contact, self.opportunity_contacts),
            previous=_frame(Previous, self.previous),
            company_signals=_frame(CompanySignal, self.company_signals).astype({"day": "datetime64[s]"}),
        )


def world(described: Mapping[str, Any]) -> World:
    """From a case file: lists of what differs from the defaults."""
    kinds = {
        "accounts": Account,
        "people": Person,
        "signals": Signal,
        "opportunities": Opportunity,
        "opportunity_contacts": Contact,
        "previous": Previous,
        "company_signals": CompanySignal,
    }
    return World(**{name: tuple(kind(**row) for row in described.get(name, ())) for name, kind in kinds.items()})


def _frame(kind: type[Any], rows: tuple[Any, ...]) -> pd.DataFrame:
    names = [field.name for field in fields(kind)]
    table = np.empty((len(rows), len(names)), dtype=object)
    for place, row in enumerate(rows):
        table[place] = [getattr(row, name) for name in names]
    return pd.DataFrame(table, columns=names, dtype=object)
