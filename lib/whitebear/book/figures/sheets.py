"""Contact sheets of the pocket world, for the pages of the book."""

import textwrap
from collections.abc import Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from whitebear.book.figures.style import MUTED, in_style
from whitebear.errors import UserError
from whitebear.pocket.world.scene import SIZE, Scene, Thing, World


def alone(thing: str, colour: str, background: str, style: str, size: float = 46) -> Scene:
    """One upright thing in the middle of the frame."""
    middle = SIZE / 2
    return Scene((Thing(thing, colour, middle, middle, size, 0, False),), background, style)


@in_style
def sheet(
    images: Sequence[Sequence[np.ndarray]],
    below: Sequence[Sequence[str]] | None = None,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    inch: float = 0.95,
    room: float = 0.2,
) -> Figure:
    """Pictures in a grid, `inch` wide, with names of rows and columns, or words below each one.

    images: rows of uint8 (H, W, 3); below: as many strings; room: height of those words in inches.
    """
    if not images:
        raise UserError(
            "there is no picture to show; ask for at least one, or sample more captions"
        )
    height = inch + (room if below else 0)
    size = (inch * len(images[0]) + (0.5 if rows else 0), height * len(images) + 0.15)
    figure, grid = plt.subplots(len(images), len(images[0]), figsize=size, squeeze=False)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=room / 2 if below else 0.03)
    for i, j in np.ndindex(grid.shape):
        axes = grid[i, j]
        axes.set_axis_off()
        axes.set_anchor("N")
        if j < len(images[i]):
            axes.imshow(images[i][j], interpolation="nearest")
            if below:
                _write_below(axes, below[i][j])
    for axes, name in zip(grid[0], columns, strict=False):
        axes.set_title(name, fontsize=8, weight="normal")
    for axes, name in zip(grid[:, 0], rows, strict=False):
        axes.text(-0.08, 0.5, name, fontsize=8, ha="right", va="center", color=MUTED,
                  transform=axes.transAxes)  # fmt: skip
    figure.draw_without_rendering()  # settle the layout, then let the words count again, so
    figure.set_layout_engine("none")  # that a figure cut to its contents keeps them
    for text in figure.findobj(Text):
        text.set_in_layout(True)
    return figure


def _write_below(axes: Axes, words: str) -> None:
    text = axes.text(0.5, -0.04, words, fontsize=7.5, ha="center", va="top",
                     transform=axes.transAxes)  # fmt: skip
    text.set_in_layout(False)  # else wide words would shrink the pictures; `room` makes the place


def objects_sheet(world: World, background: str = "meadow", columns: int = 6) -> Figure:
    """Every object once, named; the colours of the world take turns."""
    colours = cycle(world.colours)
    names = list(world.objects)
    images = [world.render(alone(n, next(colours), background, "cartoon")) for n in names]
    return sheet(_rows(images, columns), below=_rows(names, columns))


def colours_sheet(world: World, thing: str, background: str = "room") -> Figure:
    """One thing in every colour (columns) and style (rows)."""
    images = [
        [world.render(alone(thing, colour, background, style)) for colour in world.colours]
        for style in world.styles
    ]
    return sheet(images, rows=world.styles, columns=world.colours, inch=0.8)


def backgrounds_sheet(world: World) -> Figure:
    """Every background (columns) in every style (rows), with nothing on it."""
    images = [[world.render(Scene((), b, s)) for b in world.backgrounds] for s in world.styles]
    return sheet(images, rows=world.styles, columns=world.backgrounds, inch=0.8)


def scenes_sheet(
    world: World, scenes: Sequence[Scene], captions: Sequence[str], columns: int = 4
) -> Figure:
    """Pictures of scenes with their captions below."""
    images = [world.render(scene) for scene in scenes]
    words = [textwrap.fill(text, 24) for text in captions]
    lines = max((text.count("\n") + 1 for text in words), default=1)
    return sheet(
        _rows(images, columns), below=_rows(words, columns), inch=1.5, room=0.125 * lines + 0.08
    )


def _rows(items: list, columns: int) -> list[list]:
    return [items[i : i + columns] for i in range(0, len(items), columns)]
