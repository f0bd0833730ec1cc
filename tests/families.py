"""Small random pipelines of every family that the hooks know, and attention written out."""

import contextlib
import gzip
import importlib.util
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    ChromaPipeline,
    ChromaTransformer2DModel,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from conftest import WIDTH, text_config, tiny_pipeline, tiny_tokenizer


def real_clip_tokenizer():
    """CLIP's tokenizer with its 49,408 entries, from the package that ships them, of which nothing
    is imported. Skips the test where it is not installed."""
    package = importlib.util.find_spec("clip")
    path = package and Path(package.submodule_search_locations[0], "bpe_simple_vocab_16e6.txt.gz")
    if not path or not path.exists():
        pytest.skip("the vocabulary of CLIP is not installed (openai-clip)")
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]  # of 256 bytes; others behind
    letters = [chr(b) for b in printed] + [chr(256 + i) for i in range(256 - len(printed))]
    words = [*letters, *(f"{c}</w>" for c in letters), *map("".join, merges)]
    vocab = {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77)


def tiny_vae():
    blocks = (4, 4, 4, 8)
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * len(blocks), sample_size=64,
        up_block_types=["UpDecoderBlock2D"] * len(blocks), block_out_channels=blocks,
        layers_per_block=1, latent_channels=4, norm_num_groups=2, shift_factor=0.0,
    )  # fmt: skip


def t5_tokenizer():
    letters = [(chr(i), -3.0) for i in range(33, 127)]
    words = [(f"▁{w}", -1.0) for w in ("a", "bear", "picture", "of", "white", "car", "no", "and")]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=special + words + letters, extra_ids=0)


def t5_encoder(tokenizer):
    return T5EncoderModel(
        T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=32, num_layers=2, num_heads=4)
    )


def tiny_sdxl():
    """Two text encoders over the same positions, the second padded with "!", pooled states, sizes
    as conditions; its deeper layers have more heads."""
    parts, tokenizer, second = tiny_pipeline(), tiny_tokenizer(), tiny_tokenizer()
    second.pad_token = "!"
    torch.manual_seed(3)
    known = {key: value for key, value in parts.unet.config.items() if key[0] != "_"}
    config = known | {
        "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": WIDTH + 6 * 8, "cross_attention_dim": 2 * WIDTH,
        "attention_head_dim": (2, 4),  # diffusers' name for the number of heads
    }  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=parts.vae, text_encoder=parts.text_encoder, tokenizer=tokenizer, tokenizer_2=second,
        text_encoder_2=CLIPTextModelWithProjection(text_config(second)),
        unet=UNet2DConditionModel(**config), scheduler=parts.scheduler, add_watermarker=False,
    )  # fmt: skip


def tiny_sd3(t5=True):
    """Joint attention, image first; the first block has SD3.5's second, image-only attention."""
    torch.manual_seed(4)
    clip, words = tiny_tokenizer(), t5_tokenizer()
    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=1, in_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=32,
        pooled_projection_dim=2 * WIDTH, out_channels=4, pos_embed_max_size=16,
        dual_attention_layers=(0,), qk_norm="rms_norm",
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(), vae=tiny_vae(),
        text_encoder=CLIPTextModelWithProjection(text_config(clip)), tokenizer=clip,
        text_encoder_2=CLIPTextModelWithProjection(text_config(clip)), tokenizer_2=clip,
        text_encoder_3=t5_encoder(words) if t5 else None, tokenizer_3=words if t5 else None,
    )  # fmt: skip


def flux_pipeline(**sizes):
    """A random FLUX.1 with a transformer of these sizes, everything else small."""
    torch.manual_seed(5)
    clip, words = tiny_tokenizer(), t5_tokenizer()
    transformer = FluxTransformer2DModel(
        in_channels=16, joint_attention_dim=32, pooled_projection_dim=WIDTH, **sizes
    )
    return FluxPipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(), vae=tiny_vae(),
        text_encoder=CLIPTextModel(text_config(clip)), tokenizer=clip,
        text_encoder_2=t5_encoder(words), tokenizer_2=words,
    )  # fmt: skip


def tiny_flux():
    """Two double blocks and two single blocks, text first."""
    return flux_pipeline(
        num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
        axes_dims_rope=(4, 4, 8),
    )  # fmt: skip


def tiny_chroma():
    """As FLUX with T5 alone, whose padding is masked; guided, one branch a call."""
    torch.manual_seed(7)
    words = t5_tokenizer()
    transformer = ChromaTransformer2DModel(
        in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, axes_dims_rope=(4, 4, 8),
        approximator_num_channels=8, approximator_hidden_dim=16, approximator_layers=1,
    )  # fmt: skip
    return ChromaPipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(), vae=tiny_vae(),
        text_encoder=t5_encoder(words), tokenizer=words,
    )  # fmt: skip


def tiny_pixart():
    """None of the named families: a transformer with cross-attention to masked T5 states."""
    torch.manual_seed(6)
    words = t5_tokenizer()
    transformer = PixArtTransformer2DModel(
        sample_size=8, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=2,
        cross_attention_dim=16, caption_channels=32, in_channels=4, out_channels=8,
        use_additional_conditions=False,
    )  # fmt: skip
    return PixArtAlphaPipeline(
        tokenizer=words, text_encoder=t5_encoder(words), vae=tiny_vae(), transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(),
    )  # fmt: skip


FAMILIES = {
    "sd": tiny_pipeline, "sdxl": tiny_sdxl, "sd3": tiny_sd3, "flux": tiny_flux,
    "chroma": tiny_chroma, "pixart": tiny_pixart,
}  # fmt: skip
PROMPT = "a picture of a white bear and a car"


class Layout(NamedTuple):
    """What the tests expect of a family with `PROMPT`.

    n_keys: of attention that reads text; bear: the keys of that word; text: all text keys; image:
    queries of the image (in joint attention there are others);
    stacked: guidance makes one call on [negative; positive]; pooled: a pooled state is read too.
    """

    n_keys: int
    bear: list[int]
    text: slice = slice(None)
    image: slice = slice(None)
    stacked: bool = True
    pooled: bool = False


_LETTERS = [1 + len("apictureofawhite") + i for i in range(4)]  # BOS, then a token a letter
_T5 = 5  # T5 has a token for every word
LAYOUTS = {
    "sd": Layout(77, _LETTERS),
    "sdxl": Layout(77, _LETTERS, pooled=True),
    "sd3": Layout(64 + 77 + 256, [64 + i for i in _LETTERS] + [64 + 77 + _T5], slice(64, None),
                  slice(0, 64), pooled=True),
    "flux": Layout(32 + 16, [_T5], slice(0, 32), slice(32, None), stacked=False, pooled=True),
    "chroma": Layout(32 + 16, [_T5], slice(0, 32), slice(32, None), stacked=False),
    "pixart": Layout(32, [_T5]),
}  # fmt: skip
# What makes their smallest images, quickly.
CALL = {
    "sd": {}, "sdxl": {"height": 64, "width": 64}, "sd3": {"height": 64, "width": 64},
    "flux": {"height": 64, "width": 64, "max_sequence_length": 32},
    "chroma": {"height": 64, "width": 64, "max_sequence_length": 32, "guidance_scale": 1.0},
    "pixart": {"height": 64, "width": 64, "use_resolution_binning": False,
               "clean_caption": False, "max_sequence_length": 32},
}  # fmt: skip


def build(name):
    pipe = FAMILIES[name]()
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return pipe


def draw(pipe, name, prompt, seed=0, **options):
    """Images (N, 64, 64, 3) by 3 steps, from one seed."""
    arguments = {"num_inference_steps": 3, "output_type": "np", **CALL[name], **options}
    return pipe(prompt, generator=torch.Generator().manual_seed(seed), **arguments).images


def as_pipeline(kind, pipe, **parts):
    """A pipeline of another class from the parts of one, those that it has."""
    taken = {k: v for k, v in pipe.components.items() if k in kind._get_signature_keys(kind)[0]}
    taken |= {"safety_checker": None} if "safety_checker" in kind._optional_components else {}
    new = kind(**taken | parts)
    new.set_progress_bar_config(disable=True)
    return new


@contextlib.contextmanager
def explicit_attention(pipe, monkeypatch):
    """Softmax written out in float32 for every attention call: {module path: [P (B, H, N, K)]}."""
    denoiser = getattr(pipe, "unet", None) or pipe.transformer
    seen, path = defaultdict(list), []
    kernel = torch.nn.functional.scaled_dot_product_attention

    def written_out(query, key, value, attn_mask=None, **rest):
        with torch.autocast(query.device.type, enabled=False):
            q, k = query.float() / query.shape[-1] ** 0.5, key.float()
            logits = torch.einsum("bhqd,bhkd->bhqk", q, k)
            if attn_mask is not None:
                logits = logits + attn_mask.float()
            shifted = (logits - logits.max(-1, keepdim=True).values).exp()
        seen[path[-1] if path else ""].append(shifted / shifted.sum(-1, keepdim=True))
        return kernel(query, key, value, attn_mask=attn_mask, **rest)

    handles = []
    for name, module in denoiser.named_modules():
        if hasattr(module, "processor"):
            handles += [
                module.register_forward_pre_hook(lambda m, a, name=name: path.append(name)),
                module.register_forward_hook(lambda m, a, o: path.pop() and None),
            ]
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", written_out)
        yield seen
    for handle in handles:
        handle.remove()
