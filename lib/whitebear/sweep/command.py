"""A grid past one machine: the chunks of a plan on a cluster, or on all GPUs of a machine.

    python -m whitebear sweep PLAN.yml --pilot            # a chunk of each model: how long?
    python -m whitebear sweep PLAN.yml --profile slurm    # killed and started again, it goes on
    python -m whitebear sweep PLAN.yml --status
    python -m whitebear sweep PLAN.yml --collect          # verify, and join into scores.parquet

What follows `--` is for Snakemake. In place of a plan, --status and --collect take its output.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from whitebear.errors import UserError, exit_on_user_error
from whitebear.sweep.collect import collect, write_manifest
from whitebear.sweep.engine import INSTALL, check_engine, profile_folder, sweep
from whitebear.sweep.job import run_job
from whitebear.sweep.status import report


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """The command; see the module."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", help="a YAML file (book/sweep.md shows one), or a sweep's folder")
    parser.add_argument("--profile", default="local", help="of workflow/profiles, or a folder")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--pilot", action="store_true", help="the first chunk of each model alone")
    what.add_argument("--status", action="store_true", help="done, running, failed, missing")
    what.add_argument("--collect", action="store_true", help="verify all parts and join them")
    what.add_argument("--job", metavar="NAME", help="make the parts of a job, as the engine asks")
    args = parser.parse_args(arguments[:end])
    try:
        _do(args, arguments[end + 1 :])
    except OSError as error:
        place = error.filename or "the sweep's folder"  # writing names no file
        raise UserError(
            f"{place}: {error.strerror}; make room, or mend it, and give the same command again"
        ) from None


def _do(args: argparse.Namespace, more: list[str]) -> None:
    if args.status:
        print(report(folder_of(args.plan)))
    elif args.collect:
        print(f"verified and joined: {collect(folder_of(args.plan))}")
    elif args.job:
        run_job(Path(args.plan), args.job)
    else:
        _sweep(args, more)


def _sweep(args: argparse.Namespace, more: list[str]) -> None:
    check_engine()
    from whitebear.models.load import VERSIONS

    plan = _plan(args.plan)
    folder, profile = plan.output, profile_folder(args.profile)
    said, versions = plan.said(), ", ".join(VERSIONS)
    done = sweep(folder, said, versions, plan.parts, profile, args.pilot, more)
    write_manifest(folder)
    if not done and not args.pilot:
        print(report(folder))
        raise UserError("not all parts are made; mend the reasons above and start it again")


def _plan(path: str):
    try:
        from whitebear.sweep.plan import read_plan
    except ModuleNotFoundError as error:
        if error.name == "yaml":
            raise UserError(INSTALL) from None
        raise
    return read_plan(path)


def folder_of(plan: str) -> Path:
    """The folder of a sweep, of which a plan or the folder itself is given."""
    return Path(plan) if Path(plan).is_dir() else _plan(plan).output
