"""The plan of a sweep: models x concepts x interventions, refused in one line before it starts.

output: _build/sweep
models:
  pocket: {steps: 20, guidance: 4.0} # {}: what the model's authors recommend
concepts: [bear, owl] # []: every object of the world
conditions: [affirm, omit, forget_then_request]
seeds: 64 # a count, or a list of ids
interventions:
  none: [] # []: its usual strength
  weigh: [0.0, 0.5]
keep_images: 4 # PNGs of the first seeds of every wording; may be left out
group: 8 # chunks that a job makes with one model that it has loaded; may be left out
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from urllib.parse import quote

import yaml

from whitebear.draw.artist import Artist
from whitebear.draw.grid import ChunkSpec, decided_by
from whitebear.errors import UserError, nearest
from whitebear.files import as_path, digest
from whitebear.interventions import find_method
from whitebear.models.presets import REGISTRY
from whitebear.prompts import check_concepts, check_seeds, load_concepts, prompt_grid
from whitebear.sweep.folder import Part, plain

NEEDED = ("output", "models", "concepts", "conditions", "seeds", "interventions")
KNOWN = (*NEEDED, "keep_images", "group")
LARGEST = 1_000_000  # bytes of a plan
MOST_SEEDS = 100_000


@dataclass(frozen=True)
class Plan:
    """What a file says, checked. models: name -> steps and guidance; interventions: name ->
    strengths, as numbers."""

    output: Path
    models: dict[str, tuple[int, float]]
    concepts: tuple[str, ...]
    conditions: tuple[str, ...]
    seeds: tuple[int, ...]
    interventions: dict[str, tuple[float, ...]]
    keep_images: int = 4
    group: int = 8

    def said(self) -> dict:
        """What decides rows and jobs, as JSON can say it."""
        sampling = {name: {"steps": s, "guidance": g} for name, (s, g) in self.models.items()}
        acting = {name: list(strengths) for name, strengths in self.interventions.items()}
        return {
            "models": sampling, "concepts": list(self.concepts),
            "conditions": list(self.conditions), "seeds": list(self.seeds),
            "interventions": acting, "keep_images": self.keep_images, "group": self.group,
        }  # fmt: skip

    @cached_property
    def parts(self) -> list[Part]:
        """A part for each chunk: model by model, intervention by intervention, as a local loop
        over `Run` would come to them. Models are fetched, and checked, on the way."""
        return [
            self._part(model, concept, intervention, strength)
            for model in self.models
            for intervention, strengths in self.interventions.items()
            for strength in strengths
            for concept in self._names(model)
        ]

    def _names(self, model: str) -> list[str]:
        return check_concepts(self.concepts, load_concepts(), free=not Artist(model).pocket)

    def _part(self, model: str, concept: str, intervention: str, strength: float) -> Part:
        steps, guidance = self.models[model]
        spec = ChunkSpec(
            model, concept, self.conditions, self.seeds, steps, guidance, "", self.keep_images,
            intervention, strength,
        )  # fmt: skip
        rows, path = part_of(spec)
        return Part(model, steps, guidance, concept, intervention, strength, rows, path)


def part_of(spec: ChunkSpec) -> tuple[int, str]:
    """Rows of a chunk, and the path of its part below the sweep's folder, whose name carries a
    digest of everything that decides its content. The folders say model and intervention, as
    readers of partitioned datasets expect (Hive's key=value, percent-encoded)."""
    concept, conditions, seeds = spec.concept, spec.conditions, spec.seeds
    n, rows = _rows(concept, conditions, seeds, not Artist(spec.model).pocket)
    name = f"{plain(concept)}-{digest(decided_by(spec), spec.keep_images, rows)}.parquet"
    model, acting = quote(spec.model, safe=""), quote(spec.intervention, safe="")
    return n, f"dataset/model={model}/intervention={acting}/{name}"


@lru_cache(maxsize=4096)  # the same under every model and intervention
def _rows(concept: str, conditions: tuple, seeds: tuple, free: bool) -> tuple[int, str]:
    table = prompt_grid([concept], conditions, list(seeds), free=free)
    return len(table), digest(*table.to_dict("list").values())


def read_plan(path: str | Path) -> Plan:
    """The plan in a YAML file. Raises `UserError`, in one line, for whatever could not be done:
    unknown or missing keys, names and strengths, wrong types, anything twice or empty."""
    said = _read(as_path(path))
    for key in said:
        if key not in KNOWN:
            raise UserError(f"plan {path} has the unknown key {key!r}; {nearest(key, KNOWN)}")
    for key in NEEDED:
        if key not in said:
            raise UserError(f"plan {path} lacks {key}; it needs {', '.join(NEEDED)}")
    output = said["output"]
    if not isinstance(output, str) or not output.strip() or "\0" in output:
        raise UserError(f"output is {_shown(output)}; give the path of a folder")
    sampling = {name: _sampling(name, value) for name, value in _mapping(said, "models")}
    models = {_model(name): values for name, values in sampling.items()}
    if len(models) < len(sampling):
        raise UserError("models names a folder twice; name each once")
    concepts, conditions = _names(said, "concepts"), _names(said, "conditions")
    plan = Plan(
        as_path(output), models, concepts, conditions, _seeds(said["seeds"]),
        {name: _strengths(name, value) for name, value in _mapping(said, "interventions")},
        _whole(said, "keep_images", 4, 0), _whole(said, "group", 8, 1),
    )  # fmt: skip
    _check_together(plan)
    return plan


def _check_together(plan: Plan) -> None:
    """The prompts of every kind of model, and what its judge needs."""
    for model in plan.models:
        free = not Artist(model).pocket
        prompt_grid(plan.concepts, plan.conditions, [0], free=free)
        if free and "none" not in plan.interventions:
            raise UserError(
                f"the judge of {model} is calibrated on pictures without an intervention; add"
                " none: [] to interventions"
            )


class _Loader(yaml.SafeLoader):
    """YAML in which nothing stands twice and nothing refers to something else."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise UserError(f"the plan has {_shown(key)} twice; give it once")
        return super().construct_mapping(node, deep)


def _read(path: Path) -> Mapping:
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"plan {path} is larger than a megabyte; it needs a few lines")
        text = path.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise UserError(f"plan {path} uses * of YAML; write out what it stands for")
        said = yaml.load(text, _Loader)
    except OSError as error:
        raise UserError(f"plan {path} cannot be read ({error.strerror}); give a file") from None
    except RecursionError:
        raise UserError(f"plan {path} is nested too deeply; it needs two levels") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"plan {path} is not YAML: {str(error)[:200]}") from None
    except UserError:
        raise
    except ValueError as error:  # a date that is none
        raise UserError(f"plan {path} is not YAML: {str(error)[:200]}") from None
    if not isinstance(said, dict):
        raise UserError(f"plan {path} is {_shown(said)}; it needs {', '.join(NEEDED)}")
    return said


def _shown(value: object) -> str:
    return repr(value)[:60]


def _mapping(said: Mapping, key: str) -> list[tuple]:
    value = said[key]
    if not isinstance(value, dict) or not value:
        raise UserError(f"{key} is {_shown(value)}; give a line a name, such as pocket: {{}}")
    return list(value.items())


def _names(said: Mapping, key: str) -> tuple[str, ...]:
    names = said[key]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{key} is {_shown(names)}; give a list of names")
    if len(set(names)) < len(names):
        raise UserError(f"{key} names something twice; name each once")
    return tuple(names)


def _model(name: str) -> str:
    """A folder as a job finds it, wherever that runs."""
    known = name in REGISTRY or not as_path(name).is_dir()
    return name if known else str(as_path(name).resolve())


def _sampling(model: str, value: object) -> tuple[int, float]:
    value = {} if value is None else value
    if not isinstance(value, dict) or not set(value) <= {"steps", "guidance"}:
        raise UserError(
            f"model {_shown(model)} has {_shown(value)}; give {{steps: 20, guidance: 4.0}},"
            " one of them, or {}"
        )
    artist = Artist(model, **value)
    artist.judge.fetch()
    artist.folder  # noqa: B018 - both are fetched, and checked, before any work
    return artist.steps, float(artist.guidance)


def _seeds(value: object) -> tuple[int, ...]:
    if isinstance(value, int) and value > MOST_SEEDS:
        raise UserError(f"seeds is {_shown(value)}; give at most {MOST_SEEDS}")
    return tuple(check_seeds(value))


def _strengths(name: str, value: object) -> tuple[float, ...]:
    method = find_method(name)
    value = [None] if value in (None, []) else value
    if not isinstance(value, list):
        raise UserError(f"{name} is {_shown(value)}; give a list of strengths, or []")
    strengths = tuple(method.check(strength) for strength in value)
    if len(set(strengths)) < len(strengths):
        raise UserError(f"{name} has a strength twice; give each once")
    return strengths


def _whole(said: Mapping, key: str, default: int, least: int) -> int:
    value = said.get(key, default)
    if type(value) is not int or value < least:
        raise UserError(f"{key} is {_shown(value)}; give a whole number of at least {least}")
    return value
