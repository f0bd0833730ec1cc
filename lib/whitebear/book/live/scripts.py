"""The scripts of the live page: written as modules, handed out as classic scripts.

A browser that opens the book from a folder loads no module, starts no worker by its address and
fetches nothing. Classic scripts do load, so everything comes as one: the page's modules joined, the
worker's as a text to make it from, and what is binary as gzip in base64.
"""

import base64
import gzip
import json
import re
from pathlib import Path

from whitebear.book.live.examples import SENTENCES
from whitebear.files import RESULTS, read_parquet, write_text
from whitebear.prompts.concepts import load_concepts
from whitebear.prompts.wordings import load_wordings

PAGE = ("words", "tally", "watch", "model", "lanes", "inside", "save", "page")
ENGINE = ("noise", "schedule", "tokenise", "judge", "draw", "worker")
LIBRARIES = ("ort.js", "tokenizers.js")  # of others, in book/_static/vendor
EVERY_WORDING = "04_every_wording.parquet"
RUNTIME = "ort-wasm-simd-threaded.wasm.gz"
FIRST = ("engine", "runtime", "facts", "shipped-text", "decoder", "detector", "shipped-denoiser")
TAUGHT = ("taught-text", "taught-denoiser")  # loaded when the reader asks for that model


def write(root: Path, parts: Path, target: Path) -> None:
    """Write page.js and NAME.js of every part into the folder `target`.

    root: of the repository, with book/live and book/_static/vendor; parts: of `graphs.graphs`.
    """
    target.mkdir(parents=True, exist_ok=True)
    vendor, sources = root / "book/_static/vendor", root / "book/live"
    engine = "\n".join([*(_text(vendor / name) for name in LIBRARIES), joined(sources, ENGINE)])
    packed = {"engine": gzip.compress(engine.encode(), mtime=0)}
    packed["runtime"] = (vendor / RUNTIME).read_bytes()
    packed |= {path.stem: path.read_bytes() for path in sorted(parts.glob("*.gz"))}
    sizes = {}
    for name, content in packed.items():
        text = base64.b64encode(content).decode()
        path = write_text(target / f"{name}.js", f'whiteBear("{name}", "{text}");\n')
        sizes[name] = path.stat().st_size
    known = {"first": FIRST, "taught": TAUGHT, "sizes": sizes, "sentences": SENTENCES}
    known |= {"world": world(), "wordings": wordings()}
    known = json.dumps(known, separators=(",", ":"))
    page = slim(joined(sources, PAGE))
    write_text(target / "page.js", f"(() => {{\nconst BOOK = {known};\n{page}\n}})();\n")


def joined(folder: Path, names: tuple[str, ...]) -> str:
    """Modules one after the other as one script, without what joins them when they are apart.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = folder.joinpath("a.js").write_text('export const one = 1;')
    >>> _ = folder.joinpath("b.js").write_text('import { one } from "./a.js";\\nshow(one);')
    >>> print(joined(folder, ("a", "b")))
    const one = 1;
    show(one);
    """
    text = "\n".join(_text(folder / f"{name}.js").rstrip() for name in names)
    text = re.sub(r'^import [^;]* from "\./\w+\.js";\n', "", text, flags=re.MULTILINE)
    return re.sub(r"^export ", "", text, flags=re.MULTILINE)


def slim(text: str) -> str:
    """A script without comments that have lines of their own, indentation and empty lines.

    No text in the page's modules goes over several lines, where these would mean something.

    >>> print(slim("/** Two\\n * lines. */\\nf(() => {\\n  // one\\n\\n  g(); // kept\\n});\\n"))
    f(() => {
    g(); // kept
    });
    <BLANKLINE>
    """
    text = re.sub(r"^\s*/\*\*.*?\*/\n", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^\s*//.*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^\s+", "", text, flags=re.MULTILINE)


def world() -> dict[str, list[str]]:
    """What the model knows, as prompts call it: kind -> nouns."""
    found: dict[str, list[str]] = {}
    for concept in load_concepts().concepts:
        found.setdefault(concept.kind, []).append(concept.noun)
    return found


def wordings(results: Path = RESULTS) -> list[dict]:
    """The wordings about objects, each with the text of its control ("" is none), and how often it
    showed its object in the published run: rate, of n pictures."""
    known = load_wordings().set_index("id")
    scores = read_parquet(results / EVERY_WORDING, columns=["wording", "present"])
    found = scores.groupby("wording").present.agg(rate="mean", n="size").round(4)
    chosen = known[(known.kind == "object") & known.index.isin(found.index)]
    chosen = chosen[~chosen.text.str.contains("{d}", regex=False)]
    return [
        {"text": row.text, "control": known.text.get(row.control, "")} | found.loc[name].to_dict()
        for name, row in chosen.iterrows()
    ]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
