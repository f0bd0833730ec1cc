"""Every command of the book: `python -m whitebear COMMAND`, each with `--help`."""

import importlib
import sys

from whitebear.errors import UserError, exit_on_user_error, nearest

COMMANDS = {  # name -> module with its `main`, what it does
    "build": ("book.build.build", "execute the notebooks and build the book"),
    "execute": ("book.build.execute", "run one notebook with values of your own"),
    "publish": ("book.build.publish", "run chapters at their published size into data/results"),
    "checks": ("book.build.checks", "store the outputs of a notebook's check cells"),
    "train": ("pocket.training.train", "train the pocket model and its detector"),
    "quality": ("pocket.training.quality", "measure the pocket model and write its card"),
    "sweep": ("sweep.command", "run a grid on a cluster, or on several GPUs"),
    "teach": ("pocket.experiments.teach", "train the models of the chapter Why it fails"),
    "population": ("pocket.experiments.population", "train models that learn to read from nothing"),
    "dose": ("pocket.experiments.dose", "count what captions say with which words"),
    "learned": ("pocket.experiments.learned", "train members further on captions that obey"),
    "clauses": ("pocket.experiments.clauses", "score what wins, an instruction or the request"),
    "arena": ("pocket.experiments.arena", "put every method into one arena, and publish it"),
    "winning": ("pocket.experiments.winning", "measure where an instruction or the request wins"),
    "repair": ("pocket.experiments.repair", "train single parts of the pocket model further"),
    "retrain": ("pocket.experiments.retrain", "train a second pocket model, another seed"),
}


def usage() -> str:
    """The commands, a line each."""
    lines = [f"  {name:<11}{text}" for name, (_, text) in COMMANDS.items()]
    return "usage: python -m whitebear COMMAND [--help]\n\n" + "\n".join(lines)


@exit_on_user_error
def main(arguments: list[str]) -> None:
    """Run one command; without any, or with --help, say which there are."""
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        return
    if name not in COMMANDS:
        raise UserError(f"there is no command {name!r}; {nearest(name, COMMANDS)}")
    module = importlib.import_module(f"whitebear.{COMMANDS[name][0]}")
    sys.argv[0] = f"python -m whitebear {name}"  # argparse takes the command's name from here
    module.main(rest)


if __name__ == "__main__":
    main(sys.argv[1:])
