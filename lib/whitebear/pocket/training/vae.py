"""The autoencoder: 64x64 pixels to 8x8 latents with 16 channels (diffusers AutoencoderKL)."""

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.nn.functional import l1_loss, mse_loss

from whitebear.pocket.training.recipe import Recipe


def to_unit(images: torch.Tensor) -> torch.Tensor:
    """uint8 (N, 3, H, W) to float in [-1, 1]."""
    return images.float() / 127.5 - 1


def build_vae(recipe: Recipe) -> AutoencoderKL:
    """An untrained autoencoder; the spatial factor is 2 ** (number of widths - 1)."""
    widths = recipe.vae_channels
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=recipe.latent_channels,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=1.0,
    )


class VaeLoss(nn.Module):
    """L1 + MSE reconstruction of a random batch, and a small KL term (Kingma & Welling 2014)."""

    def __init__(self, vae: AutoencoderKL, images: torch.Tensor, batch: int, kl_weight: float):
        super().__init__()
        self.vae, self.images, self.batch, self.kl_weight = vae, images, batch, kl_weight

    def forward(self, generator: torch.Generator) -> torch.Tensor:
        device = generator.device
        index = torch.randint(len(self.images), (self.batch,), generator=generator, device=device)
        x = to_unit(self.images[index.to(self.images.device)].to(device))
        posterior = self.vae.encode(x).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator, device=device)
        decoded = self.vae.decode(posterior.mean + posterior.std * noise).sample.float()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return l1_loss(decoded, x) + 4 * mse_loss(decoded, x) + self.kl_weight * kl


class DecoderLoss(nn.Module):
    """Reconstruction alone, from latents (N, 2, C, h, w) of a frozen encoder.

    The latents stay what they are, so a denoiser may be trained on them at the same time.
    """

    def __init__(self, vae: AutoencoderKL, images: torch.Tensor, latents: torch.Tensor, batch: int):
        super().__init__()
        self.vae, self.images, self.latents, self.batch = vae, images, latents, batch

    def forward(self, generator: torch.Generator) -> torch.Tensor:
        device = generator.device
        index = torch.randint(len(self.images), (self.batch,), generator=generator, device=device)
        x = to_unit(self.images[index.to(self.images.device)].to(device))
        mean, std = self.latents[index].float().unbind(1)
        noise = torch.randn(mean.shape, generator=generator, device=device)
        decoded = self.vae.decode(mean + std * noise).sample.float()
        return l1_loss(decoded, x) + 4 * mse_loss(decoded, x)


@torch.no_grad()
def encode_all(vae: AutoencoderKL, images: torch.Tensor, device, batch: int = 50) -> torch.Tensor:
    """Latent mean and standard deviation of every image: float16 (N, 2, C, h, w) on `device`."""
    rows = []
    for i in range(0, len(images), batch):
        posterior = vae.encode(to_unit(images[i : i + batch].to(device))).latent_dist
        rows.append(torch.stack([posterior.mean, posterior.std], dim=1).half())
    return torch.cat(rows)


@torch.no_grad()
def standardise_latents(vae: AutoencoderKL, images: torch.Tensor, device) -> None:
    """Fold per-channel mean and deviation of the latents into the 1x1 quant convolutions.

    Afterwards latents have mean 0 and deviation 1 in every channel, so scaling_factor = 1.
    """
    mean = encode_all(vae, images, device)[:, 0].float()
    mu, sigma = mean.mean((0, 2, 3)), mean.std((0, 2, 3))
    quant, post = vae.quant_conv, vae.post_quant_conv
    c = len(mu)
    post.bias += (post.weight[:, :, 0, 0] @ mu).to(post.bias)
    post.weight *= sigma[None, :, None, None]
    quant.bias[:c] = (quant.bias[:c] - mu) / sigma
    quant.weight[:c] /= sigma[:, None, None, None]
    quant.bias[c:] -= 2 * sigma.log()


@torch.no_grad()
def rebuild(
    vae: AutoencoderKL, images: torch.Tensor, device, noise: float = 0, seed: int = 0
) -> torch.Tensor:
    """uint8 images (N, 3, H, W) through the latent mean and back, uint8 on the images' device.

    noise: deviation of a disturbance of the latents, in units of a standardised latent; each image
    gets a random share of it.
    """
    generator, blocks = torch.Generator(device).manual_seed(seed), []
    for block in images.split(50):
        z = vae.encode(to_unit(block.to(device))).latent_dist.mean
        strength = noise * torch.rand((len(z), 1, 1, 1), generator=generator, device=device)
        z = z + strength * torch.randn(z.shape, generator=generator, device=device)
        blocks.append(to_bytes(vae.decode(z).sample).to(images.device))
    return torch.cat(blocks)


def to_bytes(x: torch.Tensor) -> torch.Tensor:
    """[-1, 1] floats to uint8, rounded as diffusers' image processor does."""
    return ((x.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)


def from_images(images: np.ndarray) -> torch.Tensor:
    """uint8 pictures (N, H, W, 3) to the channel-first tensor that the models take."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def to_images(images: torch.Tensor) -> np.ndarray:
    """uint8 (N, 3, H, W) tensor to pictures (N, H, W, 3)."""
    return images.permute(0, 2, 3, 1).numpy()
