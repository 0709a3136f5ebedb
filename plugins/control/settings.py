"""What a tenant can set. The platform's defaults hold wherever a tenant says nothing, and are merged in when asked for.

A setting is read where its field says so; one that nothing reads has no place here.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg.types.json import Jsonb
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from control import access, audit, configs
from control.configs import ScoringConfigs
from warehouse import database
from warehouse.errors import ClarityError, MisuseError

SHOWN = 60
LARGE_GROUP = 4


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("no such time zone") from None
    return name


class _Group(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=to_camel, hide_input_in_errors=True
    )


class Features(_Group):
    # read by steps.writeback
    writeback: bool = Field(default=False, description="true or false: whether scores may go back into the CRM")
    # read by steps.score_rules
    buying_groups: bool = Field(default=True, description="true or false: whether a run forms buying groups")


def _known_texts(texts: list[str]) -> list[str]:
    cleaned = [text.strip().lower() for text in texts]
    if not all(cleaned):
        raise ValueError("an empty text says nothing")
    return sorted(set(cleaned))


Texts = Annotated[list[Annotated[str, Field(max_length=200)]], AfterValidator(_known_texts), Field(max_length=500)]


class Bots(_Group):
    # read by steps.rules, for dbt
    user_agents: Texts = Field(
        default=[],
        description='a list like ["linkscanner"]: opens and clicks by programs that call themselves so do not count',
    )


class Domains(_Group):
    # read by steps.rules, for dbt
    personal: Texts = Field(
        default=[],
        description='a list like ["example.org"]: everybody may have an address there, so it belongs to no company',
    )


def _share(default: float, description: str) -> Any:
    return Field(default=default, ge=0, le=1, allow_inf_nan=False, description=f"0 to 1: {description}")


class BuyingGroups(_Group):
    # read by steps.score_rules
    solution_field: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None,
        description="the source's own field that says which solution a deal is about, like Solution__c; null for none",
    )


class Writeback(_Group):
    # read by steps.writeback
    alert_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="0 to 1: the share of records that may fail before a writeback raises the alarm",
    )


class Quality(_Group):
    """Read by steps.quality_expectations: how far tonight may be from what was published last."""

    max_volume_factor: float = Field(
        default=10,
        gt=1,
        allow_inf_nan=False,
        description="above 1: how many times as much may land, or be known, as the most so far",
    )
    max_volume_drop: float = _share(0.3, "the share of accounts, people, deals or activities that may be gone at once")
    max_null_share_rise: float = _share(0.2, "by how much the share of records without a value may rise")
    max_impossible_share: float = _share(0.05, "the share of records whose value can't be, like -5 employees")
    max_rejected_share: float = _share(0.1, "the share of a connector's records that may be refused without a warning")
    max_mean_shift: float = Field(
        default=15, ge=0, le=100, allow_inf_nan=False, description="0 to 100: how far the mean score may move"
    )
    max_spread_factor: float = Field(
        default=2,
        gt=1,
        allow_inf_nan=False,
        description="above 1: how many times as wide or as narrow scores may lie around their mean",
    )
    max_tier_share_shift: float = _share(0.25, "by how much a tier's share of all may rise or fall")
    freshness_hours: float = Field(
        default=48,
        gt=0,
        allow_inf_nan=False,
        description="above 0: hours since a connector was last read to its end, until it counts as stale",
    )
    required_sources: Texts = Field(
        default=[],
        description='a list like ["salesforce"]: without these, fresh and read to their end, no scores are published',
    )


class Settings(_Group):
    # read by the registry, for the schedule of the tenant's DAG
    timezone: Annotated[str, AfterValidator(_known_timezone)] = Field(
        default="UTC", description="an IANA time zone, like Europe/Berlin: the tenant's runs start by its clock"
    )
    # read by steps.score, through scoring_configs
    default_scoring_version: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="a score_version that was once in force, to score with its configurations; null for those in force",
    )
    # read by steps.publish
    history_material_points: float = Field(
        default=1, ge=0, le=100, allow_inf_nan=False, description="0 to 100: the change of a score that makes history"
    )
    # read by steps.maintenance
    retention_days: Annotated[int, Field(ge=30, le=36_500)] | None = Field(
        default=None,
        description="30 to 36500: the days after which what was replaced or has ended goes; null to keep it for ever",
    )
    features: Features = Features()
    writeback: Writeback = Writeback()
    bots: Bots = Bots()
    domains: Domains = Domains()
    buying_groups: BuyingGroups = BuyingGroups()
    quality: Quality = Quality()


@dataclass(frozen=True)
class Setting:
    """One setting as it is in force. `key` is the way to it, with dots between the levels."""

    key: str
    value: Any
    origin: str
    about: str


def effective(connection: psycopg.Connection, tenant_id: str) -> Settings:
    """What holds for this tenant: its own settings over the defaults."""
    try:
        return Settings.model_validate(_own(connection, tenant_id))
    except ValidationError as error:
        raise ClarityError(
            f"a stored setting of this tenant can't be used: {_problem(error)}."
            " `clarity tenant settings TENANT --unset KEY` takes it out"
        ) from None


def scoring_configs(connection: psycopg.Connection, tenant_id: str) -> ScoringConfigs:
    """The configurations to score with: those in force, or the ones of the version that the tenant is pinned to."""
    pinned = effective(connection, tenant_id).default_scoring_version
    if pinned is None:
        return configs.in_force(connection, tenant_id)
    # the first three versions are what the tenant began with; each later one raised score_version by one
    rows = connection.execute(
        "select distinct on (type) type, config from ("
        " select type, config, version from control.scoring_config_versions where tenant_id = %s"
        " order by version > 1, created_at, type, version limit %s) as until_then order by type, version desc",
        [tenant_id, len(configs.TYPES) + pinned - 1],
    ).fetchall()
    return ScoringConfigs(dict(rows), pinned)


def show(tenant_id: str, *, actor: str) -> list[Setting]:
    """Every setting with its value and whether it is the tenant's own."""
    access.require(tenant_id, actor, "tenant.show")
    with database.control_session(tenant_id) as connection:
        own = dict(_leaves(_own(connection, tenant_id)))
        in_force = dict(_leaves(effective(connection, tenant_id).model_dump(by_alias=True)))
    about = _keys()
    return [Setting(key, value, "own" if key in own else "default", about[key]) for key, value in in_force.items()]


def change(tenant_id: str, *, actor: str, assignments: Sequence[str] = (), unset: Sequence[str] = ()) -> bool:
    """Set `key=value` as typed, and give `unset` keys back to the defaults: all of it or nothing.

    A value is read as JSON, and as a text if it is none. False if nothing changes.
    """
    access.require(tenant_id, actor, "tenant.settings")
    given = dict(_assignment(text) for text in assignments)
    with database.control_session(tenant_id) as connection:
        connection.execute("select from control.tenants where id = %s for update", [tenant_id])
        before = dict(_leaves(_own(connection, tenant_id)))
        for key in (*given, *unset):
            if key not in {**_keys(), **before}:
                raise MisuseError(f"there is no setting {key[:SHOWN]!r}; there are {_there_are()}")
        after = {key: value for key, value in {**before, **given}.items() if key not in unset}
        _check(connection, tenant_id, after)
        if after == before:
            return False
        connection.execute("update control.tenants set settings = %s where id = %s", [Jsonb(_nested(after)), tenant_id])
        audit.record(
            connection,
            tenant_id=tenant_id,
            actor=actor,
            action="tenant.settings",
            resource="tenant",
            resource_id=tenant_id,
            before=_nested(before),
            after=_nested(after),
        )
    return True


def _own(connection: psycopg.Connection, tenant_id: str) -> dict[str, Any]:
    row = connection.execute("select settings from control.tenants where id = %s", [tenant_id]).fetchone()
    return dict(row[0] or {}) if row else {}


def _check(connection: psycopg.Connection, tenant_id: str, own: Mapping[str, Any]) -> None:
    try:
        settings = Settings.model_validate(_nested(own))
    except ValidationError as error:
        raise MisuseError(_problem(error)) from None
    pinned, latest = settings.default_scoring_version, configs.in_force(connection, tenant_id).score_version
    if pinned is not None and pinned > latest:
        raise MisuseError(f"defaultScoringVersion can't be {pinned}: the latest score_version is {latest}")


def _assignment(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise MisuseError(f"{text[:SHOWN]!r} sets nothing: write KEY=VALUE. Keys are {_there_are()}")
    try:
        return key.strip(), json.loads(value)
    except (ValueError, RecursionError):
        return key.strip(), value


def _problem(error: ValidationError) -> str:
    """One sentence that names the setting and what is allowed."""
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"]))
    if key not in _keys():
        return f"there is no setting {key[:SHOWN]!r}; there are {_there_are()}"
    return f"{key} must be {_keys()[key]}"


def _there_are() -> str:
    """All keys, a large group by its name alone: nobody reads a sentence of twenty."""
    groups = Counter(key.partition(".")[0] for key in _keys())
    firsts = ((key, key.partition(".")[0]) for key in _keys())
    return ", ".join(dict.fromkeys(f"{first}.*" if groups[first] > LARGE_GROUP else key for key, first in firsts))


def _keys(group: type[BaseModel] = Settings, prefix: str = "") -> dict[str, str]:
    """Each setting, and what it may be."""
    found: dict[str, str] = {}
    for name, about in group.model_fields.items():
        key = f"{prefix}{about.alias or name}"
        if isinstance(about.annotation, type) and issubclass(about.annotation, BaseModel):
            found |= _keys(about.annotation, f"{key}.")
        else:
            found[key] = about.description or ""
    return found


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in leaves.items():
        *groups, name = key.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    return tree
