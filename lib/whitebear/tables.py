"""The tables that travel from one room to another: what a row is, and each column's type and unit.

Tests hold the tables that are made and published to this, by `check(table, SCORES)`; the book's
page of tables is written from it. What makes results does not read it: words that explain decide
none.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from whitebear.errors import UserError

# What numpy and pandas call what we call by one word; they have no type for lists and records.
KINDS = {"text": "OTSU", "yes/no": "b", "whole": "iu", "number": "f", "list": "O", "record": "O",
         "bytes": "O"}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A contract. columns: name -> (type, meaning and unit), "?" after a type: may be left out.

    keys: the columns that tell rows apart, where there are some.
    """

    name: str
    row: str
    made: str
    read: str
    columns: Mapping[str, tuple[str, str]]
    keys: tuple[str, ...] = ()


GRID = Table(
    "prompt grid",
    "an image to make",
    "`prompts.prompt_grid`",
    "`Artist.draw`, everything in `measures`; scores begin with it",
    {
        "concept": ("text", "name of what is asked for, as in `concepts.csv` or a plain noun"),
        "kind": ("text", "of the concept: object, colour or style"),
        "condition": ("text", "kind of request: affirm, omit, negate, ..."),
        "wording": ("text", "id of the sentence, in `eval.csv`, `clauses.csv` or `obey.csv`"),
        "control": ("text", 'id of the wording that it is held against; "" for none'),
        "heldout": ("yes/no", "whether no training caption makes the request in these words"),
        "pair": ("yes/no", "whether a second object is asked for"),
        "text": ("text", "the wording with its holes `{c}`, `{d}`, `{o}`, `{b}`"),
        "seed": ("whole", "of the initial noise, from 0"),
        "prompt": ("text", "the text, filled in"),
        "other": ("text", 'name of the second object; "" for none'),
        "background": ("text", 'name of the background; "" where the text has none'),
        "spans": ("list", "[start, end) of the concept in the prompt, in characters"),
    },
    ("concept", "wording", "seed"),
)

JUDGED = {
    "p_asked": ("number", "probability that the image shows the concept, 0 to 1"),
    "present": ("yes/no", "whether it counts as shown: p_asked at or above the threshold"),
    "logit": ("number", "CLIP's zero-shot score; NaN where a trained detector judges"),
}

SCORES = Table(
    "scores",
    "an image that was made and judged",
    "`draw.run_grid`",
    "`stats`, the chapters, `data/results/*.parquet`",
    GRID.columns
    | {
        "model": ("text?", "short name, folder or hub id; not in tables of one model"),
        "revision": ("text", "fingerprint of the model's files, 16 hex digits"),
        "versions": ("text", "of torch, diffusers and transformers"),
        "steps": ("whole", "of the sampler"),
        "guidance": ("number", "classifier-free guidance scale"),
    }
    | JUDGED
    | {
        "p_other": ("number", "the same probability of the second object; NaN for none"),
        "other_present": ("yes/no", "whether the second object counts as shown; missing for none"),
        "clip_score": ("number", "cosine of the image and a caption of the concept, -1 to 1"),
        "png": ("bytes?", "the image, of the first seeds only"),
        "threshold": ("number?", "from which p_asked counts as shown, 0 to 1"),
        "intervention": ("text?", "the method that the images were made under; not without one"),
        "strength": ("number?", "of the intervention"),
    },
    GRID.keys,
)

CLAUSES = Table(
    "clauses",
    "an image of a clause, made and judged",
    "`pocket.experiments.clauses`",
    "`measures.clauses`, `data/results/clauses/*.parquet`, `data/results/learned/*.parquet`",
    GRID.columns
    | JUDGED
    | {
        "p_other": ("number", "the same probability of the second object; NaN for none"),
        "other_present": ("yes/no", "whether the second object counts as shown; missing for none"),
        "verb": ("text", 'what is to be done beside drawing: forget, see, ...; "" for nothing'),
        "neutral": ("yes/no", "whether the verb forbids nothing"),
        "frame": ("text", "the words around verb and request: plain, paper, must, ..."),
        "request": ("text", "what is to be drawn: name, description (concept), place or other"),
        "order": ("text", 'whether the verb comes first or last; "" without a verb'),
        "subject": ("text", 'what the verb is about, concept or other object; "" without a verb'),
    },
    GRID.keys,
)

ARENA = Table(
    "arena",
    "an image of the arena, made under a method and judged",
    "`pocket.experiments.arena`",
    "`arena.measures`, `arena.tuning`, `data/results/arena/**/*.parquet`",
    {
        name: GRID.columns[name]
        for name in ("concept", "wording", "heldout", "pair", "text", "seed", "prompt", "other",
                     "background")
    }
    | {
        "family": ("text", "of prompts, as in `families.csv`; placebo: something else is left out"),
        "erased": ("text", "the concept that the method leaves out"),
        "colour": ("text", 'that the second object is asked for in; "" for none'),
        "method": ("text", "the intervention, several joined by +"),
        "options": ("text", "of the intervention, as JSON"),
        "strength": ("number", "of the intervention"),
        "run": ("whole", "which training of the method, from 0"),
        "noise": ("whole", "is added to the seed of the noise; 0 but for other seeds"),
        "use": ("text", "tuning, scored, or fixed: scored at a strength that was not chosen"),
        "p_asked": JUDGED["p_asked"],
        "present": JUDGED["present"],
        "p_other": CLAUSES.columns["p_other"],
        "other_present": CLAUSES.columns["other_present"],
        "colour_present": ("yes/no", "whether that colour counts as shown; missing for none"),
        "place_present": ("yes/no", "whether the place counts as shown; missing for none"),
        "objects": ("whole", "how many of the world's objects count as shown"),
        "entropy": ("number", "mean over the detector's labels, in bits: how unsure it is"),
        "change": ("number", "mean absolute change of a pixel against untouched, 0 to 1"),
        "picture": ("text", "digest of the image, 16 hex digits"),
        "blocked": ("yes/no", "whether a filter gave the picture out black"),
        "passes": ("number", "images through the denoiser for this one, in each step"),
        "seconds": ("number", "to draw it, in its batch"),
        "prepared": ("number", "seconds before the first picture of its block"),
        "png": ("bytes?", "the image, of a few only"),
    },
    ("use", "run", "strength", "family", "concept", "seed"),
)  # fmt: skip

LIKE = "how like the request for the concept alone its states are"
WINNING = Table(
    "inside of clauses",
    "a clause about a concept",
    "`pocket.experiments.winning`",
    "`measures.winning`, `data/results/winning/*.parquet`",
    {name: GRID.columns[name] for name in ("concept", "wording", "seed")}
    | {
        "told": ("number", f"{LIKE} in the verb's clause: 1 the same, 0 another concept's"),
        "asked": ("number", "the same of its tokens in the request; NaN where it is not asked for"),
        "eos": ("number", "the same of the end token"),
        "pad": ("number", "the same of the mean over the padding"),
        "attention": ("number", "mass on the concept's noun, 0 to 1, mean over steps and layers;"
                                " NaN where it was not watched"),
        "first_half": ("number", "the same over the first half of the steps"),
        "second_half": ("number", "the same over the second half"),
    },
    ("concept", "wording", "seed"),
)  # fmt: skip

ATTENTION = Table(
    "attention",
    "an image (`sample`), a denoiser call (`step`), a layer and a token: an xarray dataset",
    "`hooks.capture_attention`",
    "`measures.attention`, `measures.heads`, the explorer",
    {
        "mass": ("number", "attention that the token gets, 0 to 1, mean over the image's places"),
        "map": ("number?", "the same at each place: dimensions y and x"),
        "entropy": ("number?", "of the attention over tokens, in nats; no dimension token"),
        "prompt": ("text", "of each sample"),
        "timestep": ("number", "of each step, as the scheduler counts"),
        "sigma": ("number", "noise level of each step"),
        "layer": ("text", "path of the attention module"),
        "place": ("text", "where in the denoiser the layer is"),
        "queries": ("whole", "places of the image that each layer reads from"),
        "heads": ("whole", "of each layer"),
        "token": ("text?", "a word that was asked for, or a role such as `<eos>`"),
        "role": ("text?", "of each token: word, bos, eos, pad or other"),
    },
)

# What chapters measure beside scores: `<chapter>_<name>.parquet`, written by `save_tables`.

SAMPLE = {
    name: GRID.columns[name] for name in ("concept", "wording", "condition", "seed", "control")
}
MASS = ("number", "attention that it gets, 0 to 1, mean over steps, layers and heads")

SIMILARITY = Table(
    "similarity of text states",
    "a prompt, a layer of the text encoder and a place in the prompt",
    "`measures.text_states.similarity`",
    "the chapter on the text encoder",
    SAMPLE
    | {name: GRID.columns[name] for name in ("heldout", "pair")}
    | {
        "layer": ("text", '"0" is the embedding, "final" what the denoiser reads'),
        "place": ("text", "concept, eos, pad, words or all"),
        "cosine": (
            "number",
            "of the state and the plain request's; NaN without such a place",
        ),
        "unrelated": ("number", "mean cosine of plain requests for different concepts"),
    },
    ("concept", "wording", "seed", "layer", "place"),
)

PROBE = Table(
    "probe",
    "a prompt that a linear probe was asked about, at a place in the prompt, in a split",
    "`measures.text_states.probe`",
    "the chapters on the text encoder, on why it fails and on another encoder",
    {
        "model": ("text?", "whose text encoder was read, where there are several"),
        "concept": GRID.columns["concept"],
        "wording": GRID.columns["wording"],
        "present": ("yes/no", "whether the probe is right; chance is one half"),
        "place": ("text", "concept, eos, pad, words or all"),
        "split": ("text", "what it was not trained on: new concepts, new wordings or both new"),
    },
)

WORDS = Table(
    "words left out",
    "a word of one instruction, and a concept",
    "`measures.text_states.without_each_word`",
    "the chapter on the text encoder",
    {
        "word": ("text", "its place in the instruction, from 1, and the word"),
        "concept": GRID.columns["concept"],
        "moved": ("number", "1 - cosine of the end token's states with and without the word"),
    },
    ("word", "concept"),
)

SQUARE = Table(
    "captions and pictures",
    "a concept in a place: two captions, two pictures",
    "`measures.text_states.interaction`",
    "the chapter on the text encoder",
    {
        "concept": GRID.columns["concept"],
        "affirm": ("text", "the caption with the concept"),
        "negate": ("text", "the same caption without it"),
        "image": ("number", "what the concept in the picture adds to the cosine"),
        "caption": ("number", "what the caption with it adds"),
        "interaction": ("number", "what their match adds"),
        "present": ("yes/no", "whether both captions and both pictures are matched rightly"),
    },
)

CURVES = Table(
    "attention by step",
    "an instruction or its control, a concept and a denoising step; mean over seeds and layers",
    "`measures.attention.curves`",
    "the chapter on watching the words",
    {name: GRID.columns[name] for name in ("condition", "wording", "text", "concept")}
    | {
        "step": ("whole", "of the sampler, from 0"),
        "what": ("text", "instruction or control"),
        "mass": ("number", "attention that the concept's word gets, 0 to 1"),
    },
    ("wording", "concept", "step", "what"),
)

TOKENS = Table(
    "attention by token",
    "an image and a token or role",
    "`measures.attention.tidy`",
    "the chapters on watching the words and on attention and pictures",
    SAMPLE | {"token": ("text", "concept, or a role such as `<eos>`"), "mass": MASS},
    ("concept", "wording", "seed", "token"),
)

HEADS = Table(
    "attention by head",
    "an image, a layer and a head",
    "`measures.heads.kept`",
    "the chapters on attention and pictures and on why it fails",
    SAMPLE
    | {
        "layer": ("text", "path of the attention module"),
        "head": ("whole", "from 0"),
        "mass": ("number", "attention that the concept's word gets there, 0 to 1, mean over steps"),
    },
    ("concept", "wording", "seed", "layer", "head"),
)

EXCHANGE = Table(
    "exchanged attention",
    "an image of an obeyed wording or its control, with its own or the other's attention",
    "`pocket.experiments.inside.exchanged`",
    "the chapter on why it fails",
    {
        "concept": GRID.columns["concept"],
        "wording": ("text", "the instruction, also where its control is drawn"),
        "seed": GRID.columns["seed"],
        "words": ("text", "instruction or control: which of the two is the prompt"),
        "attention": ("text", "its own or the other's"),
        "auc": ("number", "attention to the word, or what it was made to be on average, 0 to 1"),
        "present": JUDGED["present"],
    },
    ("concept", "wording", "seed", "words", "attention"),
)

CLAIMS = Table(
    "claims",
    "a claim of a chapter, as published",
    "`book.report.claim.as_records`",
    "`book.report.published`, the page of claims, `data/results/published.json`",
    {
        "claim": ("text", "the sentence"),
        "estimate": ("text", "value with its interval, as printed"),
        "n": ("text", "what was counted"),
        "control": ("text", "what it is held against"),
        "verdict": ("text", "what the numbers say of the claim: yes, no, open, ..."),
        "figure": ("text", "label of the figure that shows it"),
        "value": ("number", "the estimate; a share where the text says percent"),
        "low": ("number", "lower end of its 95 % interval"),
        "high": ("number", "upper end of its 95 % interval"),
    },
    ("claim",),
)

CELLS = Table(
    "taught cells",
    "the record of a model that was trained further (its scores lie beside it)",
    "`pocket.experiments.teach.publish`",
    "`pocket.experiments.results`, `data/results/why/*.json`",
    {
        "cell": ("record", "id, rates of negated captions (0 to 1), seed, times as long"),
        "recipe": ("record", "what it was trained with: steps, batches, learning rates"),
        "denied": ("list", "the objects that its negated captions deny"),
        "pictures": ("record", "what its images were drawn with: conditions, seeds, steps"),
        "base": ("text", "fingerprint of the model that it began as"),
        "model": ("text", "fingerprint of what it became"),
        "versions": ("text", "of torch, diffusers and transformers"),
        "hardware": ("text", "that it was trained on"),
        "seconds": ("record", "that each stage took"),
        "date": ("text", "on which training began"),
        "quality": ("record", "how it follows ordinary prompts: shares from 0 to 1"),
    },
)

DOSE = Table(
    "dose",
    "a place where a wording speaks of the concept, in a population of captions",
    "`pocket.experiments.dose.dose_table`",
    "`pocket.experiments.law`, `data/results/why/dose.parquet`",
    {
        "r": ("number", "share of the captions that negate truthfully, 0 to 1"),
        "chatter": ("text", "all, or quiet: none that uses a word of negation without negating"),
        "wording": ("text", "id of the sentence in `eval.csv` or `clauses.csv`"),
        "mention": ("whole", "which place of the sentence, from 1"),
        "by": ("text", "name or description"),
        "cue": ("text", "the longest run of words before it that 20 of 240,000 captions hold before"
                        " an object; ^ is the start, B a place, O another object"),
        "words": ("whole", "how many they are; 0: not even the word before it is known"),
        "count": ("number", "captions of 240,000 that hold the cue, expected"),
        "p_absent": ("number", "share of them whose picture lacks the object; NaN for no cue"),
        "cue_once": ("text", "the same among captions that speak of the object this once"),
        "words_once": ("whole", "as `words`"),
        "count_once": ("number", "as `count`"),
        "p_absent_once": ("number", "as `p_absent`"),
        "word": ("text", "the most forbidding single word before it in its sentence"),
        "p_absent_word": ("number", "share of captions with that word somewhere before an object,"
                                    " named this once, that lack it"),
        "absence": ("number", "q of the law, 0 to 1: how surely this place says: not there"),
        "absence_named": ("number", "the same for a reader to whom an unread cue brings X in"),
    },
    ("r", "chatter", "wording", "mention"),
)  # fmt: skip

TABLES = (
    GRID, SCORES, CLAUSES, ARENA, WINNING, ATTENTION, SIMILARITY, PROBE, WORDS, SQUARE, CURVES,
    TOKENS, HEADS, EXCHANGE, CLAIMS, CELLS, DOSE,
)  # fmt: skip

# Which contract `<chapter>_<name>.parquet` keeps. What is a grid has columns more that tell its
# rows apart: what, model, encoder, denoiser, source, part.
MEASURED = {
    "similarity": SIMILARITY, "probe": PROBE, "words": WORDS, "square": SQUARE, "controls": GRID,
    "curves": CURVES, "tokens": TOKENS, "heads": HEADS, "captions": GRID, "parts": GRID,
    "small": GRID, "swaps": GRID, "exchange": EXCHANGE,
}  # fmt: skip


def check(table, contract: Table):
    """The table (DataFrame or xarray dataset) itself, if it keeps the contract.

    It may have more columns. Raises `UserError` naming the column that is missing or of another
    type, or two rows that the keys do not tell apart.
    """
    for name, (kind, meaning) in contract.columns.items():
        if name not in table:
            if kind.endswith("?"):
                continue
            raise UserError(f"{contract.name}: column {name} is missing; it says: {meaning}")
        found, word = table[name].dtype, kind.rstrip("?")
        empty = table[name].isnull().all()
        if getattr(found, "kind", "O") not in KINDS[word] and not empty:
            raise UserError(
                f"{contract.name}: column {name} is {found}; it holds {word}: {meaning}"
            )
    if contract.keys:
        _check_keys(table, contract)
    return table


def _check_keys(table, contract: Table) -> None:
    keys = list(contract.keys)
    if (twice := table.duplicated(keys)).any():
        row = ", ".join(map(str, table.loc[twice, keys].iloc[0]))
        raise UserError(f"{contract.name}: {row} is there twice; {', '.join(keys)} tell rows apart")


def page() -> str:
    """All contracts as Markdown, a table each."""
    parts = []
    for table in TABLES:
        keys = f" Told apart by {', '.join(table.keys)}." if table.keys else ""
        hands = f"Made by {table.made}; read by {table.read}."
        parts += [f"**{table.name.capitalize()}**: a row is {table.row}. {hands}{keys}", "",
                  "| column | type | meaning |", "|---|---|---|"]  # fmt: skip
        parts += [
            f"| `{name}` | {kind.replace('?', ', may be left out')} | {meaning} |"
            for name, (kind, meaning) in table.columns.items()
        ]
        parts.append("")
    return "\n".join(parts)
