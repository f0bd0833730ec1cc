"""Rates, suppression and paired differences with intervals, seeds paired and concepts as clusters.

Pictures of one concept resemble each other, so a mean over concepts varies with the concepts that
were picked: intervals resample whole concepts (cluster bootstrap). Those of one wording or of one
training run do so too; a claim about all of these names them in `over` (`crossed.py`). A bootstrap
of identical values has no width at all, so no interval is left narrower than the one for
independent pictures: Wilson for a proportion, Agresti and Min (2005) for a difference of paired
proportions. Where there is one concept only, that is all there is, and it speaks about it alone.
"""

from whitebear.stats.crossed import (
    FACTORS,
    crossed_interval,
    crossed_sums,
    half_width,
    share_ends,
    within,
)
from whitebear.stats.equivalence import equivalence_p, equivalent
from whitebear.stats.intervals import (
    LEVEL,
    RESAMPLES,
    SEED,
    Estimate,
    agresti_min,
    cluster_bootstrap,
    counted,
    ratio,
    wilson,
)
from whitebear.stats.pictures import (
    KIND,
    RUNS,
    add_affirm,
    add_control,
    against,
    by_concept,
    by_wording,
    holm,
    paired_difference,
    rate,
    sign_flip_p,
    summary,
    suppression,
    taken_away,
)

__all__ = [
    "Estimate",
    "FACTORS",
    "KIND",
    "LEVEL",
    "RESAMPLES",
    "RUNS",
    "SEED",
    "add_affirm",
    "add_control",
    "against",
    "agresti_min",
    "by_concept",
    "by_wording",
    "cluster_bootstrap",
    "counted",
    "crossed_interval",
    "crossed_sums",
    "equivalence_p",
    "equivalent",
    "half_width",
    "holm",
    "paired_difference",
    "rate",
    "ratio",
    "share_ends",
    "sign_flip_p",
    "summary",
    "suppression",
    "taken_away",
    "wilson",
    "within",
]
