"""The explorer: a panel of widgets in front of `explorer.draw`.

Every button has a method of the same name, so a test or a notebook cell can press it. Drawing runs
in a thread: the kernel stays free to hear the stop button.
"""

import functools
import html
import threading

import ipywidgets as widgets

from whitebear.book.explorer.drawing import Drawing, draw, filled, words_of
from whitebear.book.explorer.view import Player, gallery
from whitebear.draw.artist import Artist
from whitebear.errors import UserError
from whitebear.models.load import REGISTRY, find_model
from whitebear.pocket.world.scene import load_world
from whitebear.prompts import KINDS, load_wordings, web_concepts

WIDE = widgets.Layout(width="640px")
HALF = widgets.Layout(width="316px")
THIRD = widgets.Layout(width="208px")


class Stopped(Exception):
    """The stop button was pressed; goes from inside the pipeline to the thread that draws."""


def one_line(method):
    """A wrong input, or anything else that goes wrong, is one line in the status and no more."""

    @functools.wraps(method)
    def guarded(self, *args):
        try:
            return method(self, *args)
        except UserError as error:
            self.say(str(error), wrong=True)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0][:200]
            self.say(f"{type(error).__name__}: {reason}", wrong=True)

    return guarded


class Explorer(widgets.VBox):
    """Choose, draw, look, change a word, draw again; a widget to display.

    The prompt is filled from concept, condition, wording and seed, and can be typed over. Ticked
    words are drawn with `weight` (0 takes a word out of every softmax). `drawing` is the last
    finished drawing.
    """

    def __init__(self, model: str = "pocket", concept: str = "bear", artist: Artist | None = None):
        super().__init__()
        self.drawing: Drawing | None = None
        self._artist, self._thread, self._busy = artist, None, False
        self._stop, self._filled = threading.Event(), {}
        self._controls(model, concept)
        self._lay_out()
        for control in (self.concept, self.condition, self.seed):
            control.observe(self.fill, "value")
        self.model.observe(self.defaults, "value")
        self.wording.observe(self.fill_prompt, "value")
        self.prompt.observe(self.list_words, "value")
        self.word.observe(self.look, "value")
        self.draw_button.on_click(self.draw)
        self.stop_button.on_click(self.stop)
        self.defaults()

    def _controls(self, model: str, concept: str) -> None:
        concepts = [c.name for c in load_world().concepts if c.kind in KINDS]
        concepts += [name for name in web_concepts().name if name not in concepts]
        conditions = list(dict.fromkeys(load_wordings().condition))
        combo = functools.partial(widgets.Combobox, continuous_update=False, layout=HALF)
        self.model = combo(value=model, options=list(REGISTRY), description="model")
        self.concept = combo(value=concept, options=concepts, description="concept")
        self.condition = widgets.Dropdown(
            options=conditions, value="forget_then_request", description="condition", layout=HALF
        )
        self.wording = widgets.Dropdown(options=[], description="wording", layout=HALF)
        self.prompt = widgets.Text(description="prompt", continuous_update=False, layout=WIDE)
        self.seed = widgets.IntText(value=0, description="seed", layout=THIRD)
        self.guidance = widgets.FloatText(description="guidance", step=0.5, layout=THIRD)
        self.steps = widgets.IntText(description="steps", layout=THIRD)
        self.words: dict[str, widgets.Checkbox] = {}
        self.weight = widgets.FloatSlider(
            value=0.0, min=0.0, max=3.0, step=0.1, description="weight", layout=HALF
        )
        self.draw_button = widgets.Button(description="Draw", button_style="primary")
        self.stop_button = widgets.Button(description="Stop", disabled=True)
        self.progress = widgets.IntProgress(value=0, max=1, layout=HALF)
        self.status, self.pictures = widgets.HTML(), widgets.HTML()
        self.word = widgets.Dropdown(options=[], description="look at", layout=HALF)
        self.player = Player()

    def _lay_out(self) -> None:
        row = widgets.HBox
        self.ticks = widgets.Box(layout=widgets.Layout(flex_flow="row wrap", width="640px"))
        self.result = widgets.VBox(
            [self.pictures, self.word, self.player.box], layout=widgets.Layout(display="none")
        )
        self.children = [
            row([self.model, self.concept]), row([self.condition, self.wording]), self.prompt,
            row([self.seed, self.guidance, self.steps]),
            widgets.HTML("Tick words to give them another weight: 0 takes a word out."),
            self.ticks, self.weight,
            row([self.draw_button, self.stop_button, self.progress]), self.status, self.result,
        ]  # fmt: skip

    def say(self, text: str, wrong: bool = False) -> None:
        """One line under the buttons; text of any origin, shown as it is."""
        colour = "#b3261e" if wrong else "inherit"
        line = html.escape(" ".join(text.split()))
        self.status.value = f'<span role="status" style="color:{colour}">{line}</span>'

    # --- choosing --------------------------------------------------------------------------------

    @one_line
    def defaults(self, _change=None) -> None:
        """Steps and guidance as the authors of the model recommend; then fill the prompt."""
        entry = find_model(self.model.value)
        self.steps.value, self.guidance.value = entry.steps, entry.guidance
        self.fill()

    @one_line
    def fill(self, _change=None) -> None:
        """Offer the wordings of the condition, and fill the prompt from the chosen one."""
        self._filled = filled(
            self.concept.value, self.condition.value, self.seed.value, self.model.value
        )
        kept = self.wording.value
        if list(self.wording.options) != list(self._filled):
            self.wording.options = list(self._filled)
            self.wording.value = kept if kept in self._filled else next(iter(self._filled))
        self.say("")
        self.fill_prompt()

    @one_line
    def fill_prompt(self, _change=None) -> None:
        """Write the prompt of the chosen wording; it may be typed over."""
        if self.wording.value in self._filled:
            self.prompt.value = self._filled[self.wording.value]

    @one_line
    def list_words(self, _change=None) -> None:
        """A box to tick for every word of the prompt; what was ticked stays ticked."""
        old = self.words
        self.words = {
            word: old.pop(word, None)
            or widgets.Checkbox(
                description=word, indent=False, layout=widgets.Layout(width="auto", margin="0 12px")
            )
            for word in words_of(self.prompt.value)
        }
        self.ticks.children = list(self.words.values())
        for box in old.values():
            box.close()

    # --- drawing ---------------------------------------------------------------------------------

    @one_line
    def draw(self, _button=None) -> None:
        """Start to draw what is chosen, if nothing is being drawn."""
        if self._busy:
            raise UserError("still drawing; wait, or press Stop first")
        ticked = [word for word, box in self.words.items() if box.value]
        known = self._filled.get(self.wording.value) == self.prompt.value
        request = {
            "concept": self.concept.value, "prompt": self.prompt.value, "seed": self.seed.value,
            "guidance": self.guidance.value, "steps": self.steps.value,
            "weights": dict.fromkeys(ticked, self.weight.value),
            "wording": self.wording.value if known else "",
        }  # fmt: skip
        self._busy = self.draw_button.disabled = True
        self._stop.clear()
        self.stop_button.disabled, self.progress.value = False, 0
        self._thread = threading.Thread(target=self._work, args=(self.model.value, request))
        self._thread.daemon = True
        self._thread.start()

    def stop(self, _button=None) -> None:
        """End the drawing before its next step; the last finished drawing stays."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> Drawing | None:
        """Wait until nothing is being drawn; the last finished drawing."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self.drawing

    def _work(self, model: str, request: dict) -> None:
        try:
            self._draw(model, request)
        finally:
            self.draw_button.disabled, self.stop_button.disabled = False, True
            self._busy = False

    @one_line
    def _draw(self, model: str, request: dict) -> None:
        try:
            if self._artist is None or self._artist.model != model:
                self.say(f"loading {model}")
                self._artist = None  # two models may not fit
                self._artist = Artist(model)
                self._artist.pipe  # noqa: B018 - loaded here
            self.say("drawing")
            artist = self._artist.sampling(request.pop("steps"), request.pop("guidance"))
            drawing = draw(artist, **request, on_call=self._tick)
        except Stopped:
            self.say("stopped; the last finished drawing stays")
            return
        self.show(drawing)
        self.say("done")

    def _tick(self, total: int) -> None:
        if self._stop.is_set():
            raise Stopped
        self.progress.max = total
        self.progress.value = min(self.progress.value + 1, total)

    # --- looking ---------------------------------------------------------------------------------

    def show(self, drawing: Drawing) -> None:
        """Show a finished drawing; keep looking at the same word where the prompt still has it."""
        words, kept = list(drawing.mass), self.word.value
        self.drawing = None  # no frames of a word that is about to be replaced
        self.word.options = words
        self.word.value = kept if kept in words else drawing.word
        self.drawing, self.pictures.value = drawing, gallery(drawing)
        self.look()
        self.result.layout.display = ""

    @one_line
    def look(self, _change=None) -> None:
        """Show the steps of the chosen word."""
        if self.drawing is not None and self.word.value is not None:
            self.player.show(self.drawing, self.word.value)
