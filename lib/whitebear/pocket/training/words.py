"""Learning to read, from nothing, before a denoiser that can already draw.

A pocket model is a drawing half (autoencoder, and the denoiser without its cross-attention) and a
reading half (text encoder, cross-attention). Here the reading half is made new and learned; the
image tower that the text encoder is matched with stays as it is (locked-image tuning, Zhai et al.
2022, https://arxiv.org/abs/2111.07991), so that two models differ in what they read, and in nothing
else.
"""

import math

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import nn
from torch.nn.functional import normalize
from transformers import CLIPTextModel, CLIPVisionModelWithProjection

from whitebear.pocket.training.clip import draw_batch, info_nce, labels_missed
from whitebear.pocket.training.loop import mixed_precision
from whitebear.pocket.training.vae import to_unit


class TextTower(nn.Module):
    """A text encoder with what its training needs: a head for labels, and a temperature."""

    def __init__(self, text: CLIPTextModel, n_labels: int):
        super().__init__()
        self.text = text
        self.labels = nn.Linear(text.config.hidden_size, n_labels)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))


class LockedImageLoss(nn.Module):
    """Symmetric InfoNCE of captions with the embeddings of an image tower that does not learn, and
    the scene's labels told from the text (`label_weight` times; 0: contrastive only).

    embeddings: (N, width) of unit length; labels: (N, C); ids: (N, K, 77) of K captions a scene.
    """

    def __init__(self, tower: TextTower, embeddings, labels, ids, batch: int, label_weight: float):
        super().__init__()
        self.tower, self.embeddings, self.labels, self.ids = tower, embeddings, labels, ids
        self.batch, self.label_weight = batch, label_weight

    def forward(self, generator: torch.Generator) -> torch.Tensor:
        index, which = draw_batch(self.embeddings, self.ids, self.batch, generator)
        text = pooled_states(self.tower.text, self.ids[index, which])
        loss = info_nce(text, self.embeddings[index], self.tower.log_scale)
        if self.label_weight:
            missed = labels_missed(self.tower.labels(text), self.labels[index].float())
            loss = loss + self.label_weight * missed
        return loss


def pooled_states(text: CLIPTextModel, ids: torch.Tensor, parts: int = 4) -> torch.Tensor:
    """Pooled states (B, width) of token ids (B, 77), padded with the end token.

    Attention is causal, so padding behind the end cannot change them: captions are sorted by length
    and each quarter is cut where its longest ends, which halves the work.
    """
    ends = (ids != ids[0, -1]).sum(1)  # one end token is needed; the rest is padding
    order = ends.argsort(stable=True)
    rows = [
        text(ids[part, : int(ends[part].max()) + 1].long()).pooler_output
        for part in order.chunk(parts)
    ]
    return torch.cat(rows).float()[order.argsort()]


@torch.no_grad()
def embed_images(vision: CLIPVisionModelWithProjection, images, device, batch: int = 250):
    """Embeddings of uint8 images (N, 3, 64, 64), of unit length, float32 (N, width) on `device`."""
    rows = []
    for block in images.split(batch):
        with mixed_precision(device):
            rows.append(vision(to_unit(block.to(device))).image_embeds.float())
    return normalize(torch.cat(rows), dim=-1)


def forget_reading(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The same denoiser with new cross-attention: it can draw, and knows no text encoder.

    Initial weights follow torch's seed. Works in place.
    """
    for name, module in unet.named_modules():
        inside = name.split(".")
        reads = "attentions" in inside and ("attn2" in inside or inside[-1] == "norm2")
        if reads and hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return unet


def fast_in_training(unet: UNet2DConditionModel, device: torch.device) -> UNet2DConditionModel:
    """Laid out and attending as computes fastest (on two cores by a quarter, measured)."""
    unet.set_attn_processor(AttnProcessor2_0())
    return unet.to(memory_format=torch.channels_last) if device.type == "cpu" else unet
