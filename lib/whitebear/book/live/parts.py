"""The pocket model cut into the parts that a page calls, each a module of plain tensors.

A page has no pipeline: it reads the prompt once, calls the denoiser a step, and decodes. Each part
here is a `torch.nn.Module` of one picture, with what the page is to see of it among its outputs.
"""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from transformers import CLIPTextModel, ResNetForImageClassification

GRID = 8  # cells a side of the attention maps; latents have as many


class Text(nn.Module):
    """Token ids (1, 77) -> text states (1, 77, width)."""

    def __init__(self, encoder: CLIPTextModel):
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor) -> Tensor:
        return self.encoder(ids).last_hidden_state


class Read:
    """An attention processor that writes the softmax out, weighs its keys and notes what it saw.

    The logarithm of a key's weight is added to its scores, as `interventions.weigh` does: 0 takes a
    key out, also where a head had looked at nothing else.
    """

    def __init__(self, seen: list[Tensor]):
        self.seen, self.weights = seen, None

    def __call__(self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor,
                 attention_mask: None = None) -> Tensor:  # fmt: skip
        heads = lambda x: x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # noqa: E731
        query, key = heads(attn.to_q(hidden_states)), heads(attn.to_k(encoder_hidden_states))
        value = heads(attn.to_v(encoder_hidden_states))
        scores = query @ key.transpose(2, 3) * attn.scale  # (B, heads, queries, keys)
        p = (scores + self.weights.log()[:, None, None]).softmax(-1)
        self.seen.append(p[-1].mean(0))
        return attn.to_out[0]((p @ value).transpose(1, 2).flatten(2))


class Denoiser(nn.Module):
    """One call of the denoiser, and what its cross-attention read.

    Latents (2, 16, 8, 8), timestep (1), states (2, 77, width) and weights of the keys (2, 77), the
    unguided half first -> prediction (2, 16, 8, 8); of the guided half: mass (layers, 77), the mean
    over heads and image queries, and map (77, 8, 8), the mean over heads and layers.
    """

    def __init__(self, unet: UNet2DConditionModel):
        super().__init__()
        self.unet, self.seen, self.readers = unet, [], []
        for name, module in unet.named_modules():
            if name.endswith("attn2"):
                self.readers.append(Read(self.seen))
                module.set_processor(self.readers[-1])

    def forward(
        self, latents: Tensor, timestep: Tensor, states: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        self.seen.clear()
        for reader in self.readers:
            reader.weights = weights
        predicted = self.unet(latents, timestep, encoder_hidden_states=states).sample
        mass = torch.stack([p.mean(0) for p in self.seen])
        maps = torch.stack([adaptive_avg_pool2d(_image(p), GRID) for p in self.seen])
        return predicted, mass, maps.mean(0)


def _image(p: Tensor) -> Tensor:
    """(queries, keys) -> (keys, y, x)."""
    side = round(p.shape[0] ** 0.5)
    return p.T.unflatten(1, (side, side))


class Decoder(nn.Module):
    """Latents (1, 16, 8, 8) -> picture (1, 3, 64, 64), from 0 to 1."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor) -> Tensor:
        picture = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return (picture / 2 + 0.5).clamp(0, 1)


class Detects(nn.Module):
    """Picture (1, 3, 64, 64), from 0 to 255 -> probability of each concept (1, concepts)."""

    def __init__(self, detector: ResNetForImageClassification):
        super().__init__()
        self.detector = detector

    def forward(self, picture: Tensor) -> Tensor:
        return torch.sigmoid(self.detector(pixel_values=picture / 127.5 - 1).logits)
