"""Change the attention that is paid to words while an image is made.

It goes through the interception that captures: with steer_attention(...), capture_attention(...)
the capture sees the attention that was steered.
"""

from collections.abc import Mapping, Sequence

import torch
from diffusers import DiffusionPipeline

from whitebear.errors import UserError
from whitebear.hooks.intercept import Attention
from whitebear.hooks.listener import Listener
from whitebear.hooks.run import Run
from whitebear.hooks.words import ROLES, check_names, check_tokens

LARGEST = 1e4  # of a weight: half precision has no numbers above 65,504


class Steering(Listener):
    """What `steer_attention` gives."""

    def __init__(self, pipe, tokens, weight, renormalize, roles, **where):
        super().__init__(pipe, **where)
        self.words = check_tokens(tokens, self.prompts)
        if not self.words:
            raise UserError('there is nothing to steer; name tokens such as ["bear"]')
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not abs(weight) <= LARGEST:  # NaN neither
            words = ", ".join(map(repr, self.words))
            raise UserError(
                f"the weight of {words} is {weight!r}; give a finite number of at most {LARGEST:g}"
            )
        if renormalize and weight < 0:
            words = ", ".join(map(repr, self.words))
            raise UserError(
                f"the weight of {words} is {weight!r}, and a softmax has no negative shares; give"
                " at least 0, or renormalize=False"
            )
        self.roles = check_names(roles, ROLES, "roles")
        self.weight, self.renormalize = float(weight), renormalize

    def begin(self, run: Run) -> None:
        _, hits = self.find(run, self.words, self.roles)  # (rows, keys, labels)
        has_word = hits[..., : len(self.words)].any(-1).any(-1, keepdim=True)
        self.factors = torch.where(hits.any(-1) & has_word, self.weight, 1.0).to(run.device)

    def edit(self, attention: Attention, run: Run) -> None:
        args = attention.arguments
        factors = args["value"].new_ones((len(args["value"]), args["key"].shape[-2]))
        factors[run.slice_of(self.branch), attention.text] = self.factors.to(factors)
        if not self.renormalize:
            args["value"] = args["value"] * factors[:, None, :, None]
            return
        bias, mask = factors.log()[:, None, None], args.get("attn_mask")
        if mask is not None and mask.dtype is torch.bool:
            mask = torch.zeros_like(mask, dtype=bias.dtype).masked_fill(~mask, -torch.inf)
        args["attn_mask"] = bias if mask is None else bias + mask


def steer_attention(
    pipe: DiffusionPipeline,
    tokens: Sequence[str] | Mapping[str, str | Sequence[str]],
    weight: float,
    renormalize: bool = False,
    layers: str | list[str] = "*",
    branch: str = "cond",
    steps="all",
    prompts: Sequence[str] | None = None,
    roles: Sequence[str] = (),
) -> Steering:
    """Multiply attention to `tokens` by `weight` (0: not looked at) in a with-block.

    tokens, layers, branch, steps and prompts are those of `capture_attention`. One word a prompt,
    `{"concept": words}`, needs prompts=[...] in the order in which they are drawn, over as many
    calls of the pipeline as it takes: rows need not be grouped by word. For words with different
    weights, nest blocks; factors of one word multiply. roles: of "bos", "eos", "pad", "other",
    weighted too in prompts that have one of the words.

    renormalize=False: P[query, word] becomes w P[query, word] and rows no longer sum to 1 (the
    re-weighting of Prompt-to-Prompt, Hertz et al. 2022), by scaling the word's values; w may be
    negative: then what the word adds to the image is subtracted.
    renormalize=True: the softmax is taken with logits plus log w, so that the other keys share
    what the word lost. In joint attention both act on every query, of image and of text.

    Raises UserError as `capture_attention` does, for a weight that is no finite number, and
    for one below 0 where the softmax is renormalised.

    >>> from whitebear.hooks import capture_attention
    >>> from whitebear.models.load import load_pipeline
    >>> pipe, prompts = load_pipeline("pocket"), ["a bear", "a white car"]
    >>> tokens = {"concept": ["bear", "car"]}
    >>> with (
    ...     steer_attention(pipe, tokens, 0.0, renormalize=True, prompts=prompts),
    ...     capture_attention(pipe, tokens, prompts=prompts) as cap,
    ... ):
    ...     images = pipe(prompts, num_inference_steps=2, output_type="np").images
    >>> images.shape
    (2, 64, 64, 3)
    >>> cap.dataset().mass.sel(token="concept").max(("step", "layer")).values.tolist()
    [0.0, 0.0]
    """
    return Steering(
        pipe, tokens, weight, renormalize, roles,
        layers=layers, steps=steps, branch=branch, prompts=prompts,
    )  # fmt: skip
