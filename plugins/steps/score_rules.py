"""All that decides how a tenant's scores are made, in one hand, and a digest that tells when any of it is another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import orjson
import psycopg

import scoring
from control import settings, templates
from scoring.configs import ConfigError, Configs, RoleTemplate, read_configs, read_template
from warehouse.errors import ClarityError

# beside the engine itself, what gives it its inputs
_OURS = ("score.py", "score_inputs.py", "group_candidates.py")


@dataclass(frozen=True)
class Rules:
    """`template_ids` are by name; `solution_field` is the source's own field that says what a deal is about.

    `material_points` decide what history tells, not how scores are made: they are no part of the digest.
    """

    configs: Configs
    score_version: int
    buying_groups: bool
    solution_field: str | None
    role_templates: list[RoleTemplate]
    template_ids: dict[str, str]
    material_points: float
    digest: str

    @classmethod
    def of(cls, connection: psycopg.Connection, tenant_id: str) -> Rules:
        in_force = settings.scoring_configs(connection, tenant_id)
        chosen = settings.effective(connection, tenant_id)
        stored = templates.stored(connection, tenant_id)
        try:
            configs = read_configs(in_force.configs)
            role_templates = [read_template(template) for template in stored.values()]
        except ConfigError as error:
            raise ClarityError(f"the scoring configuration is not valid, nothing was scored: {error}") from None
        decisive = {
            "configs": in_force.configs,
            "score_version": in_force.score_version,
            "templates": stored,
            "buying_groups": [chosen.features.buying_groups, chosen.buying_groups.solution_field],
            "engine": _engine(),
        }
        return cls(
            configs,
            in_force.score_version,
            chosen.features.buying_groups,
            chosen.buying_groups.solution_field,
            role_templates,
            {template["name"]: template_id for template_id, template in stored.items()},
            chosen.history_material_points,
            sha256(orjson.dumps(decisive, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        )

    @property
    def window(self) -> int:
        """Days beyond which no signal counts."""
        config = self.configs.engagement
        return max(config.window(signal) for signal in (*config.signals.values(), config.unknown))


@cache
def _engine() -> str:
    folder = Path(scoring.__file__).parent
    files = [*sorted(folder.glob("*.py")), *(Path(__file__).with_name(name) for name in _OURS)]
    return sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
