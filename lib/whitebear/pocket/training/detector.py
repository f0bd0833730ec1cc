"""The presence detector: is each concept of the world in the picture? (transformers ResNet)

Trained on renders and on reconstructions of slightly disturbed latents, so that it judges what a
latent diffusion model draws; calibrated per concept on held-out scenes (Platt 1999), with the
calibration folded into the classifier, so that sigmoid(logits) is a probability.
"""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import ResNetConfig, ResNetForImageClassification

from whitebear.pocket.training.recipe import Recipe
from whitebear.pocket.training.vae import to_unit

LATENT_NOISE = 0.3  # deviation of the disturbance, in units of a standardised latent


def build_detector(recipe: Recipe, names: tuple[str, ...]) -> ResNetForImageClassification:
    """An untrained multi-label classifier over `names`."""
    config = ResNetConfig(
        embedding_size=recipe.detector_channels[0],
        hidden_sizes=list(recipe.detector_channels),
        depths=[1, 2, 2, 1],
        layer_type="basic",
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
        problem_type="multi_label_classification",
    )
    return ResNetForImageClassification(config)


class DetectorLoss(nn.Module):
    """Binary cross-entropy over all concepts; half the batch are reconstructions.

    rebuilt: reconstructions of the first len(rebuilt) images.
    """

    def __init__(
        self,
        detector,
        images: torch.Tensor,
        rebuilt: torch.Tensor,
        labels: torch.Tensor,
        batch: int,
    ):
        super().__init__()
        self.detector, self.images, self.rebuilt = detector, images, rebuilt
        self.labels, self.half = labels, batch // 2

    def forward(self, generator: torch.Generator) -> torch.Tensor:
        device, pixels, truth = generator.device, [], []
        for images in (self.images, self.rebuilt):
            index = torch.randint(len(images), (self.half,), generator=generator, device=device)
            index = index.to(images.device)
            pixels.append(images[index].to(device))
            truth.append(self.labels[index].to(device))
        x = to_unit(torch.cat(pixels))
        gain = 1 + 0.05 * torch.randn((len(x), 3, 1, 1), generator=generator, device=device)
        x = x * gain + 0.03 * torch.randn(x.shape, generator=generator, device=device)
        logits = self.detector(x).logits.float()
        return binary_cross_entropy_with_logits(logits, torch.cat(truth).float())


@torch.no_grad()
def logits_of(detector, images: torch.Tensor, device, batch: int = 50) -> torch.Tensor:
    """Logits (N, n_concepts) on the CPU for uint8 images (N, 3, 64, 64)."""
    rows = [
        detector(to_unit(images[i : i + batch].to(device))).logits
        for i in range(0, len(images), batch)
    ]
    return torch.cat(rows).float().cpu()


def platt(logits: np.ndarray, truth: np.ndarray, rounds: int = 50) -> tuple[float, float]:
    """Slope a and offset b maximising the likelihood of sigmoid(a z + b), by Newton's method.

    Targets are Platt's smoothed ones, so that separable data keep a finite slope.
    """
    n1, n0 = truth.sum(), (~truth).sum()
    target = np.where(truth, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    w = np.array([1.0, 0.0])
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-np.clip(design @ w, -30, 30)))
        gradient = design.T @ (p - target)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        w = w - step / max(1.0, np.abs(step).max())
    return float(w[0]), float(w[1])


def calibrate(detector, images: torch.Tensor, labels: torch.Tensor, device) -> None:
    """Fold Platt scaling into the classifier and store a threshold per concept in the config.

    images, labels: held-out renders and reconstructions, uint8 (N, 3, 64, 64), bool (N, C).
    """
    logits, truth = logits_of(detector, images, device).double().numpy(), labels.cpu().numpy()
    thresholds, layer = {}, detector.classifier[-1]
    for i, name in detector.config.id2label.items():
        a, b = platt(logits[:, i], truth[:, i])
        with torch.no_grad():
            layer.weight[i] *= a
            layer.bias[i] = layer.bias[i] * a + b
        thresholds[name] = best_threshold(1 / (1 + np.exp(-(a * logits[:, i] + b))), truth[:, i])
    detector.config.presence_thresholds = thresholds


def best_threshold(p: np.ndarray, truth: np.ndarray) -> float:
    """The threshold with the best balanced accuracy; the middle of the best, if tied."""
    grid = np.linspace(0.05, 0.95, 91)
    said = p[:, None] >= grid
    score = (said[truth].mean(0) + (~said[~truth]).mean(0)) / 2
    return round(float(grid[np.flatnonzero(score >= score.max() - 1e-12)].mean()), 3)
