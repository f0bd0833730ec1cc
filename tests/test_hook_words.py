"""Tokens are those that the denoiser got, and words are found in the prompt's text."""

import unicodedata

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPTextModel

from conftest import text_config
from families import FAMILIES, PROMPT, build, draw, real_clip_tokenizer, t5_tokenizer
from whitebear.errors import UserError
from whitebear.hooks import capture_attention, patch_text, steer_attention, text_states
from whitebear.hooks.words import occurrences, positions, tokenise


@pytest.fixture(scope="module")
def pipes():
    return {name: build(name) for name in FAMILIES}


def keys_of(pipe, name, word, prompt, prompts=None, **options):
    """The text keys that are taken for a word in one image of a prompt."""
    with capture_attention(pipe, [word], prompts=prompts) as cap:
        draw(pipe, name, prompt, num_inference_steps=2, **options)
    return cap.keys[cap.chosen[0, :, 0] > 0].tolist()


def encode(pipe, text):
    return pipe.encode_prompt(text, torch.device("cpu"), 1, False)[0]


# --- which prompt is drawn -----------------------------------------------------------------------


def test_several_encodings_in_a_block(pipes):
    pipe = pipes["sd"]
    empty = encode(pipe, "")
    with capture_attention(pipe, ["a"]) as cap:
        one, two = encode(pipe, "a bear"), encode(pipe, "a car")
        for states in (two, one, torch.cat([one, two])):
            draw(pipe, "sd", None, prompt_embeds=states,
                 negative_prompt_embeds=empty.expand(len(states), -1, -1))  # fmt: skip
    assert cap.dataset().prompt.values.tolist() == ["a car", "a bear", "a bear", "a car"]


def test_a_word_of_another_encoding_is_not_found(pipes):
    pipe = pipes["sd"]
    for block in (capture_attention(pipe, ["bear"]), steer_attention(pipe, ["bear"], 0.0)):
        with pytest.raises(UserError, match="'bear' is not among .* 'a car'"), block:
            states = encode(pipe, "a bear"), encode(pipe, "a car")
            draw(pipe, "sd", None, prompt_embeds=states[1], guidance_scale=1.0)


def test_the_negative_prompt_encoded_first_is_not_taken_for_the_prompt(pipes):
    pipe = pipes["sd"]
    for branch, text in (("cond", "a bear"), ("uncond", "a car")):
        with capture_attention(pipe, ["a"], branch=branch) as cap:
            negative, positive = encode(pipe, "a car"), encode(pipe, "a bear")
            draw(pipe, "sd", None, prompt_embeds=positive, negative_prompt_embeds=negative)
        assert cap.dataset().prompt.values.tolist() == [text]


@pytest.mark.parametrize("name", FAMILIES)
def test_text_states_read_in_the_block_are_not_taken_for_the_prompt(pipes, name):
    pipe = pipes[name]
    with capture_attention(pipe, ["bear"]) as cap:
        text_states(pipe, ["a white fish"])
        draw(pipe, name, PROMPT)
        text_states(pipe, ["a fish"])
        draw(pipe, name, PROMPT)
    ds = cap.dataset()
    assert ds.prompt.values.tolist() == [PROMPT] * 2
    assert np.array_equal(ds.mass[0], ds.mass[1])


def test_blended_states_are_refused_unless_the_prompt_is_named(pipes):
    pipe = pipes["sd"]
    with (
        pytest.raises(UserError, match="made of a prompt in this block .*blended.*prompts=\\[...]"),
        capture_attention(pipe, ["bear"]),
    ):
        draw(pipe, "sd", None, prompt_embeds=0.5 * (encode(pipe, "a bear") + encode(pipe, "a car")))
    weighted = 1.1 * encode(pipe, "a bear")
    assert keys_of(pipe, "sd", "bear", None, ["a bear"], prompt_embeds=weighted) == [2, 3, 4, 5]


@pytest.mark.parametrize("name", FAMILIES)
def test_prompts_that_are_not_those_drawn_are_refused(pipes, name):
    for block in (
        capture_attention(pipes[name], ["a"], prompts=["a car"]),
        steer_attention(pipes[name], ["a"], 0.0, prompts=["a car"]),
        patch_text(pipes[name], "a car", "no car", "all"),
    ):
        with pytest.raises(UserError, match="prompts says 'a car', but '.*' is drawn"), block:
            draw(pipes[name], name, PROMPT)


def test_prompts_of_chunks_are_refused(pipes):
    states = torch.cat([encode(pipes["sd"], "a bear"), encode(pipes["sd"], "a car")], dim=1)
    named = "154 tokens, but CLIPTokenizer.* reads 77"
    for prompts, match in ((None, "made of a prompt in this block"), (["a bear a car"], named)):
        with (
            pytest.raises(UserError, match=match),
            capture_attention(pipes["sd"], ["bear"], prompts=prompts),
        ):
            draw(pipes["sd"], "sd", None, prompt_embeds=states, guidance_scale=1.0)


def test_a_second_encoder_that_reads_another_prompt(pipes):
    pipe = pipes["sdxl"]
    found = keys_of(pipe, "sdxl", "bear", "a car", prompt_2="no bear")
    assert found == [3, 4, 5, 6]
    with (
        pytest.raises(UserError, match="prompts says 'a bear', but 'no bear' is drawn"),
        capture_attention(pipe, ["bear"], prompts=["a bear"]),
    ):
        draw(pipe, "sdxl", "a bear", prompt_2="no bear")


@pytest.fixture(scope="module")
def inverted():
    """Textual inversions: <cat-toy> of three vectors, <dot> of one."""
    pipe = build("sd")
    for token, vectors in (("<cat-toy>", 3), ("<dot>", 1)):
        pipe.load_textual_inversion(torch.randn(vectors, 16), token=token)
    return pipe


@pytest.mark.parametrize("named", [False, True])
def test_tokens_of_textual_inversion(inverted, named):
    for prompt, word, keys in [
        ("a <cat-toy> and a bear", "bear", [9, 10, 11, 12]),
        ("a <cat-toy> and a bear", "<cat-toy>", [2, 3, 4]),
        ("a <dot> and a bear", "bear", [7, 8, 9, 10]),
        ("a <dot>bear", "bear", [3, 4, 5, 6]),
        ("a <dot> and a bear", "<dot>", [2]),
        ("a <dot> bear", "<dot> bear", [2, 3, 4, 5, 6]),
    ]:
        assert keys_of(inverted, "sd", word, prompt, [prompt] if named else None) == keys


def test_states_are_swapped_behind_a_textual_inversion(inverted):
    with patch_text(inverted, "a <cat-toy> and a bear", "a <cat-toy> and a fish", "eos") as patch:
        draw(inverted, "sd", "a <cat-toy> and a bear")
    assert patch.swaps[0][:2] == ([13], [13])


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "word", "found"),
    [
        ("2 bears in 2023", "2", ["2"]),
        ("R2D2 and C-3PO", "R2D2", ["R2D2"]),
        ("R2D2 and C-3PO", "d", []),
        ("a 3d 13 3", "3", ["3"]),
        ("a chain_saw", "chain_saw", ["chain_saw"]),
        ("blue_hair", "blue", []),
        ("BEAR, Bear's bear-like bears", "bear", ["BEAR", "Bear", "bear"]),
        ("a bear.", ".", ["."]),
        ("rock’n’roll", "rock'n'roll", ["rock’n’roll"]),
        ("don't", "don’t", ["don't"]),
        ("a white\u00a0\n bear", "white bear", ["white\u00a0\n bear"]),
        ("whitebear", "white bear", []),
        ("İ bear, car", "bear", ["bear"]),
        ("İİİİİİİİ a car", "car", ["car"]),
        ("ΟΔΟΣ", "οδος", ["ΟΔΟΣ"]),
        ("ﬁne", "fine", ["ﬁne"]),
        ("Straße", "STRASSE", ["Straße"]),
        ("一只熊在森林", "熊", ["熊"]),
        ("iPhone手机", "iphone", ["iPhone"]),
        ("белый медведь", "Медведь", ["медведь"]),
        ("हिन्दी", "ह", []),
        ("a 🐻‍❄️ and 🐻", "🐻", ["🐻", "🐻"]),
        ("xbear bear bear", "bear bear", ["bear bear"]),
        ("(bear:1.3)", "bear", ["bear"]),
        ("<bear>", "<bear>", ["<bear>"]),
    ],
)
def test_words_stand_as_such_in_a_text(text, word, found):
    assert [text[a:b] for a, b in occurrences(text, word)] == found


@pytest.mark.parametrize("composed", ["caffè", "Ångström", "곰", "tiếng Việt"])
def test_composed_and_decomposed_letters_are_the_same(composed):
    nfc, nfd = (unicodedata.normalize(form, composed) for form in ("NFC", "NFD"))
    assert nfc != nfd
    for text in (nfc, nfd):
        for word in (nfc, nfd):
            ((start, end),) = occurrences(f"no {text}, a bear", word)
            assert f"no {text}, a bear"[start:end] == text


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "flux"])
def test_a_digit_is_not_found_within_a_number(pipes, name, named):
    """CLIP has a token a digit, so that ids do not tell "2 0 2 3" from "2023"."""
    prompt = "2 bears in 2023"
    found = keys_of(pipes[name], name, "2", prompt, [prompt] if named else None)
    t5 = [0, 1]  # "▁" and "2"
    assert found == {"sd3": [1, *(77 + i for i in t5)], "flux": t5}.get(name, [1])


def test_texts_with_the_same_tokens_are_told_apart_or_refused(pipes):
    pipe = pipes["sd"]
    with (
        pytest.raises(UserError, match="'20 bears' and '2 0 bears' have the same tokens"),
        capture_attention(pipe, ["bears"]),
    ):
        assert encode(pipe, "20 bears").equal(encode(pipe, "2 0 bears"))
        draw(pipe, "sd", "2 0 bears")


def test_a_word_is_required_in_every_tokenizer_that_read_it(pipes):
    prompt = "a " * 80 + "bear"  # cut off CLIP's 77 tokens, not off T5's
    with (
        pytest.raises(UserError, match="'bear' is not among the first 77 tokens"),
        capture_attention(pipes["sd3"], ["bear"]),
    ):
        draw(pipes["sd3"], "sd3", prompt)


def test_a_pipeline_that_lowers_its_prompts_is_followed(pipes):
    """PixArt reads "a bear" for "A BEAR", which T5 has other tokens for."""
    for prompts in (None, ["A BEAR"]):
        assert keys_of(pipes["pixart"], "pixart", "Bear", "A BEAR", prompts) == [1]


def test_sentencepiece_tokens_of_a_word():
    segment = tokenise(t5_tokenizer(), ["a zebra, a Bear and 2 of 20"], 0, 32)

    def as_text(word):
        ids = segment.ids[0, positions(segment, 0, word)].tolist()
        return "".join(segment.tokenizer.convert_ids_to_tokens(ids))

    for word in ("zebra", "Bear", "2", "20", "zebra, a"):
        assert as_text(word.lower()) == "▁" + word.replace(" ", "▁")


@pytest.fixture(scope="module")
def real():
    """A random pipeline that reads CLIP's real vocabulary."""
    tokenizer = real_clip_tokenizer()
    assert len(tokenizer) == 49408 and tokenizer("a bear").input_ids == [49406, 320, 4298, 49407]
    pipe = build("sd")
    pipe.register_modules(
        tokenizer=tokenizer, text_encoder=CLIPTextModel(text_config(tokenizer)).eval()
    )
    return pipe


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("prompt", "word", "tokens"),
    [
        ("2 bears in 2023", "2", "2</w>"),
        ("2 bears in 2023", "2023", "2</w>0</w>2</w>3</w>"),
        ("R2D2 and C-3PO", "R2D2", "r</w>2</w>d</w>2</w>"),
        ("R2D2 and C-3PO", "c-3po", "c</w>-</w>3</w>po</w>"),
        ("a chain_saw, 50%", "chain_saw", "chain</w>_</w>saw</w>"),
        ("a chain_saw, 50%", "50%", "5</w>0</w>%</w>"),
        ("a bear's teddy-bear", "bear", "bear</w>bear</w>"),
        ("bears and a bear", "bear", "bear</w>"),
        ("bears and a bear", "bears", "bears</w>"),
        ("rock’n’roll and o'clock", "o’clock", "o</w>'</w>clock</w>"),
        ("a white  bear, a WHITE BEAR", "white bear", "white</w>bear</w>white</w>bear</w>"),
        ("cafe\u0301 au lait", "caf\u00e9", "cafÃ©</w>"),
        ("İ İ İ ox cat", "ox", "ox</w>"),
        ("a 🐻 and a car", "🐻", "ðŁĲ»</w>"),
        ("blue_hair, iPhone12", "iPhone12", "iphone</w>1</w>2</w>"),
        ("1girl, v1.5", "v1.5", "v</w>1</w>.</w>5</w>"),
    ],
)
def test_words_of_the_real_vocabulary(real, prompt, word, tokens, named):
    keys = keys_of(real, "sd", word, prompt, [prompt] if named else None)
    ids = real.tokenizer(prompt).input_ids
    assert "".join(real.tokenizer.convert_ids_to_tokens([ids[i] for i in keys])) == tokens


@pytest.mark.parametrize(
    ("prompt", "word"), [("R2D2", "d"), ("in 2023", "2"), ("blue_hair", "blue"), ("1girl", "girl")]
)
def test_parts_of_words_of_the_real_vocabulary_are_not_found(real, prompt, word):
    with pytest.raises(UserError, match=f"'{word}' is not among the first 77 tokens"):
        keys_of(real, "sd", word, prompt)


def test_no_method_of_a_tokenizer_stays_replaced(pipes):
    pipe = StableDiffusionPipeline(**build("sd").components, requires_safety_checker=False)
    with pytest.raises(KeyboardInterrupt), capture_attention(pipe, ["bear"]):
        raise KeyboardInterrupt
    assert "_encode_plus" not in vars(pipe.tokenizer) and "step" not in vars(pipe.scheduler)
