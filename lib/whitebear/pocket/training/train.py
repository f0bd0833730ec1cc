"""Train the pocket models: `python -m whitebear train` (see --help).

Stages run in order: scenes and captions, VAE, CLIP, detector, denoiser, export. Interrupt it
whenever you like; the same command goes on from the last checkpoint. With --base, one stage of
finished models is trained further and the others are taken over (the denoiser goes with clip).
"""

import argparse
import json
import math
import os
import platform
import shutil
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from transformers import CLIPImageProcessor, CLIPTokenizer, ResNetForImageClassification

from whitebear.errors import UserError, exit_on_user_error
from whitebear.files import MODELS, PROMPTS, WORLD, digest, write_text
from whitebear.models.load import EXPORTED, fingerprint, load_pipeline, read_json
from whitebear.models.sums import SUMS, write_sums
from whitebear.pocket.training import clip, denoiser, detector, vae
from whitebear.pocket.training.loop import Trainer, load_checkpoint, save_checkpoint, stable_seed
from whitebear.pocket.training.recipe import RECIPES, Recipe
from whitebear.pocket.world.dataset import SceneSet, draw_captions, draw_scenes
from whitebear.pocket.world.scene import load_world
from whitebear.scoring.detector import Detector


class PocketTraining:
    """One training run: its recipe, seed, device and folder.

    `encoder`, `vae`, `clip`, `detector` and `unet` are trained when first asked for (or loaded,
    where their checkpoint is complete), so a stage pulls in exactly what it builds on.

    base: a folder of finished models. Then `stage` is trained, from its weights there, the denoiser
    too if that stage is the CLIP whose states it reads, and all else is what the folder holds.
    """

    def __init__(self, recipe: Recipe, seed: int, folder: Path, device: torch.device,
                 base: Path | None = None, stage: str | None = None,
                 deadline: float = math.inf):  # fmt: skip
        self.recipe, self.seed, self.folder, self.device = recipe, seed, folder, device
        self.base, self.stage, self.deadline = base, stage, deadline
        self.world = load_world()
        self.seconds: dict[str, float] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.claim_folder()

    def decided_by(self) -> dict:
        """All that decides the weights, as JSON knows it."""
        texts = [
            (PROMPTS / name).read_text(encoding="utf-8") for name in ("train.csv", "words.txt")
        ]
        data = digest(fingerprint(WORLD), *texts)
        ours = {"seed": self.seed, "data": data, **asdict(self.recipe)}
        if self.base:
            ours |= {"base": base_digest(self.base), "stage": self.stage}
        return json.loads(json.dumps(ours))

    def claim_folder(self) -> None:
        """Refuse a folder that holds a run of another recipe, seed, world or captions."""
        ours, path = self.decided_by(), self.folder / "run.json"
        if not path.exists():
            write_text(path, json.dumps(ours, indent=2) + "\n")
        theirs = read_json(path, f"{self.folder} is no folder of a training run")
        if other := sorted(k for k in ours.keys() | theirs if ours.get(k) != theirs.get(k)):
            raise UserError(
                f"{self.folder} holds a run with other {', '.join(other)}; choose another --run"
            )

    def takes_over(self, stage: str) -> bool:
        """Whether a stage's model comes finished from `base`."""
        return self.base is not None and stage not in CONTINUES[self.stage]

    @cached_property
    def finished(self) -> StableDiffusionPipeline:
        """The pocket model in `base`."""
        return load_pipeline(str(self.base / "pocket"), self.device)

    def scenes(self, split: str, n: int) -> SceneSet:
        """The scenes of a split, drawn on first use; on a GPU they live there."""
        captions = self.recipe.captions_per_scene if split == "train" else 1
        r, denied, folder = self.recipe.r, self.recipe.denied, self.folder / split
        scenes = draw_scenes(n, split, self.seed, captions, r, folder, denied)
        if self.device.type == "cpu":
            return scenes
        return replace(
            scenes, images=scenes.images.to(self.device), labels=scenes.labels.to(self.device)
        )

    @cached_property
    def train_set(self) -> SceneSet:
        return self.scenes("train", self.recipe.scenes)

    @cached_property
    def tokenizer(self) -> CLIPTokenizer:
        if self.base:
            return self.finished.tokenizer
        folder = self.folder / "tokenizer"
        if not (folder / "tokenizer.json").exists():
            sample = [texts[0] for texts in self.train_set.captions[:20_000]]
            part = folder.with_name("tokenizer.part")
            clip.train_tokenizer(sample, self.recipe.vocabulary).save_pretrained(part)
            os.replace(part, folder)
        return CLIPTokenizer.from_pretrained(folder)

    @cached_property
    def ids(self) -> torch.Tensor:
        """Token ids of the training captions, int16 (N, K, 77)."""
        return clip.encode_captions(self.tokenizer, self.train_set.captions).to(self.device)

    @cached_property
    def denoiser_ids(self) -> torch.Tensor:
        """Token ids of the denoiser's captions: the first few of CLIP's, or its own."""
        recipe = self.recipe
        if recipe.denoiser_r in (None, recipe.r):
            return self.ids[:, : recipe.denoiser_captions]
        about = (self.seed, recipe.denoiser_captions, recipe.denoiser_r, recipe.denied)
        captions = draw_captions(recipe.scenes, "train", *about)
        return clip.encode_captions(self.tokenizer, captions).to(self.device)

    def fit(self, name: str, build, loss_of) -> nn.Module:
        """Build a model, train it on its loss, return the averaged model in eval mode."""
        recipe = getattr(self.recipe, name)
        torch.manual_seed(stable_seed(self.seed, name, "init"))
        model = build().to(self.device)
        make_loss = lambda: loss_of(model, recipe.batch)  # noqa: E731
        about = recipe, self.folder, self.seed, self.device, self.deadline
        trainer = Trainer(name, model, make_loss, *about)
        model = trainer.run().requires_grad_(False)
        self.seconds[name] = round(trainer.seconds, 1)
        return model

    @cached_property
    def encoder(self) -> AutoencoderKL:
        """The whole autoencoder after its first phase, with standardised latents."""
        if self.base:
            return self.finished.vae
        images, weight = self.train_set.images, self.recipe.kl_weight
        build = lambda: vae.build_vae(self.recipe)  # noqa: E731
        model = self.fit("vae", build, lambda m, b: vae.VaeLoss(m, images, b, weight))
        vae.standardise_latents(model, images[:5000], self.device)
        return model

    @cached_property
    def latents(self) -> torch.Tensor:
        """Latent mean and deviation of every training scene, float16 (N, 2, C, h, w)."""
        path = self.folder / "latents.safetensors"
        if not path.exists():
            latents = vae.encode_all(self.encoder, self.train_set.images, self.device)
            save_checkpoint(path, {"latents": latents}, {})
        return load_checkpoint(path)[0]["latents"].to(self.device)

    @cached_property
    def vae(self) -> AutoencoderKL:
        """The autoencoder after its second phase, in which only the decoder learns."""
        if self.takes_over("vae"):
            return self.finished.vae
        images, latents, model = self.train_set.images, self.latents, self.encoder
        model.decoder.requires_grad_(True)
        model.post_quant_conv.requires_grad_(True)
        return self.fit(
            "decoder", lambda: model, lambda m, b: vae.DecoderLoss(m, images, latents, b)
        )

    @cached_property
    def clip(self) -> clip.Clip:
        scenes = self.train_set

        def build():
            towers = clip.Clip(self.recipe, self.tokenizer, len(self.world.names))
            if self.base:
                towers.adopt(self.finished.text_encoder, self.finished.image_encoder)
            return towers

        loss = lambda m, b: clip.ClipLoss(m, scenes.images, scenes.labels, self.ids, b)  # noqa: E731
        return self.fit("clip", build, loss)

    @cached_property
    def towers(self) -> tuple[nn.Module, nn.Module]:
        """Text encoder and image encoder."""
        if self.takes_over("clip"):
            return self.finished.text_encoder, self.finished.image_encoder
        self.clip.vision.config.logit_scale = round(self.clip.log_scale.exp().item(), 4)
        return self.clip.text, self.clip.vision

    def detector_loss(self, model: nn.Module, batch: int) -> nn.Module:
        scenes, n = self.train_set, self.recipe.reconstructions
        noise = detector.LATENT_NOISE
        rebuilt = vae.rebuild(self.vae, scenes.images[:n], self.device, noise, self.seed)
        return detector.DetectorLoss(model, scenes.images, rebuilt, scenes.labels, batch)

    @cached_property
    def detector(self) -> ResNetForImageClassification:
        build = lambda: detector.build_detector(self.recipe, self.world.names)  # noqa: E731
        if self.base:
            build = lambda: Detector.load(self.base / "detector").model  # noqa: E731
        if self.takes_over("detector"):
            return build()
        model = self.fit("detector", build, self.detector_loss)
        held_out = self.scenes("calibration", max(100, self.recipe.scenes // 8))
        images = torch.cat([held_out.images, vae.rebuild(self.vae, held_out.images, self.device)])
        detector.calibrate(model, images, held_out.labels.repeat(2, 1), self.device)
        return model

    @cached_property
    def states(self) -> dict[str, torch.Tensor]:
        """Text states of the denoiser's captions (N, K, 77, D) and of the empty prompt (77, D)."""
        path = self.folder / "states.safetensors"
        if not path.exists():
            text = self.towers[0]
            empty = clip.encode_captions(self.tokenizer, [[""]])[0, 0]
            ids = {"captions": self.denoiser_ids, "empty": empty}
            states = {name: denoiser.encode_text(text, x, self.device) for name, x in ids.items()}
            save_checkpoint(path, states, {})
        return {name: x.to(self.device) for name, x in load_checkpoint(path)[0].items()}

    def denoiser_loss(self, model: nn.Module, batch: int) -> nn.Module:
        states, dropout = self.states, self.recipe.caption_dropout
        return denoiser.DenoiserLoss(
            model, self.latents, states["captions"], states["empty"], batch, dropout
        )

    @cached_property
    def unet(self) -> UNet2DConditionModel:
        if self.takes_over("unet"):
            return self.finished.unet

        return self.fit("denoiser", self.build_unet, self.denoiser_loss)

    def build_unet(self) -> UNet2DConditionModel:
        """The denoiser to train: that of `base`, or an untrained one."""
        unet = self.finished.unet if self.base else denoiser.build_denoiser(self.recipe)
        if self.device.type == "cpu":
            unet.set_attn_processor(AttnProcessor())  # faster than SDPA in the backward pass
        return unet

    def export(self, out: Path) -> None:
        """Write pocket/ and detector/ as fp16 safetensors, ready for `from_pretrained`.

        All of it beside the target first: models that are there stay whole until it is complete.
        """
        part = out / f"{EXPORTED}.part"
        shutil.rmtree(part, ignore_errors=True)
        self.write_models(part)
        if (out / SUMS).is_file():
            shutil.copy(out / SUMS, part)
        write_sums(part, [part / "pocket", part / "detector"])
        put_in_place(part, out)

    def write_models(self, out: Path) -> None:
        """Write pocket/ and detector/ into a folder that has neither."""
        processor = CLIPImageProcessor(
            size={"height": 64, "width": 64}, crop_size=64, do_center_crop=False,
            image_mean=[0.5] * 3, image_std=[0.5] * 3,
        )  # fmt: skip
        text_encoder, image_encoder = self.towers
        kept = self.takes_over("unet")  # a denoiser samples by the schedule that it was trained on
        scheduler = self.finished.scheduler if kept else denoiser.build_scheduler()
        for module in (self.vae, text_encoder, image_encoder, self.unet, self.detector):
            module.cpu().half()
        pipe = StableDiffusionPipeline(
            vae=self.vae, text_encoder=text_encoder, tokenizer=self.tokenizer, unet=self.unet,
            scheduler=scheduler, safety_checker=None, feature_extractor=processor,
            image_encoder=image_encoder, requires_safety_checker=False,
        )  # fmt: skip
        pipe.save_pretrained(out / "pocket", safe_serialization=True)
        self.detector.save_pretrained(out / "detector")
        for path in [*out.glob("pocket/*/config.json"), out / "detector" / "config.json"]:
            tidy_config(path)
        path = out / "pocket" / "training.json"
        path.write_text(json.dumps(self.record(), indent=2) + "\n", encoding="utf-8")

    def rate_of(self, stage: str) -> float:
        """The share of negated captions in what a stage learned from."""
        own = self.recipe.denoiser_r if stage == "denoiser" else None
        return self.recipe.r if own is None else own

    def record(self) -> dict:
        """What was trained, how, for how long and on what; a continued model keeps its history."""
        machine = {"hardware": hardware(self.device), "torch": torch.__version__}
        if not self.base:
            return {"recipe": asdict(self.recipe), "seed": self.seed, "seconds": self.seconds,
                    **machine, "continued": [], "note": ""}  # fmt: skip
        record = json.loads((self.base / "pocket" / "training.json").read_text(encoding="utf-8"))
        record["continued"] += [
            {"stage": name, **asdict(getattr(self.recipe, name)), "r": self.rate_of(name),
             "denied": self.recipe.denied, "seed": self.seed, "seconds": seconds, **machine}
            for name, seconds in self.seconds.items()
        ]  # fmt: skip
        return record


def base_digest(base: Path) -> str:
    """Of the models that training goes on from, whatever lies beside them in the folder."""
    return digest(*(fingerprint(base / name) for name in ("pocket", "detector")))


def put_in_place(part: Path, out: Path) -> None:
    """Move the models of a complete export to where they belong, as one: a kill on the way leaves a
    folder that `check_pipeline_folder` refuses, and the next export, or this one again, ends it."""
    ready = out / EXPORTED
    if part.is_dir():
        shutil.rmtree(ready, ignore_errors=True)
        os.replace(part, ready)
    for new in sorted(ready.iterdir()):
        old = out / new.name
        shutil.rmtree(old, ignore_errors=True)
        os.replace(new, old)
    ready.rmdir()


def tidy_config(config: Path) -> None:
    """Weights are stored in fp16 but meant to be computed with in fp32 where nobody says otherwise.

    transformers takes the dtype of this file, and diffusers computes in fp32 by default. Where
    diffusers noted the folder that a part came from, that is no business of its next user.
    """
    values = json.loads(config.read_text())
    values.pop("_name_or_path", None)
    if "dtype" in values:
        values["dtype"] = "float32"
    config.write_text(json.dumps(values, indent=2) + "\n")


def cache_folder() -> Path:
    """Where unfinished training is kept, so that it outlives a checkout."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whitebear" / "train"


def training_device() -> torch.device:
    """CUDA, with TF32 for what is not autocast, or the CPU."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def hardware(device: torch.device) -> str:
    """The name of the machine's processor, for the model card."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads ({platform.machine()})"


STAGES = ("encoder", "clip", "vae", "detector", "unet")
CONTINUES = {  # what a --base run of a stage trains further: never less than what builds on it
    "vae": ("vae",),
    "detector": ("detector",),
    "unet": ("unet",),
    "clip": ("clip", "unet"),
}


def train(
    size: str,
    seed: int,
    r: float | None,
    run: Path,
    out: Path,
    stage: str | None = None,
    base: Path | None = None,
) -> str:
    """Run every stage and export the models into `out`, or run one stage with what it needs.

    With the finished models of a folder `base`, train one stage of them further and export.

    Independent stages (encoder and clip, then vae and unet) may run side by side in one `run`
    folder once its scenes are drawn. Returns a line that says what was done.
    """
    if size not in RECIPES:
        raise UserError(f"unknown size {size!r}; use one of {', '.join(RECIPES)}")
    if r is not None and not 0 <= r <= 1:
        raise UserError(f"r is {r}; it is a share of captions, so between 0 and 1")
    if stage not in (None, *STAGES):
        raise UserError(f"unknown stage {stage!r}; use one of {', '.join(STAGES)}, or none for all")
    if base and stage not in CONTINUES:
        raise UserError(
            f"with --base, --stage is one of {', '.join(CONTINUES)}; a change of any other stage"
            " would spoil those that build on it"
        )
    if base and not (base / "pocket").is_dir():
        raise UserError(f"{base} is no folder of models; give one that holds pocket and detector")
    recipe = RECIPES[size] if r is None else replace(RECIPES[size], r=r)
    training = PocketTraining(recipe, seed, run, training_device(), base, stage)
    for name in CONTINUES[stage] if base else (stage,) if stage else STAGES:
        getattr(training, name)
    if stage and not base:
        return f"{stage} is trained; its checkpoint is in {run}"
    training.export(out)
    return f"models written to {out}"


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="full", help="full, or toy for a test of the road")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--r", type=float, help="share of captions that negate (default 0.0058)")
    parser.add_argument("--run", type=Path, help="checkpoints and logs (default: in your cache)")
    parser.add_argument("--out", type=Path, default=MODELS, help="where pocket/ and detector/ go")
    parser.add_argument("--stage", help="only this one: " + ", ".join(STAGES))
    parser.add_argument("--base", type=Path, help="finished models to go on from, with --stage")
    args = parser.parse_args(arguments)
    name = f"{args.size}-seed{args.seed}" + ("" if args.r is None else f"-r{args.r:g}")
    name += f"-{args.stage}-from-{args.base.resolve().name}" if args.base else ""
    run = args.run or cache_folder() / name
    print(train(args.size, args.seed, args.r, run, args.out, args.stage, args.base))
