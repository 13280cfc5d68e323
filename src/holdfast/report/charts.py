"""A chart of a report: an Altair chart with a name, a caption, and a sentence for those who cannot
see it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from holdfast.errors import OptionError
from holdfast.files import write_bytes
from holdfast.visible import one_line, visible

PALETTE = (
    "#3b7dd0",
    "#d9722e",
    "#3d8f5f",
    "#8a63b5",
    "#c2456b",
    "#7a7f87",
)  # tell apart on white and on near-black, and in gray
PICTURE_WIDTH, PICTURE_SCALE = 680, 2.0
# letters of a text in a chart; longer ones are names from data, and stay apart from one another
# when shortened
LONGEST = 1000

FONT = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', "
    "Arial, sans-serif"
)
GRAY = {
    "symbolBaseFillColor": "#858b94",
    "symbolBaseStrokeColor": "#858b94",
}  # of symbols that stand for a shape, not a color
CONFIG: dict[str, Any] = {
    "background": None,
    "font": FONT,
    "view": {"stroke": None},
    "mark": {"color": PALETTE[0]},
    "range": {"category": list(PALETTE)},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": 500,
        "titlePadding": 8,
        "labelOverlap": "greedy",
        "labelSeparation": 6,
        "labelColor": "#4a5058",
        "titleColor": "#4a5058",
        "gridColor": "#e4e6ea",
        "domainColor": "#b4b9c0",
        "tickColor": "#b4b9c0",
    },
    "axisQuantitative": {"tickCount": 6},
    "axisY": {"labelPadding": 6},
    "legend": {
        "orient": "top",
        "title": None,
        "labelFontSize": 13,
        "labelColor": "#22262b",
        "labelLimit": 300,
        "symbolStrokeWidth": 3,
    }
    | GRAY,
    "header": {"labelFontSize": 13, "labelColor": "#22262b", "title": None},
    "line": {"strokeWidth": 2.25},
    "point": {"size": 60, "filled": True, "opacity": 1},
}


@dataclass(frozen=True)
class Chart:
    """`chart` is any Altair chart. `name` is the stem of its picture file; `alt` says in words what
    it shows.

    A chart without a width of its own fills the width of the page, down to a phone's.
    """

    chart: alt.TopLevelMixin
    name: str
    caption: str = ""
    alt: str = ""

    def __post_init__(self) -> None:
        if not self.name or any(not (letter.isalnum() or letter in "-_") for letter in self.name):
            raise OptionError(
                f"{self.name!r} is no name for a picture file", hint="letters, digits, - and _ only"
            )

    def spec(self) -> dict[str, Any]:
        """The Vega-Lite specification with every row of data inside it."""
        with alt.data_transformers.enable("default", max_rows=None):
            spec = self.chart.to_dict()
        spec.pop("$schema", None)
        spec["config"] = _merged(CONFIG, spec.get("config", {}))
        return _drawable(spec)

    def page_spec(self) -> dict[str, Any]:
        spec = self.spec()
        if _takes_width(spec) and "width" not in spec:
            spec |= {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
        return spec

    def save_picture(self, folder: Path) -> Path:
        spec = self.spec() | {"background": "white", "padding": 16}
        if _takes_width(spec) and spec.get("width", "container") == "container":
            spec["width"] = PICTURE_WIDTH
        path = folder / f"{self.name}.png"
        write_bytes(
            path,
            vl_convert.vegalite_to_png(spec, vl_version=vega_lite_version(), scale=PICTURE_SCALE),
        )
        return path


def vega_lite_version() -> str:
    """The version of Vega-Lite that this Altair writes: "6.4"."""
    return ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])


@lru_cache(maxsize=1)
def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed in one piece, from the copy that vl-convert carries."""
    return vl_convert.javascript_bundle(
        "window.vegaEmbed = vegaEmbed;", vl_version=vega_lite_version()
    )


def inert_json(value: Any) -> str:
    """JSON that cannot end the script element it is put into, nor open a comment there: `<`, `>`
    and `&` are written as escapes.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _drawable(value: Any) -> Any:
    """The same with every text visible and none endless: Vega's expressions, into which names go,
    cannot hold line separators, and pictures no controls; and a label is measured letter by letter
    until it fits, which takes seconds for one of 100,000."""
    if isinstance(value, dict):
        return {_shown(key): _drawable(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_drawable(entry) for entry in value]
    return _shown(value) if isinstance(value, str) else value


def _shown(text: str) -> str:
    return visible(text) if len(text) <= LONGEST else one_line(text, LONGEST)


def _takes_width(spec: dict[str, Any]) -> bool:
    faceted = "facet" in spec or any(
        channel in spec.get("encoding", {}) for channel in ("row", "column", "facet")
    )
    return not faceted and not any(
        key in spec for key in ("hconcat", "vconcat", "concat", "repeat")
    )


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, dictionaries merged key by key. Altair's own default view size gives
    way to the page's.
    """
    out = dict(base)
    for key, value in over.items():
        if key == "view":
            value = {
                k: v for k, v in value.items() if k not in ("continuousWidth", "continuousHeight")
            }
        out[key] = (
            _merged(out[key], value)
            if isinstance(value, dict) and isinstance(out.get(key), dict)
            else value
        )
    return out
