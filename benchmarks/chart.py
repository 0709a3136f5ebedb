"""A bar chart of what a row costs, by how many there are."""

from collections.abc import Mapping
from html import escape

COLOURS = ("#2457c5", "#8a94a6", "#d98324", "#3a8f5c")
WIDTH, HEIGHT = 760, 400
LEFT, TOP, BOTTOM = 60, 70, 340
BAR, GAP = 48, 12


def svg(
    costs: Mapping[int, Mapping[str, float]],
    title: str,
    unit: str = "rows",
) -> str:
    """`costs` are microseconds per `unit` by contender, by size."""
    contenders = list(next(iter(costs.values())))
    most = max(cost for by_contender in costs.values() for cost in by_contender.values())
    step = (WIDTH - LEFT - 20) / len(costs)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="20" y="26" font-size="16">{escape(title)}</text>',
    ]
    for place, (contender, colour) in enumerate(zip(contenders, COLOURS, strict=False)):
        x = 20 + 185 * place
        parts.append(f'<rect x="{x}" y="40" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="51">{escape(contender)}</text>')
    for place, (rows, by_contender) in enumerate(costs.items()):
        middle = LEFT + step * (place + 0.5)
        first = middle - (len(contenders) * (BAR + GAP) - GAP) / 2
        for bar, contender in enumerate(contenders):
            cost = by_contender[contender]
            height = (BOTTOM - TOP - 20) * cost / most
            left = first + bar * (BAR + GAP)
            parts.append(
                f'<rect x="{left:.0f}" y="{BOTTOM - height:.0f}" width="{BAR}" height="{height:.0f}"'
                f' fill="{COLOURS[bar]}"/>'
            )
            parts.append(
                f'<text x="{left + BAR / 2:.0f}" y="{BOTTOM - height - 6:.0f}" text-anchor="middle">{cost:.0f}</text>'
            )
        parts.append(f'<text x="{middle:.0f}" y="{BOTTOM + 24}" text-anchor="middle">{rows:,} {unit}</text>')
    parts.append(f'<line x1="{LEFT}" y1="{BOTTOM}" x2="{WIDTH - 20}" y2="{BOTTOM}" stroke="#444"/>')
    return "\n".join([*parts, "</svg>", ""])
