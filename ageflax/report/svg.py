"""Drawings as inline SVG; their ink follows the page's, light or dark."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

# Colours and shapes of folds and runs. Each colour stands out on white and on near-black; shapes tell
# curves apart where colours do not.
COLOURS = (
    "#3b82d6", "#c9731f", "#2f9e68", "#a66bd4", "#d9534f", "#7d8a1f", "#1f97a5", "#c2589b",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

# A stand-in for currentColor, which matplotlib does not know; no other colour is equal to it.
INK = "#010203"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "ageflax", "font.family": "sans-serif",
    "font.size": 11, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.linewidth": 0.6, "grid.color": INK,
    "grid.alpha": 0.15, "grid.linewidth": 0.6, "axes.unicode_minus": False,
    "axes.spines.top": False, "axes.spines.right": False, "xtick.major.size": 2.5,
    "ytick.major.size": 2.5, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Drawing:
    """One panel: `svg` is an <svg> element, drawn from numbers."""

    title: str
    svg: Markup


def mark(place: int) -> tuple[str, str]:
    """Colour and marker of the fold or run at this place."""
    return COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]


@contextlib.contextmanager
def figure(width: float, height: float) -> Iterator[Any]:
    """Yields a matplotlib figure in the page's style, transparent; sizes are in inches."""
    # Imported late: it takes half a second.
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        drawn = Figure(figsize=(width, height), layout="constrained")
        drawn.patch.set_visible(False)
        yield drawn


def element(drawn: Any, *, name: str, title: str) -> Drawing:
    """Converts a figure to an element of a page.

    Args:
      drawn: matplotlib's figure, within the `figure` block.
      name: prefix of the element's ids, unique on its page.
      title: caption, read out by screen readers.
    """
    import io

    from matplotlib.backends.backend_svg import FigureCanvasSVG

    for axes in drawn.axes:
        axes.patch.set_visible(False)
        axes.set_axisbelow(True)
    file = io.StringIO()
    FigureCanvasSVG(drawn).print_svg(file, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    text = text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return Drawing(title, Markup(text.replace(INK, "currentColor")))  # noqa: S704


def sample(place: int) -> Markup:
    """The line and marker of a fold or run, small, for a legend."""
    colour, shape = mark(place)
    points = {
        "s": "8.5,2.5 15.5,2.5 15.5,9.5 8.5,9.5",
        "^": "12,1.5 16,9.5 8,9.5",
        "D": "12,1 17,6 12,11 7,6",
        "v": "12,10.5 16,2.5 8,2.5",
        "P": "10.5,1.5 13.5,1.5 13.5,4.5 16.5,4.5 16.5,7.5 13.5,7.5 13.5,10.5 10.5,10.5 10.5,7.5"
             " 7.5,7.5 7.5,4.5 10.5,4.5",
        "X": "9.5,1.5 12,4 14.5,1.5 16.5,3.5 14,6 16.5,8.5 14.5,10.5 12,8 9.5,10.5 7.5,8.5 10,6"
             " 7.5,3.5",
        "*": "12,1 13.4,4.4 17,4.7 14.2,7 15.1,10.6 12,8.7 8.9,10.6 9.8,7 7,4.7 10.6,4.4",
    }  # fmt: skip
    drawn = (
        '<circle cx="12" cy="6" r="3.8"/>'
        if shape == "o"
        else f'<polygon points="{points[shape]}"/>'
    )
    return Markup(  # noqa: S704
        f'<svg class="sample" viewBox="0 0 24 12" aria-hidden="true" fill="{colour}">'
        f'<path d="M0 6H24" stroke="{colour}" stroke-width="2"/>{drawn}</svg>'
    )
