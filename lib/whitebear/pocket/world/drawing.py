"""Drawings as data: read an SVG template, check it, and paint it in the colours of a scene.

A template may hold only plain shapes. The shapes of an object name their ink by class instead of by
colour: `main` (the colour that a caption would name), its shades `dark` and `light`, the neutral
`ink`, `white`, `grey`, and `mark`, a thin detail that contrasts with `main`. `main-line` and so on
draw a stroke instead of a filling. Shapes in <g class="inside"> lie within others: no outline.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from whitebear.errors import UserError

INKS = ("main", "dark", "light", "ink", "white", "grey", "mark")
CLASSES = frozenset(INKS) | frozenset(f"{ink}-line" for ink in INKS)
GEOMETRY = {
    "path": {"d"},
    "rect": {"x", "y", "width", "height", "rx", "ry"},
    "circle": {"cx", "cy", "r"},
    "ellipse": {"cx", "cy", "rx", "ry"},
    "polygon": {"points"},
    "polyline": {"points"},
    "line": {"x1", "y1", "x2", "y2"},
}
PAINT = {"fill", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin", "opacity"}
VALUES = {
    "number": re.compile(r"-?[0-9]*\.?[0-9]+"),
    "d": re.compile(r"\s*M[-MmLlHhVvCcSsQqTtAaZz0-9.,\s]+"),
    "points": re.compile(r"[-0-9., ]+"),
    "transform": re.compile(r"((translate|rotate|scale)\([-0-9., ]+\) ?)+"),
    "class": re.compile(r"[a-z-]+"),
    "fill": re.compile(r"#[0-9a-f]{6}|none"),
    "stroke": re.compile(r"#[0-9a-f]{6}|none"),
    "stroke-linecap": re.compile(r"round|butt|square"),
    "stroke-linejoin": re.compile(r"round|miter|bevel"),
}
SVG_NAMESPACE = "{http://www.w3.org/2000/svg}"
PAPER = "#f7f2e6"
HATCH_PERIOD = 11  # units of the 100-unit drawing: about three pixels for an object of 30
Palette = dict[str, str]


@dataclass(frozen=True)
class Shape:
    """A shape of an object: tag, geometry as attribute text, ink, stroke or filling, stroke width,
    and whether it lies inside others and so has no outline."""

    tag: str
    geometry: str
    ink: str
    line: bool
    width: float
    inside: bool


def read_object(path: Path) -> tuple[Shape, ...]:
    """The shapes of an object's template (viewBox 0 0 100 100). UserError if not plain shapes."""
    shapes = []
    for element, transform, inside in _shapes(path, "0 0 100 100"):
        tag, attributes = _local(element), dict(element.attrib)
        name = attributes.pop("class", "")
        if name not in CLASSES:
            known = ", ".join(INKS)
            raise UserError(
                f"{path.name}: class {name!r} is unknown; use {known}, or these with -line"
            )
        width = _number(path, attributes.pop("stroke-width", "0"))
        _check_attributes(path, tag, attributes, GEOMETRY[tag])
        ink, _, line = name.partition("-")
        shapes.append(Shape(tag, _text(attributes, transform), ink, bool(line), width, inside))
    return tuple(shapes)


def read_background(path: Path) -> str:
    """A background's markup (viewBox 0 0 64 64), as drawn. UserError if it is no plain drawing."""
    parts = []
    for element, transform, _ in _shapes(path, "0 0 64 64"):
        tag = _local(element)
        _check_attributes(path, tag, element.attrib, GEOMETRY[tag] | PAINT)
        parts.append(f"<{tag}{_text(element.attrib, transform)}/>")
    return "".join(parts)


def paint_cartoon(shapes: tuple[Shape, ...], palette: Palette) -> str:
    """Flat fillings within a dark outline; a thin light halo parts it from dark backgrounds."""
    return _outline(shapes, "#ffffff", 12) + _outline(shapes, "#17181f", 7) + _fill(shapes, palette)


def paint_pencil(shapes: tuple[Shape, ...], palette: Palette) -> str:
    """Hatching in full colour on a paler filling, within a thin outline on a rim of bare paper."""
    pale = {ink: mix(colour, PAPER, 0.25) for ink, colour in palette.items()}
    name = "hatch" + palette["main"].lstrip("#")
    tile = f'width="{HATCH_PERIOD}" height="{HATCH_PERIOD}"'
    hatch = (
        f'<defs><pattern id="{name}" {tile} patternUnits="userSpaceOnUse"'
        f' patternTransform="rotate(40)"><rect {tile} fill="{pale["main"]}"/>'
        f'<rect width="4" height="{HATCH_PERIOD}" fill="{palette["hatch"]}"/></pattern></defs>'
    )
    edge = mix(palette["dark"], "#3a3a40", 0.6)
    filling = _fill(shapes, pale | {"main": f"url(#{name})"})
    return hatch + _outline(shapes, PAPER, 11) + _outline(shapes, edge, 4) + filling


def paint_pixel(shapes: tuple[Shape, ...], palette: Palette) -> str:
    """Flat fillings within one outline, to be drawn small: dark, but light around black things."""
    return _outline(shapes, mix(palette["mark"], "#17181f", 0.5), 9) + _fill(shapes, palette)


def wash(background: str) -> str:
    """The background in pencil style: every colour half way to paper."""
    return re.sub("#[0-9a-f]{6}", lambda colour: mix(colour[0], PAPER, 0.5), background)


def shades(name: str, colour: str) -> Palette:
    """The inks of an object in `colour` ("#rrggbb"). White and black need shading that shows."""
    palette = {
        "main": colour,
        "dark": mix(colour, "#000000", 0.38),
        "light": mix(colour, "#ffffff", 0.5),
        "ink": "#17181f",
        "white": "#ffffff",
        "grey": "#7d828e",
        "mark": "#17181f",
        "hatch": mix(colour, "#000000", 0.19),
    }
    if name == "white":
        palette |= {"dark": "#b4bac6", "light": "#e4e7ed", "hatch": "#d0d4dc"}
    if name == "black":
        palette |= {"dark": "#5a5d69", "light": "#868a97", "mark": "#9da1ad", "hatch": "#101116"}
    return palette


def mix(colour: str, other: str, share: float) -> str:
    """`colour` with `share` (0..1) of `other` mixed in, both "#rrggbb"."""
    pairs = ((int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _fill(shapes: tuple[Shape, ...], palette: Palette) -> str:
    parts = []
    for s in shapes:
        ink = palette[s.ink]
        paint = (
            f'fill="none" stroke="{ink}" stroke-width="{s.width:g}"' if s.line else f'fill="{ink}"'
        )
        parts.append(f"<{s.tag}{s.geometry} {paint}/>")
    return '<g stroke-linecap="round" stroke-linejoin="round">' + "".join(parts) + "</g>"


def _outline(shapes: tuple[Shape, ...], colour: str, width: float) -> str:
    """Every solid shape again in one colour and grown by width/2, to lie under the filling."""
    parts = []
    for s in shapes:
        if s.inside:
            continue
        grown = f' fill="none" stroke-width="{s.width + width:g}"' if s.line else ""
        parts.append(f"<{s.tag}{s.geometry}{grown}/>")
    pen = f'fill="{colour}" stroke="{colour}" stroke-width="{width:g}"'
    return f'<g {pen} stroke-linecap="round" stroke-linejoin="round">' + "".join(parts) + "</g>"


def _shapes(path: Path, view_box: str):
    """All (element, transform text, inside) of the file's shapes, groups flattened."""
    try:
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"drawing {path} is missing; every object and background needs an SVG file"
        ) from None
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise UserError(f"drawing {path} is not well-formed SVG: {error}") from None
    if _local(root) != "svg" or root.get("viewBox") != view_box:
        raise UserError(f'drawing {path} must be an <svg> with viewBox="{view_box}"')
    found = list(_walk(path, root, "", False))
    if not found:
        raise UserError(f"drawing {path} holds no shape; draw at least one")
    return found


def _walk(path: Path, parent, transform: str, inside: bool):
    for element in parent:
        tag = _local(element)
        if tag in ("style", "title") and parent.tag == SVG_NAMESPACE + "svg":
            continue  # for people who open the file by itself; never copied into a scene
        moved = f"{transform} {element.get('transform', '')}".strip()
        if tag == "g":
            _check_attributes(path, tag, element.attrib, {"class"})
            if element.get("class", "inside") != "inside":
                raise UserError(f'{path.name}: a <g> has class="inside" or none')
            yield from _walk(path, element, moved, inside or "class" in element.attrib)
        elif tag in GEOMETRY:
            yield element, moved, inside
        else:
            raise UserError(
                f"{path.name}: <{tag}> is not allowed; use only g, {', '.join(GEOMETRY)}"
            )


def _check_attributes(path: Path, tag: str, attributes, allowed: set[str]) -> None:
    for key, value in attributes.items():
        if key not in allowed | {"transform"}:
            raise UserError(
                f"{path.name}: attribute {key!r} of <{tag}> is not allowed; use plain shapes"
            )
        if not _pattern(key).fullmatch(value):
            raise UserError(f"{path.name}: {key}={value[:40]!r} of <{tag}> is not a plain value")


def _pattern(key: str) -> re.Pattern:
    return VALUES.get(key, VALUES["number"])


def _text(attributes, transform: str) -> str:
    pairs = [(k, v) for k, v in attributes.items() if k != "transform"]
    if transform:
        pairs.append(("transform", transform))
    return "".join(f' {key}="{" ".join(value.split())}"' for key, value in pairs)


def _number(path: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{path.name}: stroke-width {text!r} is not a number") from None


def _local(element) -> str:
    tag = element.tag if isinstance(element.tag, str) else "comment"
    return tag.removeprefix(SVG_NAMESPACE)
