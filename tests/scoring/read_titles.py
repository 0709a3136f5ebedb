"""How well titles are read: `python -m tests.scoring.read_titles` prints accuracies and who was taken for what.

titles.csv holds 324 real titles, labelled by hand before any rule was written and cut in halves by a hash; the rules
were written looking at the first half alone, by somebody who had labelled both. So titles_later.csv holds 164 more,
from pages that nobody had opened by then: when the rules met them for the first time they read 95.7 % of the levels,
84.8 % of the departments and 90.2 % of the roles. What was learnt from them went into the rules afterwards.

Titles are facts; these come from public repositories, of which nothing else was taken. cv: positions in
luisadosch/nlp-job-title-classification-benchmark-snapaddy; apps: rootstrap/ai-job-title-level-classification;
catalogue-es: ablova/Grupo-huntRED-Chatbot and some single ones; referentiel-fr: adriens/odata-referentiel-metiers;
liste-fr: lists of functions in French open-source applications.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

from scoring.titles import read_title

ASPECTS = ("level", "department", "role")
LEVELS = ("c_level", "vp", "director", "manager", "specialist", "entry")


def labelled(file: str) -> list[dict[str, str]]:
    with (Path(__file__).parent / file).open(encoding="utf-8", newline="") as rows:
        return list(csv.DictReader(rows))


def half(which: int) -> list[dict[str, str]]:
    """0 is the half that the rules were written on, 1 the other."""
    return [row for row in labelled("titles.csv") if _hash(row["title"]) == which]


def _hash(title: str) -> int:
    return hashlib.sha256(f"half:{title}".encode()).digest()[0] % 2


def read(title: str) -> dict[str, str]:
    found = read_title(title)
    return {"level": found.level, "department": found.department or "", "role": found.role or "unknown"}


def accuracy(rows: list[dict[str, str]]) -> dict[str, float]:
    read_rows = [(row, read(row["title"])) for row in rows]
    return {aspect: sum(row[aspect] == found[aspect] for row, found in read_rows) / len(rows) for aspect in ASPECTS}


def confusion(rows: list[dict[str, str]], aspect: str, names: tuple[str, ...]) -> str:
    """A line per label, a column per reading."""
    counts = Counter((row[aspect], read(row["title"])[aspect]) for row in rows)
    width = max(map(len, names)) + 2
    header = "".ljust(width) + "".join(name.rjust(width) for name in names)
    return "\n".join(
        [
            header,
            *(
                label.ljust(width) + "".join(str(counts[label, name] or ".").rjust(width) for name in names)
                for label in names
            ),
        ]
    )


def main() -> None:
    later = labelled("titles_later.csv")
    for name, rows in (("seen half", half(0)), ("unseen half", half(1)), ("later titles", later)):
        shares = ", ".join(f"{aspect} {share:.1%}" for aspect, share in accuracy(rows).items())
        print(f"{name}: {len(rows)} titles, {shares}")
    for name, rows in (("unseen half", half(1)), ("later titles", later)):
        for aspect in ASPECTS:
            print(f"\n{aspect} in the {name}: a line per label, a column per reading")
            seen = {row[aspect] for row in rows} | {read(row["title"])[aspect] for row in rows}
            print(confusion(rows, aspect, LEVELS if aspect == "level" else tuple(sorted(seen))))


if __name__ == "__main__":
    main()
