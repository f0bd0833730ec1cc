"""A Slurm of two nodes on this machine's loopback interface, each with a stand-in for a GPU.

Needs root and Debian's slurmctld, slurmd, slurm-client and munge. Its configuration goes to
/etc/slurm, where the steps of a job look for it, and never over one that is not ours.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

CONF, MARK = Path("/etc/slurm/slurm.conf"), "# two nodes for the tests of White Bear"
NODES = {"n1": (17001, "/dev/null"), "n2": (17002, "/dev/zero")}
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")


def why_not() -> str:
    """What keeps a cluster from being started here; "" where nothing does."""
    if os.name != "posix" or os.geteuid() != 0:
        return "a cluster for tests is started by root"
    path = f"{os.environ['PATH']}:/usr/sbin"
    if missing := [name for name in PROGRAMS if shutil.which(name, path=path) is None]:
        return f"{missing[0]} is missing: apt-get install slurmctld slurmd slurm-client munge"
    if CONF.exists() and not CONF.read_text().startswith(MARK):
        return f"{CONF} is that of another cluster"
    return ""


def configuration(state: Path) -> str:
    host = socket.gethostname()
    lines = [
        MARK, "ClusterName=whitebear", f"SlurmctldHost={host}(127.0.0.1)", "SlurmctldPort=16817",
        "SlurmUser=root", "SlurmdUser=root", "AuthType=auth/munge", "CryptoType=crypto/munge",
        f"StateSaveLocation={state}/saved", f"SlurmdSpoolDir={state}/spool-%n",
        f"SlurmctldPidFile={state}/slurmctld.pid", f"SlurmdPidFile={state}/slurmd-%n.pid",
        f"SlurmctldLogFile={state}/slurmctld.log", f"SlurmdLogFile={state}/slurmd-%n.log",
        "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "SwitchType=switch/none",
        "MpiDefault=none", "JobAcctGatherType=jobacct_gather/none",
        "AccountingStorageType=accounting_storage/none", "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core", "GresTypes=gpu", "KillWait=2", "MinJobAge=600",
        "ReturnToService=2", "SchedulerParameters=sched_interval=2,bf_interval=2",
    ]  # fmt: skip
    for name, (port, _) in NODES.items():
        lines.append(f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1"
                     " RealMemory=2000 Gres=gpu:1")  # fmt: skip
    lines.append(f"PartitionName=test Nodes={','.join(NODES)} Default=YES MaxTime=60 State=UP")
    return "\n".join(lines) + "\n"


class Cluster:
    """The two nodes; `with Cluster(folder) as cluster:`. Everything that it started ends, too."""

    def __init__(self, state: Path):
        self.state, self.processes = state, {}
        self.environment = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}

    def __enter__(self):
        (self.state / "saved").mkdir(parents=True)
        CONF.parent.mkdir(exist_ok=True)
        CONF.write_text(configuration(self.state))
        gres = [f"NodeName={name} Name=gpu File={file}" for name, (_, file) in NODES.items()]
        (CONF.parent / "gres.conf").write_text("\n".join(gres) + "\n")
        for folder in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
            Path(folder).mkdir(exist_ok=True)
            shutil.chown(folder, "munge", "munge")
        os.chmod("/run/munge", 0o755)
        if subprocess.run(["munge", "-n"], capture_output=True).returncode:
            self.start("munge", "runuser", "-u", "munge", "--", "munged", "--foreground")
        self.start_controller()
        for name in NODES:
            self.start_node(name)
        self.wait_for(
            lambda: self.says("sinfo", "-hN", "-t", "idle", "-o", "%N").split() == ["n1", "n2"]
        )
        return self

    def __exit__(self, *_):
        self.says("scancel", "--user", "root")
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()
        CONF.unlink()
        (CONF.parent / "gres.conf").unlink()

    def start(self, name: str, *call: str) -> None:
        log = (self.state / f"{name}.out").open("a")
        self.processes[name] = subprocess.Popen(
            call, stdout=log, stderr=log, env=self.environment, start_new_session=True
        )

    def start_controller(self) -> None:
        self.start("slurmctld", "slurmctld", "-D")

    def start_node(self, name: str) -> None:
        self.start(name, "slurmd", "-D", "-N", name)

    def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes.pop(name).wait()

    def says(self, *call: str) -> str:
        done = subprocess.run(call, capture_output=True, text=True, env=self.environment)
        return done.stdout.strip()

    def running(self) -> list[str]:
        """Ids of the jobs that run, the oldest first."""
        return sorted(self.says("squeue", "-h", "-t", "R", "-o", "%i").split(), key=int)

    @staticmethod
    def wait_for(true, seconds: float = 300) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"waited {seconds} s in vain"
            time.sleep(0.3)
