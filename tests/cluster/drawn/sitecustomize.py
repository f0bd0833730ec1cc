"""Python loads this when it starts, from PYTHONPATH: jobs of a sweep note every picture they draw.

A line each in the file $DRAWN: intervention, concept, wording, seed.
"""

import os
import sys

if "--job" in sys.orig_argv:
    from whitebear.draw import artist

    drawn, job = artist.generate_batches, sys.orig_argv[sys.orig_argv.index("--job") + 1]

    def noted(pipe, table, *rest):
        for part, images in drawn(pipe, table, *rest):
            lines = [f"{job.split('_')[1]} {r.concept} {r.wording} {r.seed}\n"
                     for r in part.itertuples()]  # fmt: skip
            with open(os.environ["DRAWN"], "a") as file:
                file.write("".join(lines))
            yield part, images

    artist.generate_batches = noted
