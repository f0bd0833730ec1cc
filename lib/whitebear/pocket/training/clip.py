"""The text encoder and its vision tower: a small CLIP (Radford et al. 2021) with its own BPE.

The text projection is the identity, so the CLIP score of the shipped models is
cos(text_encoder(ids).pooler_output, image_encoder(pixels).image_embeds).
"""

import json
import math
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from whitebear.files import PROMPTS
from whitebear.pocket.training.recipe import Recipe
from whitebear.pocket.training.vae import to_unit

POSITIONS = 77
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def ordinary_words() -> list[str]:
    """The word list that keeps prompts outside the captions tokenisable."""
    lines = (PROMPTS / "words.txt").read_text(encoding="utf-8").splitlines()
    return " ".join(line for line in lines if not line.startswith("#")).split()


def train_tokenizer(captions: Iterable[str], vocabulary: int) -> CLIPTokenizer:
    """Byte-pair encoding on captions and ordinary words, in CLIP's own format: `vocabulary` tokens,
    and two for start and end. The same texts give the same tokenizer."""
    template = CLIPTokenizer(vocab={BOS: 0, EOS: 1}, merges=[]).backend_tokenizer
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=EOS))
    tokenizer.normalizer, tokenizer.pre_tokenizer = template.normalizer, template.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Equally frequent pairs are merged in the order of their ids. Letters that end a word would get
    # theirs in the order of a hash table, another one each time, unless they are named beforehand.
    last_letters = [f"{letter}</w>" for letter in alphabet]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=last_letters,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator([*captions, *ordinary_words() * 3], trainer)
    state = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(state["vocab"], key=state["vocab"].get)
    vocab = {token: i for i, token in enumerate([*tokens, BOS, EOS])}
    merges = [tuple(m) if not isinstance(m, str) else tuple(m.split()) for m in state["merges"]]
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=POSITIONS)


def encode_captions(tokenizer: CLIPTokenizer, captions: list[list[str]]) -> torch.Tensor:
    """int16 (N, K, 77) token ids, padded with EOS as Stable Diffusion 1.x does."""
    flat = [text for texts in captions for text in texts]
    rows = []
    for i in range(0, len(flat), 20_000):
        batch = tokenizer(
            flat[i : i + 20_000], padding="max_length", max_length=POSITIONS, truncation=True
        )
        rows.append(torch.tensor(batch.input_ids, dtype=torch.int16))
    # The tokenizer remembers how it was called, and would be saved with it.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    return torch.cat(rows).reshape(len(captions), -1, POSITIONS)


class Clip(nn.Module):
    """Text encoder, vision tower and temperature, as trained together."""

    def __init__(self, recipe: Recipe, tokenizer: CLIPTokenizer, n_labels: int):
        super().__init__()
        width = recipe.text_width
        shared = dict(hidden_size=width, intermediate_size=4 * width, num_attention_heads=4,
                      projection_dim=width, hidden_act="quick_gelu")  # fmt: skip
        special = dict(bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
                       pad_token_id=tokenizer.pad_token_id)  # fmt: skip
        self.text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                max_position_embeddings=POSITIONS,
                num_hidden_layers=recipe.text_layers,
                **shared,
                **special,
            )  # fmt: skip
        )
        self.vision = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                image_size=64, patch_size=8, num_hidden_layers=recipe.vision_layers, **shared
            )
        )
        self.image_labels = nn.Linear(width, n_labels)  # for training only, not shipped
        self.text_labels = nn.Linear(width, n_labels)  # likewise
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def adopt(self, text: CLIPTextModel, vision: CLIPVisionModelWithProjection) -> None:
        """Go on from two finished towers and their temperature."""
        self.text, self.vision = text.float(), vision.float()
        self.log_scale.data.fill_(math.log(vision.config.logit_scale))


class ClipLoss(nn.Module):
    """Symmetric InfoNCE over a batch of scenes, each with one of its captions, and labels.

    Either tower also has to tell the scene's labels through a linear head of its own. For the
    vision tower that shortens the blind start of contrastive learning. For the text encoder it
    keeps the concepts apart: InfoNCE alone told 24 objects by six directions, look-alikes side by
    side, and the denoiser then drew a giraffe for a key.
    """

    def __init__(self, clip: Clip, images, labels, ids: torch.Tensor, batch: int):
        super().__init__()
        self.clip, self.images, self.labels, self.batch = clip, images, labels, batch
        # Causal attention: what stands after the end of a caption cannot change its pooled state.
        end = int((ids != ids[0, 0, -1]).flatten(0, 1).any(0).nonzero().max())
        self.ids = ids[..., : end + 2]

    def forward(self, generator: torch.Generator) -> torch.Tensor:
        device = generator.device
        index, which = draw_batch(self.images, self.ids, self.batch, generator)
        text = self.clip.text(self.ids[index, which].to(device).long()).pooler_output.float()
        index = index.to(self.images.device)
        image = self.clip.vision(to_unit(self.images[index].to(device))).image_embeds.float()
        loss = info_nce(text, normalize(image, dim=-1), self.clip.log_scale)
        truth = self.labels[index].to(device).float()
        for said in (self.clip.image_labels(image), self.clip.text_labels(text)):
            loss = loss + labels_missed(said, truth)
        return loss


def info_nce(text: torch.Tensor, image: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE of pooled text states (B, width) with embeddings of unit length of the
    images that they belong to (B, width); log_scale: of the temperature's inverse, 100 at most."""
    logits = log_scale.exp().clamp(max=100) * (normalize(text, dim=-1) @ image.T)
    target = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def labels_missed(said: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of a head's logits (B, C) to labels (B, C): sum over labels, mean over
    the batch."""
    wrong = binary_cross_entropy_with_logits(said.float(), truth, reduction="none")
    return wrong.sum(1).mean()


def draw_batch(
    images, ids, batch: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of `batch` scenes and of one caption each, on the device of the data."""
    draw = lambda n: torch.randint(n, (batch,), generator=generator, device=generator.device)  # noqa: E731
    index, which = draw(len(images)), draw(ids.shape[1])
    return index.to(ids.device), which.to(ids.device)
