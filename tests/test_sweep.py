"""A sweep without its engine: the plan, jobs, what is kept, and what is said about it."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from whitebear.draw import artist as artist_module
from whitebear.draw.grid import Run, run_grid
from whitebear.errors import UserError
from whitebear.files import ROOT
from whitebear.sweep import command, engine, job as job_module
from whitebear.sweep.collect import collect, write_manifest
from whitebear.sweep.engine import check_folder, jobs_of, profile_folder, swept
from whitebear.sweep.estimate import estimate
from whitebear.sweep.folder import Mark, Part, write_plan
from whitebear.sweep.job import one_gpu, run_job
from whitebear.sweep.plan import read_plan
from whitebear.sweep.status import report, states

CONCEPTS = ["bear", "garbage truck", "owl"]
GOOD = {
    "output": "sweep", "models": {"pocket": {}}, "concepts": ["bear", "owl"],
    "conditions": ["affirm"], "seeds": 2, "interventions": {"none": [], "weigh": [0.0, 0.5]},
}  # fmt: skip


def written(folder: Path, **changes) -> Path:
    path = folder / "plan.yml"
    path.write_text(yaml.safe_dump(GOOD | changes), encoding="utf-8")
    return path


# --- the plan -------------------------------------------------------------------------------------


def test_a_plan_makes_a_part_of_each_model_intervention_strength_and_concept(tmp_path):
    plan = read_plan(written(tmp_path))
    assert plan.models == {"pocket": (20, 4.0)} and plan.seeds == (0, 1)
    told = [(p.intervention, p.strength, p.concept) for p in plan.parts]
    runs = [("none", 0.0), ("weigh", 0.0), ("weigh", 0.5)]
    assert told == [(*run, concept) for run in runs for concept in ("bear", "owl")]
    assert len({part.path for part in plan.parts}) == 6
    assert plan.parts[2].path.startswith("dataset/model=pocket/intervention=weigh/bear-")
    again = read_plan(written(tmp_path, seeds=3))
    assert not {part.path for part in plan.parts} & {part.path for part in again.parts}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": {"pockte": {}}}, "unknown model 'pockte'; did you mean pocket"),
        ({"models": {"pocket": {"step": 3}}}, "give {steps: 20, guidance: 4.0}"),
        ({"models": {"pocket": {"steps": 2.5}}}, "steps is 2.5; give a whole number"),
        ({"models": ["pocket"]}, "models is .*; give a line a name"),
        ({"models": {}}, "models is {}; give a line a name"),
        ({"models": {1: {}}}, "model is 1; give a name"),
        ({"concepts": ["baer"]}, "unknown concept 'baer'; did you mean bear"),
        ({"concepts": ["bear", "bear"]}, "concepts names something twice"),
        ({"concepts": "bear"}, "concepts is 'bear'; give a list of names"),
        ({"concepts": None}, "concepts is None; give a list of names"),
        ({"conditions": ["afirm"]}, "afirm"),
        ({"conditions": []}, "condition"),
        ({"conditions": ["affirm", "affirm"]}, "conditions names something twice"),
        ({"seeds": 0}, "seeds is 0"),
        ({"seeds": 10**9}, "give at most 100000"),
        ({"seeds": [1, 1]}, "seeds is"),
        ({"seeds": True}, "seeds is True"),
        ({"interventions": {"wiegh": []}}, "unknown intervention 'wiegh'; did you mean weigh"),
        ({"interventions": {"weigh": ["much"]}}, "strength is 'much'; weigh takes"),
        ({"interventions": {"weigh": [float("nan")]}}, "strength is nan; weigh takes"),
        ({"interventions": {"weigh": [0, 0.0]}}, "weigh has a strength twice"),
        ({"interventions": {"weigh": 0.5}}, "weigh is 0.5; give a list of strengths"),
        ({"interventions": {}}, "interventions is {}"),
        ({"keep_images": -1}, "keep_images is -1"),
        ({"group": 0}, "group is 0; give a whole number of at least 1"),
        ({"output": ""}, "output is ''; give the path of a folder"),
        ({"outptu": "x"}, "unknown key 'outptu'; did you mean output"),
    ],
)
def test_a_bad_plan_is_refused_in_one_line_before_anything_is_written(changes, said, tmp_path):
    plan = written(tmp_path, **changes)
    with pytest.raises(UserError, match=said) as refused:
        read_plan(plan)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == [plan]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it needs output, models"),
        ("[1, 2]", "it needs output, models"),
        ("output: x", "lacks models"),
        ("models: {pocket: {}, pocket: {}}", "has 'pocket' twice"),
        ("a: &a [x]\nb: *a", "uses . of YAML"),
        ("a: [", "is not YAML"),
        ("a: !!python/object:os.system x", "is not YAML"),
        ("a: 2026-99-99", "is not YAML"),
        ("? [1]\n: 2", "is not YAML|unknown key"),
        ("[" * 5000, "nested too deeply|is not YAML"),
        ("\0", "is not YAML"),
    ],
)
def test_a_file_that_is_no_plan(text, said, tmp_path):
    (tmp_path / "plan.yml").write_text(text)
    with pytest.raises(UserError, match=said):
        read_plan(tmp_path / "plan.yml")


def test_a_file_that_is_not_there_or_too_large(tmp_path):
    for path in (tmp_path / "none.yml", tmp_path):
        with pytest.raises(UserError, match="cannot be read .*; give a file"):
            read_plan(path)
    (tmp_path / "large.yml").write_bytes(b"a" * 1_000_001)
    with pytest.raises(UserError, match="larger than a megabyte"):
        read_plan(tmp_path / "large.yml")


def test_a_judge_that_learns_from_plain_pictures_wants_them(tiny_pipeline_dir, tmp_path):
    plan = written(tmp_path, models={str(tiny_pipeline_dir): {}}, interventions={"weigh": []})
    with pytest.raises(UserError, match="add none: .* to interventions"):
        read_plan(plan)


# --- jobs -----------------------------------------------------------------------------------------


def started(plan_path: Path, pilot: bool = False):
    """The folder, parts and jobs of a plan, as the command leaves them to the engine."""
    plan = read_plan(plan_path)
    plan.output.mkdir(exist_ok=True)
    jobs = jobs_of(plan.output, plan.parts, plan.group, pilot)
    write_plan(plan.output, plan.said(), "these", plan.parts, jobs)
    return plan, jobs


@pytest.fixture
def tiny(tiny_pipeline_dir, tmp_path):
    """A plan of 6 parts for a random model, in jobs of three."""
    return written(
        tmp_path, output=str(tmp_path / "sweep"), models={str(tiny_pipeline_dir): {"steps": 1}},
        concepts=CONCEPTS, interventions={"none": [], "weigh": [0.0]}, group=3, keep_images=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def done(tiny_pipeline_dir, tmp_path_factory):
    """Such a sweep, made; how often a model was loaded by each job."""
    tmp_path, loads = tmp_path_factory.mktemp("swept"), []
    with pytest.MonkeyPatch.context() as patch:
        real = artist_module.load_pipeline
        patch.setattr(artist_module, "load_pipeline", lambda *a: loads.append(a[0]) or real(*a))
        patch.setattr("whitebear.draw.grid._LOADED", {})
        plan, jobs = started(written(
            tmp_path, output=str(tmp_path / "sweep"),
            models={str(tiny_pipeline_dir): {"steps": 1}}, concepts=CONCEPTS,
            interventions={"none": [], "weigh": [0.0]}, group=3, keep_images=1,
        ))  # fmt: skip
        counts = []
        for name in jobs:
            run_job(plan.output, name)
            counts.append(len(loads) - sum(counts))
    return plan, jobs, counts


def test_a_job_loads_its_model_once(done):
    _, jobs, counts = done
    assert [len(paths) for paths in jobs.values()] == [1, 2, 3]  # the first is the pilot
    assert counts == [1, 0, 1]  # in one process; the second finds what the first has loaded


def test_rows_are_bit_for_bit_those_of_the_local_loop(done, tmp_path):
    plan, *_ = done
    found = pd.read_parquet(collect(plan.output))
    (model, (steps, guidance)), wanted = next(iter(plan.models.items())), []
    for acting, strength in (("none", None), ("weigh", 0.0)):
        run = Run(model, CONCEPTS, list(plan.conditions), 2, steps, guidance,
                  str(tmp_path), acting, strength)  # fmt: skip
        rows = run_grid(run, progress=False).drop(columns="png")
        wanted.append(rows.assign(intervention=acting, strength=strength))
    wanted = pd.concat(wanted, ignore_index=True)
    pd.testing.assert_frame_equal(
        found[sorted(found)], wanted[sorted(wanted)], check_dtype=False, check_exact=True
    )
    assert len(found) == sum(part.rows for part in plan.parts)


def test_the_dataset_reads_as_it_lies(done):
    plan, *_ = done
    files = sorted((plan.output / "dataset").rglob("*.*"))
    assert len(files) == 6 and len({pq.read_schema(path).remove_metadata() for path in files}) == 1
    rows = pd.read_parquet(plan.output / "dataset")
    assert set(rows.intervention) == {"none", "weigh"} and set(rows.model) == set(plan.models)
    assert rows[rows.intervention == "none"].strength.isna().all()
    assert rows[rows.seed == 0].png.notna().all() and rows[rows.seed == 1].png.isna().all()
    duckdb = pytest.importorskip("duckdb")
    query = f"select intervention, count(*) from '{plan.output}/dataset/*/*/*.parquet' group by 1"
    assert dict(duckdb.sql(query).fetchall()) == rows.groupby("intervention").size().to_dict()


def test_the_manifest_says_what_every_part_is(done):
    plan, *_ = done
    write_manifest(plan.output)
    first = (plan.output / "manifest.json").read_bytes()
    said = json.loads(first)
    assert said["complete"] and said["plan"] == json.loads(json.dumps(plan.said()))
    assert set(said["parts"]) == {part.path for part in plan.parts}
    assert all(len(part["sha256"]) == 64 for part in said["parts"].values())
    assert set(said["revisions"]) == set(plan.models)
    write_manifest(plan.output)
    assert (plan.output / "manifest.json").read_bytes() == first


@pytest.fixture
def copy(done, tmp_path):
    """The finished sweep again, to be spoilt."""
    plan, *_ = done
    shutil.copytree(plan.output, tmp_path / "copy")
    return tmp_path / "copy", plan.parts


def test_one_flipped_bit_is_refused_and_named(copy):
    folder, parts = copy
    path = folder / parts[3].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"part .*{parts[3].stem}.* is corrupt"):
        collect(folder)


def test_what_is_lost_or_cut_is_made_again_from_what_is_kept_to_the_same_byte(copy, monkeypatch):
    folder, parts = copy
    before = {part: (folder / part.path).read_bytes() for part in parts}
    (folder / parts[0].path).unlink()
    (folder / parts[1].path).write_bytes(before[parts[1]][:100])
    (folder / "receipts" / f"{parts[2].stem}.json").write_text("{")
    with pytest.raises(UserError, match="1 of 6 parts are missing"):
        collect(folder)
    left = jobs_of(folder, parts, 3, pilot=False)
    assert sorted(sum(left.values(), [])) == sorted(part.path for part in parts[:3])
    about = json.loads((folder / "plan.json").read_text())
    write_plan(folder, about["plan"], "these", parts, left)
    monkeypatch.setattr(artist_module, "generate_batches", None)  # no picture is made
    for name in left:
        run_job(folder, name)
    assert {part: (folder / part.path).read_bytes() for part in parts} == before
    collect(folder)


def test_parts_of_two_plans_are_not_mixed(copy):
    folder, parts = copy
    check_folder(folder, parts)
    with pytest.raises(UserError, match="has 2 parts that this plan does not make"):
        check_folder(folder, parts[2:])


def test_a_part_that_cannot_be_made_keeps_no_other_from_being_made(tiny, monkeypatch, capsys):
    plan, jobs = started(tiny)
    real = job_module._make

    def full(folder, about, part, *rest, **more):
        if part.concept == "owl":
            raise OSError(28, "No space left on device")
        real(folder, about, part, *rest, **more)

    monkeypatch.setattr(job_module, "_make", full)
    name = list(jobs)[1]
    with pytest.raises(UserError, match="1 of 2 parts could not be made; .*owl: No space left"):
        run_job(plan.output, name)
    assert "owl: No space left on device; make room" in capsys.readouterr().err
    found = states(plan.output, plan.parts)
    assert [part.concept for part, _ in found["done"]] == ["garbage truck"]
    ((part, why),) = found["failed"]
    assert part.concept == "owl" and "No space left" in why and f"logs/{name}.log" in why
    assert len(found["missing"]) == 4 and not found["running"]
    assert "owl: OSError(28, 'No space left on device')" in report(plan.output)
    monkeypatch.setattr(job_module, "_make", real)
    run_job(plan.output, name)
    assert not (plan.output / "marks" / f"{part.stem}.json").exists()


def test_a_machine_with_other_versions_says_so(tiny, monkeypatch):
    plan, jobs = started(tiny, pilot=True)
    monkeypatch.setattr("whitebear.draw.artist.VERSIONS", ("torch 1.0",))
    with pytest.raises(UserError, match="has torch .*, the plan was made with these.* install the"):
        run_job(plan.output, next(iter(jobs)))
    assert not list(plan.output.glob("dataset/**/*.parquet"))


def test_who_works_on_a_part_and_who_was_killed(tiny):
    plan, _ = started(tiny)
    part = plan.parts[0]
    mark = Mark(plan.output, part)
    assert mark.state() == ("", {})
    with mark.held("a_job") as begun:
        assert not begun
        state, said = mark.state()
        assert state == "running" and said["pid"] == os.getpid() and said["job"] == "a_job"
        ((_, why),) = states(plan.output, plan.parts)["running"]
        assert f"process {os.getpid()} of " in why
        left = mark.path.read_bytes()
    assert mark.state() == ("", {})
    mark.path.write_bytes(left)  # as a kill leaves it: the lock went with its process
    ((_, why),) = states(plan.output, plan.parts)["failed"]
    assert why == "killed while it was made (logs/a_job.log)"
    with mark.held("again") as begun:
        assert begun


def test_a_second_sweep_of_the_folder_is_one_line(tmp_path):
    with swept(tmp_path) as handle:
        engine._sign(handle, 123)
        with pytest.raises(UserError, match="is being swept by process 123 of .*; wait for it"):
            swept(tmp_path).__enter__()
    with swept(tmp_path):
        pass


def test_a_job_takes_a_gpu_that_no_other_has(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with one_gpu(tmp_path):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
        with one_gpu(tmp_path):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")  # as a cluster gives it
    with one_gpu(tmp_path):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"


# --- what it takes --------------------------------------------------------------------------------


def test_the_estimate_tells_loading_from_drawing(tmp_path):
    parts = [Part("pocket", 20, 4.0, f"c{i}", "none", 0.0, 100, f"dataset/{i}.parquet")
             for i in range(8)]  # fmt: skip
    assert "known when the first part" in str(estimate(tmp_path, parts, 4))
    (tmp_path / "receipts").mkdir()

    def made(i: int, seconds: float, warm: bool, begun: bool = False) -> None:
        said = {"seconds": seconds, "warm": warm, "begun": begun, "bytes": 1000, "device": "cuda"}
        (tmp_path / "receipts" / f"{i}.json").write_text(json.dumps(said))

    made(0, 60.0, warm=False)
    first = estimate(tmp_path, parts, 4)
    assert first.hours == pytest.approx(8 * 60 / 3600) and first.size == 8000
    made(1, 50.0, warm=True)
    made(2, 1.0, warm=True, begun=True)  # was interrupted: tells nothing
    then = estimate(tmp_path, parts, 4)
    assert then.hours == pytest.approx((8 * 50 + 2 * 10) / 3600)
    assert then.saved == pytest.approx(6 * 10 / 3600) and then.measured == 200
    assert "GPU-hours" in str(then)


# --- the command ----------------------------------------------------------------------------------


def test_without_the_engine_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        command.main([str(written(tmp_path))])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said == f"error: {engine.INSTALL}\n" and 'pip install ".[sweep]"' in said


def test_what_follows_two_hyphens_is_for_the_engine(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(command, "check_engine", lambda: None)
    monkeypatch.setattr(command, "sweep", lambda *given: told.extend(given) or True)
    monkeypatch.setattr(command, "write_manifest", lambda folder: None)
    command.main([str(written(tmp_path)), "--pilot", "--", "--cores", "4"])
    assert told[-2:] == [True, ["--cores", "4"]]
    assert "--cores" in engine.command(tmp_path, profile_folder("local"), told[-1])


def test_status_and_collect_of_a_folder_that_is_none(tmp_path, capsys):
    for what in ("--status", "--collect"):
        with pytest.raises(SystemExit):
            command.main([str(tmp_path), what])
        assert "holds no sweep; start one" in capsys.readouterr().err


def test_profiles_are_found_by_name_or_folder(tmp_path):
    names = {path.name for path in (ROOT / "workflow" / "profiles").iterdir()}
    assert names == {"local", "gpus", "slurm", "kubernetes"}
    for name in names:
        assert yaml.safe_load((profile_folder(name) / "config.yaml").read_text())["executor"]
    with pytest.raises(UserError, match="no profile 'slrum'; use gpus, kubernetes, local, slurm"):
        profile_folder("slrum")
    (tmp_path / "config.yaml").touch()
    assert profile_folder(str(tmp_path)) == tmp_path
