"""The denoiser: a UNet2DConditionModel with cross-attention at 8x8 and 4x4, trained as in
latent diffusion (Rombach et al. 2022) with velocity targets (Salimans & Ho 2022) and a schedule of
zero terminal signal (Lin et al. 2023)."""

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import nn
from torch.nn.functional import mse_loss
from transformers import CLIPTextModel

from whitebear.pocket.training.clip import draw_batch
from whitebear.pocket.training.loop import mixed_precision
from whitebear.pocket.training.recipe import Recipe


def build_denoiser(recipe: Recipe) -> UNet2DConditionModel:
    """An untrained denoiser for (16, 8, 8) latents and text states of the recipe's width."""
    widths = recipe.denoiser_channels
    return UNet2DConditionModel(
        sample_size=64 // 2 ** (len(recipe.vae_channels) - 1),
        in_channels=recipe.latent_channels,
        out_channels=recipe.latent_channels,
        block_out_channels=widths,
        down_block_types=("CrossAttnDownBlock2D",) * len(widths),
        up_block_types=("CrossAttnUpBlock2D",) * len(widths),
        layers_per_block=1,
        cross_attention_dim=recipe.text_width,
        attention_head_dim=4,  # diffusers reads this as the number of heads
        norm_num_groups=16,
    )


def build_scheduler() -> DDIMScheduler:
    """The sampler that ships with the model."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",  # the cosine schedule of Nichol & Dhariwal 2021
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


@torch.no_grad()
def encode_text(text: CLIPTextModel, ids: torch.Tensor, device, batch: int = 256) -> torch.Tensor:
    """Last hidden states of token ids (..., 77), float16 (..., 77, width) on `device`."""
    rows = []
    for block in ids.reshape(-1, ids.shape[-1]).split(batch):
        with mixed_precision(device):
            rows.append(text(block.to(device).long()).last_hidden_state.half())
    return torch.cat(rows).reshape(*ids.shape, -1)


def draw_timesteps(n: int, generator: torch.Generator) -> torch.Tensor:
    """n timesteps in 0..999, each as likely as it is large.

    What is drawn is decided early in sampling: a wrong noun costs most around timestep 850 and an
    eighth of that at 300, below which the loss is mostly noise that nobody can predict. The noisy
    timesteps get the larger share, as in Choi et al. 2022 and Esser et al. 2024.
    """
    u = torch.rand(n, generator=generator, device=generator.device)
    return (1000 * u.sqrt()).long().clamp(max=999)


class DenoiserLoss(nn.Module):
    """Mean squared error of the velocity v = sqrt(a) noise - sqrt(1 - a) z at a drawn timestep.

    latents: (N, 2, C, h, w) mean and deviation; states: (N, K, 77, width) of K captions a scene;
    empty: (77, width), the states of the empty prompt, which stand in for a share `dropout`.
    """

    def __init__(self, unet, latents, states, empty, batch: int, dropout: float):
        super().__init__()
        self.unet, self.latents, self.states, self.empty = unet, latents, states, empty
        self.batch, self.dropout, self.scheduler = batch, dropout, build_scheduler()

    def forward(self, generator: torch.Generator) -> torch.Tensor:
        device = generator.device
        index, which = draw_batch(self.latents, self.states, self.batch, generator)
        dropped = torch.rand(self.batch, generator=generator, device=device) < self.dropout
        states = self.read(index, which, dropped)
        mean, std = self.latents[index].float().unbind(1)
        z = mean + std * torch.randn(mean.shape, generator=generator, device=device)
        noise = torch.randn(z.shape, generator=generator, device=device)
        t = draw_timesteps(self.batch, generator)
        noisy = self.scheduler.add_noise(z, noise, t)
        predicted = self.unet(noisy, t, states).sample
        return mse_loss(predicted.float(), self.scheduler.get_velocity(z, noise, t))

    def read(self, index: torch.Tensor, which: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
        """What the denoiser reads of caption `which` of scene `index`, or of the empty prompt."""
        return torch.where(dropped[:, None, None], self.empty, self.states[index, which]).float()


class TextLoss(DenoiserLoss):
    """The same loss where `states` and `empty` are token ids, encoded when they are read: the text
    encoder learns from it, unless it is frozen."""

    def __init__(self, text: CLIPTextModel, *arguments):
        super().__init__(*arguments)
        self.text = text

    def read(self, index: torch.Tensor, which: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
        ids = torch.where(dropped[:, None], self.empty, self.states[index, which])
        return self.text(ids.long()).last_hidden_state.float()
