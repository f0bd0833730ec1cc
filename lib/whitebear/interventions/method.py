"""What interventions have in common: a name, a strength, a line where they cannot be, an end.

An intervention is a `Method` in a file of its name. Its generator edits what an artist draws with,
yields while the rows are drawn, and puts everything back.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from diffusers import DiffusionPipeline

from whitebear.errors import UserError
from whitebear.scoring.judge import Judge


class Drawing(Protocol):
    """What interventions know of a `draw.Artist`.

    negatives: a negative prompt for each row that is drawn next, or None; prompts: what is drawn in
    place of its own prompt, or None; screen: what rows and their images go through before they are
    given out, or None. judge: what no intervention may use. parts: what tells its model from that
    of its name, for the keys of what is cached. pocket: whether it is a model of the pocket world.
    """

    pipe: DiffusionPipeline
    steps: int
    guidance: float
    negatives: list[str] | None
    prompts: list[str] | None
    screen: Callable[[pd.DataFrame, np.ndarray], np.ndarray] | None
    judge: Judge
    parts: str
    pocket: bool

    def draw(self, rows: pd.DataFrame, progress: bool = True) -> np.ndarray: ...


@contextlib.contextmanager
def with_values(owner: object, **values: object) -> Iterator[None]:
    """A block in which attributes of `owner` have these values; put back however it ends."""
    before = {name: getattr(owner, name) for name in values}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


@dataclass(frozen=True)
class Method:
    """An intervention: `with weigh(artist, rows, 0.0): artist.draw(rows)`.

    In the block exactly these rows are to be drawn, once and in their order; in as many batches as
    it takes. Nothing is left edited after it, however it ends. At the strength `neutral` nothing is
    edited at all.

    act(artist, rows, strength, **options): edits, yields once, and puts back. default, neutral,
    lowest, highest: strengths, finite ones but for the neutral; whole: whether there are none
    between whole numbers; levels: names of the strengths 0, 1, ..., where they have names;
    why_not(artist, **options): a reason where it cannot be used, else ""; state(): digest of files
    that it reads, for the keys of what is cached.
    """

    name: str
    act: Callable[..., Iterator[None]]
    default: float
    neutral: float
    lowest: float = 0.0
    highest: float = math.inf
    whole: bool = False
    levels: tuple[str, ...] = ()
    why_not: Callable[..., str] = lambda artist, **_: ""
    state: Callable[[], str] = str

    def __call__(
        self, artist: Drawing, rows: pd.DataFrame, strength: float | str | None = None, **options
    ) -> contextlib.AbstractContextManager[None]:
        """A block in which the rows are drawn. Raises `UserError` for a strength that cannot be,
        and for an artist whose model this does not fit."""
        strength = self.check(strength)
        if strength == self.neutral:
            return contextlib.nullcontext()
        if reason := self.why_not(artist, **options):
            raise UserError(f"{self.name} cannot be used here: {reason}")
        return contextlib.contextmanager(self.act)(artist, rows, strength, **options)

    def check(self, strength: float | str | None) -> float:
        """The strength as a number, None being the default. `UserError` where it is out of range.

        >>> from whitebear.interventions import weigh
        >>> weigh.check(None), weigh.check(2)
        (0.0, 2.0)
        """
        if strength is None:
            return self.default
        if strength in self.levels:
            return float(self.levels.index(strength))
        number = isinstance(strength, (int, float)) and not isinstance(strength, bool)
        fits = number and math.isfinite(strength) and self.lowest <= strength <= self.highest
        fits = fits or (number and strength == self.neutral)  # which may be infinite
        if not fits or (self.whole and strength != int(strength)):
            raise UserError(f"strength is {strength!r}; {self.name} takes {self._range()}")
        return float(strength)

    def _range(self) -> str:
        if self.lowest == self.highest:
            return f"{self.lowest:g} alone"
        if self.whole and self.highest - self.lowest == 1:
            return f"{self.lowest:g} or {self.highest:g}"
        what = "a whole number" if self.whole else "a number"
        end = " or inf" if math.isinf(self.neutral) else ""
        end += f" ({', '.join(self.levels)})" if self.levels else ""
        if math.isinf(self.highest):
            return f"{what} of at least {self.lowest:g}{end}"
        return f"{what} from {self.lowest:g} to {self.highest:g}{end}"
