"""Plots as SVG, light or dark as the reader's system is; with a text for who does not see them."""

from collections.abc import Sequence
from html import escape

_WIDTH, _LEFT, _RIGHT = 720, 210, 90
_ROW, _TOP = 30, 52
_STYLE = """<style>
  svg { color-scheme: light dark; font: 13px system-ui, sans-serif; }
  text { fill: #24292f; } .soft { fill: #57606a; } .axis { stroke: #d0d7de; }
  .bar { fill: #8c959f; } .own { fill: #0969da; } .line { fill: none; stroke: #0969da; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .soft { fill: #9198a1; } .axis { stroke: #3d444d; }
    .bar { fill: #6e7681; } .own { fill: #4493f8; } .line { stroke: #4493f8; }
  }
</style>"""


def bars(title: str, unit: str, rows: Sequence[tuple[str, float]], own: str = "crewrelay") -> str:
    """Horizontal bars, from zero. Those whose name begins with `own` have a colour of theirs."""
    most = max((value for _, value in rows), default=0) or 1
    drawn = []
    for number, (name, value) in enumerate(rows):
        y, width = _TOP + number * _ROW, value / most * (_WIDTH - _LEFT - _RIGHT)
        kind = "own" if name.startswith(own) else "bar"
        drawn.append(
            f'<text x="{_LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{max(width, 1):.1f}" height="20" rx="3"/>'
            f'<text class="soft" x="{_LEFT + width + 8:.1f}" y="{y + 15}">{_number(value)} {escape(unit)}</text>'
        )
    said = "; ".join(f"{name} {_number(value)} {unit}" for name, value in rows)
    return _svg(title, said, _TOP + len(rows) * _ROW + 8, drawn)


def curve(title: str, unit: str, points: Sequence[tuple[float, float]], along: str) -> str:
    """A line over numbers, from zero up."""
    height, bottom = 260, 220
    furthest, most = max(x for x, _ in points), max(y for _, y in points) * 1.15
    span = _WIDTH - 80 - 30

    def place(x: float, y: float) -> tuple[float, float]:
        return 80 + x / furthest * span, bottom - y / most * (bottom - _TOP)

    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
    end = _WIDTH - 30
    drawn = [
        f'<line class="axis" x1="80" y1="{bottom}" x2="{end}" y2="{bottom}"/>',
        f'<polyline class="line" points="{path}"/>',
        f'<text class="soft" x="72" y="{bottom + 4}" text-anchor="end">0</text>',
        f'<text class="soft" x="{end}" y="{bottom + 20}" text-anchor="end">{furthest:,.0f} {escape(along)}</text>',
    ]
    for (x, y), anchor in ((points[0], "start"), (points[-1], "end")):
        at_x, at_y = place(x, y)
        drawn.append(
            f'<text x="{at_x:.1f}" y="{at_y - 10:.1f}" text-anchor="{anchor}">{_number(y)} {escape(unit)}</text>'
        )
    said = "; ".join(f"{_number(y)} {unit} at {x:,.0f} {along}" for x, y in points)
    return _svg(title, said, height, drawn)


def _svg(title: str, said: str, height: int, drawn: Sequence[str]) -> str:
    label = escape(f"{title}: {said}", quote=True)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">',
            _STYLE,
            f'<text x="14" y="28" font-size="15" font-weight="600">{escape(title)}</text>',
            *drawn,
            "</svg>\n",
        ]
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
