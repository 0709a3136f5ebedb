"""The engine beside bare numpy and beside one SQL query: `python -m benchmarks.score_engine`, part (a) of bench-score.

All work on the same daily counts: arrays of (person, signal, day, count), ordered as a rollup is read.

bare    decay and bincount, nothing else: count * quality * 2^(-age / half-life), added up per person. No caps, no
        channels, no negative signals told apart, no saturation, no parts
engine  everything that the design says: sums per day, daily caps, windows, channel caps, negatives, saturation, and the
        part of every signal in every score
sql     the same scores (without the parts) in one query over an unlogged, analysed table in the embedded PostgreSQL;
        its rows stay in the database, only a checksum comes out

Contenders take turns, so that a neighbour on the machine disturbs all of them alike; the best round of each counts.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest

from scoring.arrays import Floats
from scoring.configs import DEFAULT_SIGNALS, Configs, EngagementConfig
from scoring.engagement import Daily, Engagement, engagement
from scoring.engine import Inputs, score

AS_OF = date(2026, 3, 10)
# How often each signal is seen beside the others: mail and pages make up most of what a tenant has.
SEEN = {"page_view": 30, "email_open": 25, "email_sent": 15, "email_click": 8, "email_thread": 6, "meeting_attend": 4}
MOST_TIMES_BARE = 3.0

SQL = """
with points as (
    select person, channel, least(count, cap) * quality * power(2, -(%(as_of)s::date - day) / half_life) as points
    from daily join kinds using (signal)
    where day <= %(as_of)s and %(as_of)s::date - day < within and count > 0
), channels as (
    select person, sum(points) filter (where points < 0) as lost,
        least(coalesce(sum(points) filter (where points > 0), 0), coalesce(max(channel_cap), 'infinity')) as gained
    from points left join caps using (channel) group by person, channel
)
select person, 100 * (1 - exp(-greatest(0, sum(gained) + coalesce(sum(lost), 0)) / %(saturation)s)) as score
from channels group by person
"""


@dataclass(frozen=True)
class Round:
    wall: float
    cpu: float


def history(rows: int, people: int, seed: int = 1) -> Daily:
    """One row per person, signal and day, most of them of the last two months, ordered by person, signal and day."""
    chance = np.random.default_rng(seed)
    names = sorted(DEFAULT_SIGNALS)
    share = np.array([SEEN.get(name, 1) for name in names], dtype=np.float64)
    drawn = int(rows * 1.3)
    person, signal = chance.integers(0, people, drawn), chance.choice(len(names), drawn, p=share / share.sum())
    age = chance.exponential(60, drawn).astype(np.int64) % 365
    key = np.unique((person * len(names) + signal) * 365 + (364 - age))
    key = np.sort(chance.choice(key, rows, replace=False))
    return Daily(
        person=(key // 365 // len(names)).astype(np.int32),
        signal=(key // 365 % len(names)).astype(np.int16),
        day=np.datetime64(AS_OF, "D") - (364 - key % 365),
        count=chance.integers(1, 6, rows).astype(np.int32),
        names=names,
    )


def bare(daily: Daily, people: int, config: EngagementConfig) -> Floats:
    quality = np.array([config.signal(name).quality for name in daily.names])
    age = (np.datetime64(AS_OF, "D") - daily.day).astype(np.int64)
    points: Floats = daily.count * quality[daily.signal] * np.exp2(-age / config.half_life_days)
    return np.asarray(np.bincount(daily.person, points, minlength=people), dtype=np.float64)


def measured(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, Round]:
    found: dict[str, list[Round]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            found[name].append(Round(time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: Round(min(one.wall for one in all_of), min(one.cpu for one in all_of)) for name, all_of in found.items()
    }


@contextmanager
def database(daily: Daily, config: EngagementConfig) -> Iterator[psycopg.Connection]:
    """An embedded PostgreSQL that holds the history, gone afterwards."""
    from warehouse import database as warehouse
    from warehouse import server

    folder = Path(tempfile.mkdtemp(prefix="clarity-bench-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLARITY_HOME", str(folder))
        patch.delenv("CLARITY_DATABASE_URL", raising=False)
        try:
            server.start()
            with psycopg.connect(warehouse.admin_conninfo("postgres"), autocommit=True) as connection:
                _load(connection, daily, config)
                yield connection
        finally:
            server.stop()
            shutil.rmtree(folder)


def _load(connection: psycopg.Connection, daily: Daily, config: EngagementConfig) -> None:
    connection.execute("create unlogged table daily (person int, signal int, day date, count int)")
    connection.execute(
        "create unlogged table kinds (signal int, channel text, quality float8, cap int, half_life float8, within int)"
    )
    connection.execute("create unlogged table caps (channel text, channel_cap float8)")
    columns = (daily.person.tolist(), daily.signal.tolist(), daily.day.astype(str).tolist(), daily.count.tolist())
    with connection.cursor().copy("copy daily from stdin") as copy:
        for row in zip(*columns, strict=True):
            copy.write_row(row)
    with connection.cursor().copy("copy kinds from stdin") as copy:
        for code, name in enumerate(daily.names):
            kind = config.signal(name)
            worth = kind.quality * kind.weight
            copy.write_row((code, kind.channel, worth, kind.daily_cap, config.half_life(kind), config.window(kind)))
    with connection.cursor().copy("copy caps from stdin") as copy:
        for channel, cap in config.channel_caps.items():
            copy.write_row((channel, cap))
    for table in ("daily", "kinds", "caps"):
        connection.execute(f"vacuum analyze {table}")


def same_scores(connection: psycopg.Connection, found: Engagement, config: EngagementConfig) -> None:
    asked = {"as_of": AS_OF, "saturation": config.saturation}
    scores = np.zeros(len(found.score))
    for person, value in connection.execute(SQL, asked):
        scores[person] = value
    worst = float(np.abs(scores - found.score).max())
    if worst > 1e-9:
        raise SystemExit(f"the query and the engine differ by up to {worst}: one of them is wrong")


def whole_night(daily: Daily, people: int) -> tuple[Inputs, Configs]:
    """The same history as frames, with a title for everybody and an account for ten people."""
    chance = np.random.default_rng(2)
    ids = np.array([f"{number:032x}" for number in range(people)], dtype=object)
    accounts = np.array([f"a{number:031x}" for number in range(max(1, people // 10))], dtype=object)
    titles = np.array(["CEO", "VP Sales", "Head of IT", "Software Engineer", None], dtype=object)
    inputs = Inputs(
        accounts=pd.DataFrame(
            {
                "account_id": accounts,
                "industry": chance.choice(np.array(["Software", "Mining", None], dtype=object), len(accounts)),
                "employee_count": chance.integers(1, 5000, len(accounts)),
                "annual_revenue": chance.integers(100_000, 10**9, len(accounts)),
                "custom": None,
            }
        ),
        people=pd.DataFrame(
            {
                "person_id": ids,
                "account_id": accounts[chance.integers(0, len(accounts), people)],
                "title": titles[chance.integers(0, len(titles), people)],
            }
        ),
        signals=pd.DataFrame(
            {
                "person_id": pd.Categorical.from_codes(daily.person, pd.Index(ids)),
                "signal": pd.Categorical.from_codes(daily.signal, pd.Index(daily.names)),
                "day": daily.day.astype("datetime64[s]"),
                "count": daily.count,
            }
        ),
    )
    return inputs, Configs()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--without-sql", action="store_true", help="leave PostgreSQL out")
    arguments = parser.parse_args()
    rows, people = arguments.rows, max(1, arguments.rows // 10)
    config = Configs().engagement
    daily = history(rows, people)
    mixed = np.random.default_rng(3).permutation(rows)
    shuffled = Daily(daily.person[mixed], daily.signal[mixed], daily.day[mixed], daily.count[mixed], daily.names)

    found = measured(
        {
            "bare": lambda: bare(daily, people, config),
            "engine": lambda: engagement(daily, people, config, AS_OF),
            "engine, rows in any order": lambda: engagement(shuffled, people, config, AS_OF),
        },
        arguments.rounds,
    )
    inputs, configs = whole_night(daily, people)
    found |= measured({"a night's numbers, from frames": lambda: score(inputs, configs, AS_OF)}, 3)
    scored = score(inputs, configs, AS_OF)
    found |= measured({"a night's reasons, as JSON": scored.breakdowns}, 3)
    if not arguments.without_sql:
        with database(daily, config) as connection:
            same_scores(connection, engagement(daily, people, config, AS_OF), config)
            asked = {"as_of": AS_OF, "saturation": config.saturation}
            query = f"select count(*), sum(score) from ({SQL}) scores"
            found |= measured(
                {"sql": lambda: connection.execute(query, asked).fetchone()}, max(3, arguments.rounds // 5)
            )

    print(f"{rows:,} daily rows of {people:,} people; best of {arguments.rounds} rounds")
    print(f"{'':34}{'seconds':>10}{'cpu':>10}{'rows/s':>14}{'x bare':>8}")
    for name, one in found.items():
        cpu = "" if name == "sql" else f"{one.cpu:.4f}"
        print(f"{name:34}{one.wall:>10.4f}{cpu:>10}{rows / one.wall:>14,.0f}{one.wall / found['bare'].wall:>8.1f}")
    times = found["engine"].cpu / found["bare"].cpu
    print(f"the engine takes {times:.1f} times bare numpy by processor time; at most {MOST_TIMES_BARE:g} are allowed")
    if not arguments.without_sql:
        print(f"and is {found['sql'].wall / found['engine'].wall:.1f} times as fast as the query")
        if found["sql"].wall < found["engine"].wall:
            raise SystemExit("the engine must be faster than the query")
    if times > MOST_TIMES_BARE:
        raise SystemExit("the engine is too slow beside bare numpy")


if __name__ == "__main__":
    main()
