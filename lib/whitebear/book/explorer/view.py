"""What the explorer looks like: pictures side by side, and one frame for every denoising step.

The frames are plain pictures behind a slider, linked in the browser: `player` works in a page
without Python.
"""

import base64
import html
import io
import textwrap
from functools import cache

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps, font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from whitebear.book.explorer.drawing import YOURS, Drawing
from whitebear.book.figures.style import FAINT, INK, MUTED, PALETTE, in_style

LABELS = {
    YOURS: "your prompt",
    "unweighted": "no word weighted",
    "affirm": "asked for",
    "omit": "not mentioned",
}
SIDE, GAP, HEAD, CHART = 200, 8, 22, 300  # pixels of a frame: a panel, between, above, the curve
LARGEST = 512  # pixels of a picture in the panel; what is larger travels smaller
STACK = getattr(widgets, "Stack", widgets.Tab)  # ipywidgets 7, as on Colab, has no Stack


def png_url(picture: np.ndarray | Image.Image) -> str:
    """A picture, uint8 (H, W, 3), as the address of an img element."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    if image.height > LARGEST:
        image = image.resize((LARGEST * image.width // image.height, LARGEST))
    data = io.BytesIO()
    image.save(data, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


def shown(drawing: Drawing) -> list[str]:
    """The labels of the pictures, in the order in which they stand side by side."""
    return [label for label in LABELS if label in drawing.pictures]


def verdict(drawing: Drawing, label: str) -> str:
    """What the detector says of a picture: "bear: yes (0.98)"."""
    row = drawing.scores.loc[label]
    return f"{drawing.concept}: {'yes' if row.present else 'no'} ({row.p_asked:.2f})"


def gallery(drawing: Drawing) -> str:
    """The pictures side by side as HTML, each with its prompt and what the detector says of it."""
    cells = []
    for label in shown(drawing):
        prompt, said = html.escape(drawing.prompts[label]), html.escape(verdict(drawing, label))
        cells.append(
            f'<figure style="margin:0;width:{SIDE}px"><img src="{png_url(drawing.pictures[label])}"'
            f' alt="Picture of the prompt: {prompt}" style="width:{SIDE}px;image-rendering:'
            f'pixelated"><figcaption style="line-height:1.3"><b>{LABELS[label]}</b><br>{prompt}<br>'
            f"{said}</figcaption></figure>"
        )
    style = f"display:flex;flex-wrap:wrap;gap:{GAP}px"
    return f'<div style="{style}">{"".join(cells)}</div>'


@in_style
def as_figure(drawing: Drawing) -> Figure:
    """The same as a figure for print: pictures with their prompts and what the detector says."""
    labels = shown(drawing)
    figure, row = plt.subplots(1, len(labels), figsize=(1.75 * len(labels) + 0.4, 2.9))
    for label, axes in zip(labels, row, strict=True):
        axes.imshow(drawing.pictures[label], interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_title(LABELS[label], fontsize=8)
        said = f"{textwrap.fill(drawing.prompts[label], 32)}\n\n{verdict(drawing, label)}"
        axes.set_xlabel(said, fontsize=7)
    return figure


def curve(values: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """The curve of a word's mass (steps,) and where its points are, pixels (steps, 2).

    Drawn once for all frames, without pyplot, since drawing runs in a thread of its own.
    """
    figure = Figure(figsize=(CHART / 100, (SIDE + HEAD) / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.17, 0.2, 0.79, 0.68))
    axes.plot(values, color=PALETTE[0], linewidth=1.3)
    axes.set_title("attention to the word", fontsize=8, color=INK)
    axes.set_xlabel("denoising step", fontsize=8)
    axes.set_ylim(0, max(1.1 * float(values.max()), 1e-3))
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=FAINT, linewidth=0.6)
    canvas.draw()
    points = axes.transData.transform(np.column_stack([np.arange(len(values)), values]))
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return image, np.column_stack([points[:, 0], image.height - points[:, 1]])


def frames(drawing: Drawing, word: str) -> list[Image.Image]:
    """One picture a step: the noise so far, where it looks at `word`, the curve with a mark.

    The map lies over the finished picture, bright is much, on one scale for all steps.
    """
    column = drawing.mass.columns.get_loc(word)
    maps, mass = drawing.maps[:, column], drawing.mass[word].to_numpy()
    chart, points = curve(mass)
    final = _panel(drawing.pictures[YOURS])
    states = [final] * len(mass) if drawing.states is None else list(map(_panel, drawing.states))
    top = max(float(maps.max()), 1e-9)
    found = []
    for state, heat, (x, y) in zip(states, maps / top, points, strict=False):
        frame = Image.new("RGB", (2 * (SIDE + GAP) + CHART, SIDE + HEAD), "white")
        frame.paste(state, (0, HEAD))
        bright = _panel((colormaps["viridis"](heat)[..., :3] * 255).astype(np.uint8))
        frame.paste(
            Image.blend(final.convert("L").convert("RGB"), bright, 0.65), (SIDE + GAP, HEAD)
        )
        frame.paste(chart, (2 * (SIDE + GAP), 0))
        pen, left = ImageDraw.Draw(frame), 2 * (SIDE + GAP) + x
        pen.line([(left, HEAD + 5), (left, 0.8 * (SIDE + HEAD))], fill=MUTED)
        pen.ellipse([left - 4, y - 4, left + 4, y + 4], fill=PALETTE[4])
        said = "finished picture" if drawing.states is None else "the picture so far"
        for place, text in ((0, said), (SIDE + GAP, f"looking at “{word}”")):
            pen.text((place, 3), text, fill=INK, font=_font())
        found.append(frame.quantize(method=Image.Quantize.FASTOCTREE))  # a third of the bytes
    return found


def _panel(picture: np.ndarray) -> Image.Image:
    enlarge, shrink = Image.Resampling.NEAREST, Image.Resampling.LANCZOS
    return Image.fromarray(picture).resize((SIDE, SIDE), shrink if len(picture) > SIDE else enlarge)


@cache
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 11)


class Player:
    """A slider over the denoising steps and the frame of each; `box` is what to display.

    Slider and frames are linked in the browser, so they need no Python. There is no play button:
    the icons of the book's theme and those of ipywidgets' button get into each other's way.
    """

    def __init__(self):
        self.step = widgets.IntSlider(
            min=0, max=0, description="step", layout=widgets.Layout(width="360px", max_width="100%")
        )
        self.stack = STACK(children=[], selected_index=None)
        self.link = widgets.jslink((self.step, "value"), (self.stack, "selected_index"))
        self.box = widgets.VBox([self.step, self.stack])

    def show(self, drawing: Drawing, word: str) -> None:
        """Show the frames of a word, from the step at which the slider stands."""
        made, mass = frames(drawing, word), drawing.mass[word].to_numpy()
        texts = [
            f'<img src="{png_url(frame)}" style="max-width:100%" alt="Step {i} of {len(made)}:'
            f' attention to “{html.escape(word)}” over the picture, mass {mass[i]:.3f}">'
            for i, frame in enumerate(made)
        ]
        old, last = self.stack.children, len(made) - 1
        if len(old) != len(texts):
            self.stack.selected_index = None
            self.stack.children = [widgets.HTML() for _ in texts]
            self.step.value = 0
            self.step.max = last
            for child in old:
                child.close()
        for child, text in zip(self.stack.children, texts, strict=True):
            child.value = text
        self.stack.selected_index = self.step.value


def player(drawing: Drawing, word: str | None = None) -> widgets.VBox:
    """The steps of a drawing behind a slider, for a notebook or a page without Python."""
    made = Player()
    made.show(drawing, drawing.word if word is None else word)
    return made.box
