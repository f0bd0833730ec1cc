"""What capture cannot see it refuses in one line; it never hands out half of it."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    AutoencoderDC,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    IFPipeline,
    SanaPipeline,
    SanaTransformer2DModel,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import AttnProcessor, SlicedAttnProcessor

from families import FAMILIES, build, draw, t5_encoder, t5_tokenizer, tiny_vae
from whitebear.errors import UserError
from whitebear.hooks import capture_attention, coverage, steer_attention
from whitebear.hooks.words import ROLES, positions, roles, selection, tokenise
from whitebear.models import families
from whitebear.models.families import denoiser_of

PROMPT = "a picture of a white bear and a car"


@pytest.fixture(scope="module")
def pipe():
    return build("sd")


@pytest.fixture
def spoiled():
    return build("sd")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"tokens": "bear"}, r"tokens is 'bear'; give a list of words such as \['bear'\]"),
        ({"tokens": [], "roles": []}, "nothing to look at; name tokens or roles"),
        ({"roles": ["end"]}, "roles holds 'end'; use each of bos, eos, pad, other, text"),
        ({"reduce": ["mean"]}, "reduce holds 'mean'; use each of mass, map, entropy"),
        ({"heads": 3}, 'heads is 3; use "mean" or "all"'),
        ({"grid": 0}, "grid is 0; give a whole number"),
        ({"branch": "positive"}, 'branch is \'positive\'; use "cond" or "uncond"'),
        ({"steps": -1}, 'steps is -1; use "all" or whole numbers'),
        ({"steps": [0.5]}, "steps is"),
        ({"layers": "encoder.*"}, "no layer matches"),
        ({"tokens": {"c": ["bear"]}}, "lists words; give prompts="),
    ],
)
def test_arguments_that_make_no_sense(pipe, arguments, match):
    with pytest.raises(UserError, match=match) as error:
        capture_attention(pipe, **({"tokens": ["bear"]} | arguments))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("word", ["owl", "pictures", "ear"])
def test_a_word_that_is_not_in_the_prompt(pipe, word):
    with (
        pytest.raises(UserError, match=f"'{word}' is not among the first 77 tokens of the prompt"),
        capture_attention(pipe, [word]),
    ):
        draw(pipe, "sd", PROMPT)


def test_a_word_that_was_cut_off(pipe):
    with (
        pytest.raises(UserError, match="'bear' is not among the first 77 tokens.*shorten"),
        capture_attention(pipe, ["bear"]),
    ):
        draw(pipe, "sd", "a " * 80 + "bear")


def test_prompts_that_were_encoded_elsewhere_have_to_be_named(pipe):
    states, empty = pipe.encode_prompt(["a bear", "a car"], torch.device("cpu"), 1, True)
    embeds = {"prompt_embeds": states, "negative_prompt_embeds": empty}
    with (
        pytest.raises(UserError, match="encoded outside this block.*give them as prompts="),
        capture_attention(pipe, ["bear"]),
    ):
        draw(pipe, "sd", None, **embeds)
    with (
        pytest.raises(UserError, match="prompts holds 1 prompts, but more images are made"),
        capture_attention(pipe, ["bear"], prompts=["a bear"]),
    ):
        draw(pipe, "sd", None, **embeds)
    with capture_attention(pipe, prompts=["a bear", "a car"]) as cap:
        draw(pipe, "sd", None, **embeds)
    assert cap.dataset().sizes["sample"] == 2


def test_prompts_in_another_order_than_their_encoding(pipe):
    with capture_attention(pipe, ["a"]) as cap:
        states, empty = pipe.encode_prompt(["a bear", "a car"], torch.device("cpu"), 1, True)
        again = torch.cat([states, states])  # bear, car, bear, car: no repetition in a row
        draw(pipe, "sd", None, prompt_embeds=again, negative_prompt_embeds=torch.cat([empty] * 2))
    assert cap.dataset().prompt.values.tolist() == ["a bear", "a car"] * 2


@pytest.mark.parametrize("processor", [AttnProcessor(), SlicedAttnProcessor(2)])
def test_processors_that_hide_attention(spoiled, processor):
    spoiled.unet.set_attn_processor(processor)
    with pytest.raises(UserError, match=r"hides it; call set_attn_processor\(AttnProcessor2_0"):
        capture_attention(spoiled, ["bear"])


def test_attention_slicing(spoiled):
    spoiled.enable_attention_slicing()
    with pytest.raises(UserError, match="hides it"):
        capture_attention(spoiled, ["bear"])


def test_a_processor_of_ones_own_that_hides_attention(spoiled):
    class Mine(AttnProcessor):
        pass

    layer = spoiled.unet.mid_block.attentions[0].transformer_blocks[0].attn2
    layer.set_processor(Mine())
    with (
        pytest.raises(UserError, match=r"mid_block.*was met 0 times in 3 denoiser calls \(1 of 7"),
        capture_attention(spoiled, ["bear"]),
    ):
        draw(spoiled, "sd", PROMPT)


class OwnAttention(torch.nn.Module):
    """Cross-attention as somebody may write it: no diffusers class, no processor."""

    def __init__(self, like):
        super().__init__()
        self.to_q, self.to_k, self.to_v, self.out = like.to_q, like.to_k, like.to_v, like.to_out[0]

    def forward(self, hidden_states, encoder_hidden_states=None, attention_mask=None):
        q, text = self.to_q(hidden_states), encoder_hidden_states
        k, v = self.to_k(text), self.to_v(text)
        return self.out(torch.nn.functional.scaled_dot_product_attention(q, k, v))


@pytest.mark.parametrize("hook", [capture_attention, partial(steer_attention, weight=0.0)])
def test_attention_to_text_of_a_kind_that_no_table_lists(spoiled, hook):
    block = spoiled.unet.mid_block.attentions[0].transformer_blocks[0]
    block.attn2 = OwnAttention(block.attn2)
    with (
        pytest.raises(UserError, match=r"UNet.* has attention that reads text and is not known:"
                                       r" 1 layers \(mid_block.*attn2\); describe this class"),
        hook(spoiled, ["bear"], layers="up_blocks.*"),
    ):  # fmt: skip
        draw(spoiled, "sd", PROMPT)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in spoiled.unet.modules())


def test_a_joint_model_whose_entry_falls_short(monkeypatch):
    pipe, name = build("flux"), "FluxTransformer2DModel"
    entry = replace(families.FAMILIES[name], image_only=(".0.attn",))
    with monkeypatch.context() as patch:
        patch.setitem(families.FAMILIES, name, entry)
        with (
            pytest.raises(
                UserError, match=r"not known: 2 layers \(transformer_blocks.0.attn, single"
            ),
            capture_attention(pipe, ["bear"]),
        ):
            draw(pipe, "flux", PROMPT)
    with monkeypatch.context() as patch:
        patch.delitem(families.FAMILIES, name)
        with pytest.raises(UserError, match="no attention that is known to see text; add its cl"):
            capture_attention(pipe, ["bear"])


def test_a_joint_model_whose_entry_lists_too_much(monkeypatch):
    name = "SD3Transformer2DModel"
    monkeypatch.setitem(families.FAMILIES, name, replace(families.FAMILIES[name], image_only=()))
    pipe = build("sd3")
    with (
        pytest.raises(UserError, match=r"attn2 was met 0 times .*: it reads no text, or not thr"),
        capture_attention(pipe, ["bear"]),
    ):
        draw(pipe, "sd3", PROMPT)


@pytest.mark.parametrize("name", FAMILIES)
def test_attention_is_found_without_the_table(name):
    denoiser = denoiser_of(build(name))
    found = coverage.attention_modules(denoiser)
    assert found == {p: m for p, m in denoiser.named_modules() if hasattr(m, "processor")}
    assert {layer.path for layer in families.known_layers(denoiser)} <= set(found)


def test_another_backend():
    pipe = build("flux")
    pipe.transformer.transformer_blocks[0].attn.processor._attention_backend = "flex"
    with pytest.raises(UserError, match="attention backend 'flex', which hides it; call set_att"):
        capture_attention(pipe, ["bear"])


def test_a_compiled_denoiser(spoiled):
    spoiled.unet.compile(backend="eager")
    with pytest.raises(UserError, match="compiled already.*before torch.compile"):
        capture_attention(spoiled, ["bear"])


@pytest.mark.parametrize("run_before", [False, True])
def test_compiled_blocks(spoiled, run_before):
    spoiled.unet.compile_repeated_blocks(backend="eager")
    if run_before:
        draw(spoiled, "sd", PROMPT, num_inference_steps=1, output_type="latent")
    with pytest.raises(UserError, match="compiled already, all or parts of it.*before torch.comp"):
        capture_attention(spoiled, ["bear"])


def test_a_compiled_forward(spoiled):
    spoiled.unet.forward = torch.compile(spoiled.unet.forward, backend="eager")
    with pytest.raises(UserError, match="compiled already"):
        capture_attention(spoiled, ["bear"])


def test_a_denoiser_that_accelerate_moves_about_is_not_taken_for_compiled(spoiled):
    own = spoiled.unet.forward
    spoiled.unet.forward = partial(own)  # as its hooks do
    with capture_attention(spoiled, ["bear"]) as cap:
        draw(spoiled, "sd", PROMPT)
    assert cap.dataset().sizes["step"] == 3


def test_a_compiled_copy(spoiled):
    spoiled.unet = torch.compile(spoiled.unet, backend="eager")
    with pytest.raises(UserError, match="compiled already"):
        capture_attention(spoiled, ["bear"])


def test_a_pipeline_without_a_denoiser(pipe):
    class NoPipeline:
        pass

    with pytest.raises(UserError, match="NoPipeline has no denoiser"):
        capture_attention(NoPipeline(), ["bear"])


def test_guidance_that_is_not_stacked_in_halves(pipe, monkeypatch):
    stacked = torch.randn(2, 16, 8, 8)
    with (
        pytest.raises(UserError, match="does not stack .negative; positive. halves"),
        capture_attention(pipe, ["bear"], prompts=["a bear"]),
    ):
        pipe._guidance_scale = 5.0
        pipe.scheduler.set_timesteps(3)
        pipe.unet(stacked, torch.tensor(667), encoder_hidden_states=torch.randn(2, 77, 16))


def test_runs_that_do_not_fit_together(pipe):
    with capture_attention(pipe, ["bear"]) as cap:
        for steps in (2, 3):
            draw(pipe, "sd", PROMPT, num_inference_steps=steps)
    with pytest.raises(UserError, match="different steps; use one block for each"):
        cap.dataset()


def test_words_are_found_by_characters(pipe):
    t5 = build("flux").tokenizer_2
    text = "No bear, a Bear's bear-like bears. WHITE  bear"
    clip = tokenise(pipe.tokenizer, [text], 0, 77)
    assert len(positions(clip, 0, "bear")) == 4 * 4  # not "bears"
    assert len(positions(clip, 0, "white bear")) == 9
    assert positions(clip, 0, "owl") == []
    plain = tokenise(t5, ["a picture of a bear"], 0, 32)
    assert positions(plain, 0, "bear") == [4]
    with pytest.raises(UserError, match="no letters"):
        positions(clip, 0, "  ")


def test_roles_and_selection(pipe):
    segment = tokenise(pipe.tokenizer, ["a bear", "a " * 90], 0, 77)
    which = roles(segment)
    assert (which.sum(-1) == 1).all()
    names = [ROLES[i] for i in which[0].float().argmax(-1)]
    assert names == ["bos", *["other"] * 5, "eos", *["pad"] * 70]
    assert which[1].sum(0).tolist() == [1, 1, 0, 75]  # cut off: no padding, the end is kept
    chosen = selection([segment], {"c": ["bear", "a"]}, (*ROLES, "text"), 77)
    assert chosen[0].sum(0).tolist() == [4, 1, 1, 70, 1, 77]
    assert chosen[1].sum(0).tolist() == [75, 1, 1, 0, 0, 77]


def test_attention_with_the_keys_of_text_and_image_in_one():
    """As DeepFloyd IF's."""
    torch.manual_seed(0)
    words = t5_tokenizer()
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=3, out_channels=6, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8, 16), cross_attention_dim=32, encoder_hid_dim=32,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        attention_head_dim=4,
    )  # fmt: skip
    pipe = IFPipeline(
        tokenizer=words, text_encoder=t5_encoder(words), unet=unet, scheduler=DDPMScheduler(),
        safety_checker=None, feature_extractor=None, watermarker=None,
        requires_safety_checker=False,
    )  # fmt: skip
    for hook in (capture_attention, partial(steer_attention, weight=0.0)):
        with pytest.raises(UserError, match="adds the keys of text to those of the image .DeepFl"):
            hook(pipe, ["bear"])


def test_a_model_that_puts_registers_before_the_text():
    torch.manual_seed(0)
    words = t5_tokenizer()
    transformer = AuraFlowTransformer2DModel(
        sample_size=8, in_channels=4, out_channels=4, num_mmdit_layers=1, num_single_dit_layers=1,
        attention_head_dim=8, num_attention_heads=4, joint_attention_dim=32,
        caption_projection_dim=32, pos_embed_max_size=64,
    )  # fmt: skip
    pipe = AuraFlowPipeline(
        tokenizer=words, text_encoder=t5_encoder(words), vae=tiny_vae(), transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip
    with pytest.raises(UserError, match="AuraFlow.* puts registers of its own before the text, wh"):
        capture_attention(pipe, ["bear"])


def test_a_pipeline_that_puts_an_instruction_before_the_prompt():
    torch.manual_seed(0)
    words = t5_tokenizer()
    vae = AutoencoderDC(
        latent_channels=4, attention_head_dim=2, encoder_block_types=("ResBlock", "ResBlock"),
        decoder_block_types=("ResBlock", "ResBlock"), encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8), encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1), encoder_qkv_multiscales=((), ()),
        decoder_qkv_multiscales=((), ()), downsample_block_type="conv",
    )  # fmt: skip
    transformer = SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2,
        attention_head_dim=4, num_cross_attention_heads=2, cross_attention_head_dim=4,
        cross_attention_dim=8, caption_channels=32, sample_size=8,
    )  # fmt: skip
    pipe = SanaPipeline(
        tokenizer=words, text_encoder=t5_encoder(words), vae=vae, transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip
    call = {"num_inference_steps": 2, "height": 32, "width": 32, "max_sequence_length": 32,
            "use_resolution_binning": False, "clean_caption": False,
            "output_type": "latent"}  # fmt: skip
    for prompts in (None, ["a bear"]):
        with (
            pytest.raises(UserError, match="cuts it off again; call it without .Sana: complex_hu"),
            capture_attention(pipe, ["bear"], prompts=prompts),
        ):
            pipe("a bear", **call)
        with capture_attention(pipe, ["bear"], prompts=prompts) as cap:
            pipe("a bear", **call, **families.call_options(pipe))
        assert cap.keys[cap.chosen[0, :, 0] > 0].tolist() == [1]
