"""A bar chart of shares as SVG: what `--svg` of the measuring verbs writes."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

Bar = tuple[str, float, Mapping[str, float]]
"""Label, share (1: all there was), and by name what else to mark on the same scale."""

# In pixels.
_LEFT: Final = 230
_WIDTH: Final = 500
_RIGHT: Final = 60
_TOP: Final = 70
_STEP: Final = 22
_THICK: Final = 14

_BAR: Final = "#47a"
_GRID: Final = "#ddd"
_GOAL: Final = "#c33"
_MARKS: Final = ("black", "#e80", "#393")
"""Colours of the marks, in the order in which their names first occur."""


def chart(title: str, bars: Sequence[Bar], goal: float) -> str:
    """Return an SVG: a bar for every share, its marks, and a line where all bars should end."""
    colours = _colours(bars)
    # Above 1 is chance, such as what a queue still held; it must not leave the picture.
    most = max([1.0, *(value for _, share, marks in bars for value in (share, *marks.values()))])
    scale = _WIDTH / most
    bottom = _TOP + _STEP * len(bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + _RIGHT}" '
        f'height="{bottom + 30}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(10, 20, title),
        *_legend(colours),
    ]
    for fifth in range(6):
        x = _LEFT + scale * fifth / 5
        parts.append(_line(x, bottom, _GRID))
        parts.append(_text(x, bottom + 16, f"{fifth / 5:.1f}", anchor="middle"))
    for number, bar in enumerate(bars):
        parts += _bar(_TOP + _STEP * number, bar, scale, colours)
    parts.append(_line(_LEFT + scale * goal, bottom, _GOAL))
    parts.append(_text(_LEFT + scale * goal, _TOP - 10, f"goal {goal:g}", anchor="middle"))
    return "\n".join([*parts, "</svg>", ""])


def _colours(bars: Sequence[Bar]) -> dict[str, str]:
    names = dict.fromkeys(name for _, _, marks in bars for name in marks)
    return {name: _MARKS[at % len(_MARKS)] for at, name in enumerate(names)}


def _legend(colours: Mapping[str, str]) -> list[str]:
    parts = []
    for at, (name, colour) in enumerate(colours.items()):
        x = 10 + 150 * at
        parts.append(_rectangle(x, 28, 2, _THICK, colour))
        parts.append(_text(x + 8, 39, name))
    return parts


def _bar(y: int, bar: Bar, scale: float, colours: Mapping[str, str]) -> list[str]:
    label, share, marks = bar
    return [
        _text(_LEFT - 8, y + 11, label, anchor="end"),
        _rectangle(_LEFT, y, scale * share, _THICK, _BAR),
        *(
            _rectangle(_LEFT + scale * value - 1, y - 2, 2, _THICK + 4, colours[name])
            for name, value in marks.items()
        ),
        _text(_LEFT + _WIDTH + 20, y + 11, f"{share:.2f}"),
    ]


def _rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{colour}"/>'


def _line(x: float, bottom: float, colour: str) -> str:
    return f'<line x1="{x:g}" y1="{_TOP - 6}" x2="{x:g}" y2="{bottom:g}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'
