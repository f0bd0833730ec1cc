"""A sweep on a real Slurm of two nodes, with what goes wrong on clusters (`make cluster-test`).

The first four chunks go to a disk that is too small for them. Then the plan grows to 2 x 12 chunks
of the pocket model, with a job cancelled, one killed, the controller killed, a node lost, and the
sweep itself killed. In the end the rows are those of the local loop, bit for bit.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pandas as pd
import pytest
import slurm
import yaml

from whitebear.draw.grid import Run, run_grid
from whitebear.files import ROOT, markdown_table
from whitebear.sweep.folder import Mark, is_done, read_plan_of
from whitebear.sweep.status import states

pytest.importorskip("snakemake", reason='pip install ".[sweep]"')
if reason := slurm.why_not():
    pytest.skip(reason, allow_module_level=True)

HERE = ROOT / "tests" / "cluster"
CONCEPTS = ["bear", "cat", "owl", "rabbit", "fish", "car", "house", "tree", "cup", "umbrella",
            "guitar", "balloon"]  # fmt: skip
BATCH = 64  # of the pocket model: what may be made twice where a job is killed
FEW, SMALL, LARGE = 4, "700k", "200m"  # chunks, and disks
PATIENCE = 600  # seconds, on a machine that has other things to do


class Sweep:
    """The plan, its folder on a disk of its own, and the command, as often as it is given."""

    def __init__(self, place):
        self.disk, self.drawn = place / "disk", place / "drawn.txt"
        self.disk.mkdir()
        self.drawn.touch()
        self.folder, self.plan = self.disk / "sweep", place / "plan.yml"

    def plans(self, concepts: list[str], interventions: dict) -> None:
        self.plan.write_text(yaml.safe_dump({
            "output": str(self.folder), "models": {"pocket": {"steps": 1}}, "concepts": concepts,
            "conditions": ["affirm"], "seeds": 1, "interventions": interventions,
            "keep_images": 1, "group": 4,
        }))  # fmt: skip

    def start(self, *more: str) -> subprocess.Popen:
        path = f"{HERE / 'drawn'}:{ROOT / 'lib'}"
        env = os.environ | {"PYTHONPATH": path, "DRAWN": str(self.drawn), "OMP_NUM_THREADS": "1",
                            "PATH": f"{os.environ['PATH']}:/usr/sbin"}  # fmt: skip
        call = [sys.executable, "-m", "whitebear", "sweep", str(self.plan), "--profile",
                str(HERE / "profile"), *more]  # fmt: skip
        return subprocess.Popen(call, env=env, start_new_session=True, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip

    def parts(self):
        return read_plan_of(self.folder)["parts"]

    def done(self) -> int:
        return sum(is_done(self.folder, part) for part in self.parts())

    def at_work(self) -> list[int]:
        """Ids of the processes that are making a part at this moment."""
        found = [Mark(self.folder, part).state() for part in self.parts()]
        return [said["pid"] for state, said in found if state == "running" and "pid" in said]

    def twice(self) -> int:
        return sum(n - 1 for n in Counter(self.drawn.read_text().splitlines()).values())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm.Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def disk(tmp_path):
    sweep = Sweep(tmp_path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "sweep", sweep.disk], check=True)
    yield sweep
    subprocess.run(["umount", "--lazy", sweep.disk], check=True)


def local_loop(output) -> pd.DataFrame:
    """The same rows, made here by `run_grid`."""
    found = []
    for acting, strength in (("none", None), ("weigh", 0.0)):
        run = Run("pocket", CONCEPTS, ["affirm"], 1, 1, 4.0, str(output), acting, strength)
        rows = run_grid(run, progress=False).drop(columns="png")
        found.append(rows.assign(intervention=acting, strength=strength))
    return pd.concat(found, ignore_index=True)


def faults(cluster, sweep, first):
    """What goes wrong while a sweep runs: (name, what to do, what is seen of it)."""

    def cancel():
        before = sweep.at_work()
        cluster.says("scancel", cluster.running()[0])
        cluster.wait_for(lambda: set(before) - set(sweep.at_work()))

    def kill_step():
        os.kill(sweep.at_work()[0], signal.SIGKILL)

    def restart_controller():
        cluster.kill("slurmctld")
        time.sleep(2)
        cluster.start_controller()

    def lose_node():
        cluster.kill("n2")
        cluster.says("scontrol", "update", "nodename=n2", "state=down", "reason=lost")
        time.sleep(2)
        cluster.start_node("n2")
        cluster.says("scontrol", "update", "nodename=n2", "state=resume")

    def kill_sweep():
        os.killpg(first.pid, signal.SIGKILL)

    return [("a job cancelled (scancel)", cancel), ("a step killed (kill -9)", kill_step),
            ("the controller killed, started again", restart_controller),
            ("a node lost, and back", lose_node),
            ("the sweep itself killed (kill -9)", kill_sweep)]  # fmt: skip


def whole(sweep) -> bool:
    """Whether every file in the dataset can be read to its end."""
    return all(len(pd.read_parquet(path)) for path in (sweep.folder / "dataset").glob("*/*/*"))


def test_rows_are_those_of_the_local_loop_whatever_goes_wrong(cluster, disk, tmp_path, capfd):
    table = []

    def note(fault: str, message: str) -> None:
        assert whole(disk)
        table.append((fault, f"{disk.done()} of {len(disk.parts())}", str(disk.twice()), message))
        with capfd.disabled():
            print(f"{time.monotonic() - began:5.0f} s  {' | '.join(table[-1])}", flush=True)

    disk.plans(CONCEPTS[:FEW], {"none": []})
    began, small = time.monotonic(), disk.start("--", "--retries", "0")
    said = small.communicate(timeout=PATIENCE)[0]
    assert small.returncode == 2 and "Traceback" not in said, said
    assert "No space left on device" in said, said
    note("the disk is full", said.strip().splitlines()[-1])

    subprocess.run(["mount", "-o", f"remount,size={LARGE}", disk.disk], check=True)
    disk.plans(CONCEPTS, {"none": [], "weigh": [0.0]})
    first, second = disk.start(), None
    for fault, happens in faults(cluster, disk, first):
        cluster.wait_for(lambda: disk.at_work() or first.poll() is not None)
        assert first.poll() is None, f"{fault}: the sweep was over before; {first.communicate()[0]}"
        second = second or disk.start()
        happens()
        note(fault, "")
    refused = second.communicate(timeout=PATIENCE)[0].strip()
    assert second.returncode == 2 and "is being swept by process" in refused, refused
    note("a second sweep at once", refused.splitlines()[-1])

    last = disk.start()
    said = last.communicate(timeout=PATIENCE)[0]
    assert last.returncode == 0, f"{said}\n{states(disk.folder, disk.parts())}"
    note("the same command again", said.strip().splitlines()[-1])
    assert disk.done() == 24 and disk.twice() <= BATCH * len(table)
    assert len(list((disk.folder / "dataset").rglob("*.*"))) == 24
    lines = set(disk.drawn.read_text().splitlines())

    collected = subprocess.run([sys.executable, "-m", "whitebear", "sweep", disk.plan, "--collect"],
                               capture_output=True, text=True)  # fmt: skip
    assert collected.returncode == 0, collected.stderr
    found = pd.read_parquet(disk.folder / "scores.parquet")
    wanted = local_loop(tmp_path / "local")
    assert len(found) == len(wanted) == len(lines)
    pd.testing.assert_frame_equal(
        found[sorted(found)], wanted[sorted(wanted)], check_dtype=False, check_exact=True
    )
    assert json.loads((disk.folder / "manifest.json").read_text())["complete"]
    with capfd.disabled():
        print("\n" + markdown_table(("fault", "files done then", "pictures made twice so far",
                                     "said"), table))  # fmt: skip
