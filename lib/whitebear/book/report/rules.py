"""Every rule that turns a number into a word: used by the chapters, printed on the page of claims.

A rule is data: words, each with the condition under which it is given. The first condition that
holds decides. The margins were declared before any result, but for those that chapter 09 lists; no
estimate decides by itself on which side of one it lies, but its interval. Where a hypothesis was
declared with a value that has to reach a margin, and an interval that excludes none, it stays so.
"""

import operator
from dataclasses import dataclass

from whitebear.files import markdown_table
from whitebear.stats import Estimate

MARGIN = 0.10  # a change by less than a tenth, or by less than ten points, is none
HALF = 0.50  # who obeys leaves out at least half; what decides goes at least half of the way
READABLE = 0.75  # accuracy of a probe on new concepts and new wordings; chance is one half
ROOM = 0.20  # a control that shows the concept more rarely leaves no room for an instruction
ALPHA = 0.05  # for all wordings together, by Holm's adjustment
HOLDS, REFUTED, OPEN, UNDECIDED = "holds", "refuted", "open", "undecided"
COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True)
class Rule:
    """The verdict on a number.

    judged: what the verdict is about; by: the number, in words; words: (verdict, condition) in the
    order in which they are tried; otherwise: the verdict where no condition holds, or where the
    number cannot be told (NaN).

    A condition compares names with numbers or names: "low > 0.75 and low > shipped". The names
    value, low and high are those of an estimate, low90 and high90 its 90 % interval; others are
    given by name.

    >>> READ(Estimate(0.9, 0.8, 1.0, 50, 10))
    'readable'
    """

    judged: str
    by: str
    words: tuple[tuple[str, str], ...]
    otherwise: str

    def __call__(
        self, found: Estimate | None = None, near: Estimate | None = None, **numbers: float
    ) -> str:
        """The word for `found`; near: the same with its 90 % interval, where the rule asks."""
        if found is not None:
            numbers |= {"value": found.value, "low": found.low, "high": found.high}
        if near is not None:
            numbers |= {"low90": near.low, "high90": near.high}
        for word, condition in self.words:
            if all(_holds(part, numbers) for part in condition.split(" and ")):
                return word
        return self.otherwise

    def in_words(self) -> str:
        """The verdicts with their conditions, as Markdown."""
        cases = [f"*{word}*: `{condition}`" for word, condition in self.words]
        return "; ".join([*cases, f"else *{self.otherwise}*"])


def _holds(comparison: str, numbers: dict[str, float]) -> bool:
    left, sign, right = comparison.split()
    return COMPARE[sign](numbers[left], numbers[right] if right in numbers else float(right))


WITHIN = f"low > -{MARGIN} and high < {MARGIN}"
WITHIN_90 = f"low90 > -{MARGIN} and high90 < {MARGIN}"
DIRECTION = ("lowers it", "high < 0"), ("raises it", "low > 0")

ASKING = Rule(
    "The instrument: does asking for a concept make a difference?",
    "lower end of the rate where it is asked for minus upper end of that where it is not mentioned",
    (("yes", f"low >= {HALF}"),),
    "no",
)
SUPPRESSION = Rule(
    "How much of a concept an instruction removes",
    "suppression: share of what a plain request shows that is gone",
    (
        ("drawn anyway", "high < 0.1"),
        ("left out", "low >= 0.9"),
        ("mostly drawn anyway", f"high < {HALF}"),
        ("mostly left out", f"low >= {HALF}"),
    ),
    UNDECIDED,
)
SAME = Rule(
    "Is a change shown to be none?",
    "change of the rate against the same words without the instruction",
    (("yes", WITHIN_90),),
    "no",
)
CHANGE = Rule(
    "What an instruction changes by itself",
    "change of the rate against the same words without the instruction",
    (("no change", WITHIN_90), *DIRECTION),
    UNDECIDED,
)
MOVED = Rule("In which direction something changes", "any paired change", DIRECTION, UNDECIDED)
WORDING = Rule(
    "A single wording among all",
    "change of the rate against its control; p adjusted for all wordings; taken: lower end of the"
    " share of the control's rate that is gone; control: that rate",
    (
        ("takes away half or more", f"high < 0 and p < {ALPHA} and taken >= {HALF}"),
        ("lowers it", f"high < 0 and p < {ALPHA}"),
        ("raises it", f"low > 0 and p < {ALPHA}"),
        ("no room", f"control < {ROOM}"),
        ("no change", WITHIN_90),
    ),
    UNDECIDED,
)
MOVES = Rule(
    "Text states and attention",
    "change, as part of the way to another concept or of the control's attention",
    (
        ("stays", WITHIN),
        ("falls", f"high <= -{MARGIN}"),
        ("rises", f"low >= {MARGIN}"),
    ),
    UNDECIDED,
)
READ = Rule(
    "A probe on the states of the text encoder",
    "its accuracy on new concepts in new wordings",
    (("readable", f"low >= {READABLE}"), ("hardly", f"high < {READABLE}")),
    UNDECIDED,
)
SUSTAINED = Rule(
    "Does attention to the word drop in a sustained way?",
    "shares of the denoising steps at which the interval of its change lies below −10 % of the"
    " control's (below), and above that (above)",
    (("sustained drop", f"below >= {HALF}"), ("no sustained drop", f"above > {HALF}")),
    UNDECIDED,
)
CONTROL = Rule(
    "A positive control of attention",
    "change of the attention, as part of a plain request's",
    (*DIRECTION, ("no change", WITHIN)),
    UNDECIDED,
)
EVERY_LAYER = Rule(
    "Does attention fall in every layer?",
    "number of layers, of those in which it *falls*, and of those in which it *stays* or *rises*",
    (("yes", "layers >= 1 and falls >= layers"), ("no", "stays >= 1"), ("no", "rises >= 1")),
    UNDECIDED,
)
TOGETHER = Rule(
    "Attention and presence",
    "Spearman's ρ of their changes over the wordings",
    (("rise and fall together", "low > 0"), ("go against each other", "high < 0")),
    "have no order in common that can be shown",
)
CARRIES = Rule(
    "Swapped text states",
    "share of the way from one prompt's picture to the other's",
    (
        ("carries it", f"low >= {HALF}"),
        ("does not carry it", f"high < {HALF}"),
    ),
    UNDECIDED,
)
DOSE = Rule(
    "Hypothesis 1: obedience grows with the share of negated captions",
    "ends of the interval of suppression where none, 0.58 % or 20 % of the captions negate",
    (
        (REFUTED, f"natural_low > {MARGIN}"),
        (REFUTED, f"much_high < {HALF}"),
        (
            HOLDS,
            f"none_high < {MARGIN} and natural_high < {MARGIN} and much_low >= {HALF}",
        ),
    ),
    OPEN,
)
HABIT = Rule(
    "Hypothesis 2: held-out wordings suppress less",
    "their suppression minus that of the wordings of training",
    ((HOLDS, "high < 0"), (REFUTED, WITHIN_90)),
    OPEN,
)
WHERE = Rule(
    "Hypothesis 3: the denoiser has to be taught, the encoder need not",
    "ends of the interval of suppression with either taught alone",
    (
        (HOLDS, f"denoiser_low >= {HALF} and encoder_high < {MARGIN}"),
        (REFUTED, f"denoiser_high < {HALF} and encoder_high <= 1"),
        (REFUTED, f"encoder_low >= {MARGIN} and denoiser_high <= 1"),
    ),
    OPEN,
)
CARRIES_OVER = Rule(
    "Hypothesis 4: what was never denied is suppressed as well",
    "its suppression minus that of what captions denied",
    ((HOLDS, WITHIN_90), (REFUTED, f"high < -{MARGIN}"), (REFUTED, f"low > {MARGIN}")),
    OPEN,
)
TAUGHT_READ = Rule(
    "Hypothesis 5: a probe reads the states of a taught encoder",
    "its accuracy, beside the interval of that on the shipped encoder",
    (
        (HOLDS, f"low > {READABLE} and low > shipped_high"),
        (REFUTED, f"high <= {READABLE}"),
        (REFUTED, "high < shipped_low"),
    ),
    OPEN,
)
NO_FALL = Rule(
    "Hypothesis 5: what is obeyed needs no fall of attention by half",
    "change of attention to the word, as part of the control's",
    ((HOLDS, f"low > -{HALF}"), (REFUTED, f"high < -{HALF}")),
    OPEN,
)
REPAIR = Rule(
    "Hypothesis 6: a short training of one part restores obedience",
    "number of repairs tried; good: those that *obey* and lose at most 5 % of asked objects;"
    " failed: those that *do not obey*, or lose more",
    ((HOLDS, "good >= 1"), (REFUTED, "tried >= 1 and failed >= tried")),
    OPEN,
)
OBEYS = Rule(
    "A taught or repaired model and its instructions, or a model and a wording",
    "suppression",
    (("obeys", f"low >= {HALF}"), ("does not obey", f"high < {HALF}")),
    OPEN,
)
PLAIN = Rule(
    "Is a plain “without” obeyed?",
    "change of the rate against the same words with “with”",
    (("yes", f"high <= -{HALF}"), ("no", f"low > -{HALF}")),
    OPEN,
)
EXCHANGE = Rule(
    "Does an exchange of attention decide?",
    "share of the way from the rate of one wording to that of the other: ends of its interval",
    (("yes", f"way_low >= {HALF}"), ("no", f"way_high < {HALF}")),
    OPEN,
)
PRICE = 0.05  # what obedience may cost plain requests
NOTHING = Rule(
    "Hypotheses 7, 10 and 12: an instruction, or the order of clauses, changes nothing",
    "change of the rate against the neutral verbs, or the other order",
    ((HOLDS, WITHIN_90), (REFUTED, f"high < -{MARGIN}"), (REFUTED, f"low > {MARGIN}")),
    OPEN,
)
OBEYED = Rule(
    "Does a model of the population obey a wording?",
    "suppression against the control, where that shows the concept in at least 20 %",
    (("obeys", f"value >= {HALF} and low > 0"), ("does not obey", f"high < {HALF}")),
    OPEN,
)
EXCHANGED = Rule(
    "An exchanged encoder alone makes no wording obeyed that was not",
    "number of wordings with room for it, of those that *obey* with it and did *not obey* without"
    " it (gained), and of those that do *not obey* with it, or did before (spared)",
    ((REFUTED, "gained >= 1"), (HOLDS, "judged >= 1 and spared >= judged")),
    OPEN,
)
ACTS = Rule(
    "Hypothesis 8: an instruction acts where something else is asked for",
    "number of frames with room for it, and of those in which it is *obeyed*",
    ((HOLDS, "obeyed >= 2"), ("in part", "obeyed >= 1"), (REFUTED, "judged >= 2")),
    OPEN,
)
SILENT = Rule(
    "Hypothesis 8, where no caption negates: it does not act",
    "number of frames with room for it, and of those in which it is *obeyed*",
    ((REFUTED, "obeyed >= 2"), (HOLDS, "judged >= 2 and obeyed < 1")),
    OPEN,
)
MORE = Rule(
    "Hypothesis 9: “without” is obeyed more where captions use the word for nothing else",
    "its rate with quiet chatter minus that with all chatter",
    ((HOLDS, "high < 0"), (REFUTED, WITHIN_90)),
    OPEN,
)
LAW = Rule(
    "Hypothesis 11: captions predict what is drawn",
    "share of the variance of rates that the law explains, beside the interval of its best rival's",
    (
        (HOLDS, f"low >= {HALF} and low > rival_high"),
        (REFUTED, f"high < {HALF}"),
        (REFUTED, "high <= rival_low"),
    ),
    OPEN,
)
SPARE = 0.05  # the arena: a rate that changes by less than five points has not changed
HARM = ("harmed", f"high < 0 and value <= -{SPARE}")
SPARED = Rule(
    "The arena: is what nobody asked to leave out left alone?",
    "change of its rate against untouched",
    (("spared", f"low90 > -{SPARE} and high90 < {SPARE}"), HARM),
    OPEN,
)
SPARED_BESIDE = Rule(
    "The arena: is the second object of the same prompt left alone?",
    "change of its rate against untouched",
    (("spared", f"low90 > -{SPARE}"), HARM),
    OPEN,
)
SPECIFIC = Rule(
    "The arena: does a method take away what it was not told to leave out (placebo)?",
    "suppression; for *specific* the change of the rate against untouched",
    (
        ("specific", f"low90 > -{SPARE} and high90 < {SPARE}"),
        ("unspecific", f"value >= {MARGIN} and low > 0"),
    ),
    OPEN,
)
WORKS = Rule(
    "The arena: does a method work at a price that can be told?",
    "whether it is *left out* (gone), and how many of the three that are to stay are *spared*",
    (("yes", "gone >= 1 and spared >= 3"),),
    "not shown",
)
LEARNABLE = Rule(
    "Hypothesis 13: from captions that show it, a model learns to obey",
    "number of members whose doses are all there, that obey at a dose and not without examples"
    " (learned), and that obey at no dose (refused)",
    (
        (HOLDS, "learned >= 2"),
        (REFUTED, "refused >= 2"),
        ("of one member", "learned >= 1 and whole >= 2"),
    ),
    OPEN,
)
LEARNED = Rule(
    "Hypotheses 14 and 15: what was learned holds for other objects and in other frames",
    "suppression against the neutral verbs, where these show it in at least 20 %",
    ((HOLDS, f"value >= {HALF} and low > 0"), (REFUTED, f"high < {HALF}")),
    OPEN,
)
WORD_ALONE = Rule(
    "Hypothesis 16: a verb that captions did not show so is not obeyed",
    "suppression against the neutral verbs, where these show it in at least 20 %",
    ((REFUTED, f"value >= {HALF} and low > 0"), (HOLDS, f"high < {HALF}")),
    OPEN,
)
UNHARMED = Rule(
    "Hypothesis 17: an instruction about another object does not lower the one asked for",
    "change of its rate against the neutral verbs",
    ((HOLDS, f"low > -{MARGIN}"), (REFUTED, f"high < -{MARGIN}")),
    OPEN,
)
COST = Rule(
    "Hypothesis 18: plain requests fall by at most 5 points",
    "their rate minus that of the model that learned as long without examples",
    ((HOLDS, f"low > -{PRICE}"), (REFUTED, f"high < -{PRICE}")),
    OPEN,
)
WINNING = Rule(
    "Part 4: at which stage a request overrules an instruction",
    "change where a place is asked for, and how much less it is where the concept is (gain)",
    (
        ("shows here", f"value <= -{MARGIN} and high < 0 and gain >= {MARGIN} and gain_low > 0"),
        (
            "as low where it is asked for",
            f"value <= -{MARGIN} and high < 0 and gain_high < {MARGIN}",
        ),
        ("not to be seen", WITHIN),
    ),
    OPEN,
)
FIRST = Rule(
    "Part 4: where the winning shows",
    "number of stages at which it shows: picture, text states (end token, padding), attention; and"
    " of the last three those at which it is shown not to (blind)",
    (
        ("not judged", "picture < 1"),
        ("in text states and attention", "text >= 1 and attention >= 1"),
        ("in text states", "text >= 1"),
        ("in attention", "attention >= 1"),
        ("only in the picture", "blind >= 3"),
    ),
    OPEN,
)
FORMS = Rule(
    "The arena, hypothesis 1: “UCE” is several methods",
    "suppression by the forms that edit the bare name, its tail, and the name in sentences",
    (
        (REFUTED, f"bare >= {HALF}"),
        (REFUTED, f"tail < {HALF} and carrier < {HALF}"),
        (HOLDS, f"bare < {HALF} and tail > {HALF} and carrier > {HALF}"),
    ),
    OPEN,
)
WHOLE_PROMPT = Rule(
    "The arena, hypothesis 2: the word is not where the word stands",
    "suppression with the name's state zeroed, with end and padding too, and with its values turned"
    " round; second objects that this keeps more often than zeroing all (lower end)",
    (
        (REFUTED, f"name >= {HALF}"),
        (REFUTED, "everything < 0.9"),
        (REFUTED, "turned < 0.75"),
        (REFUTED, "kept <= 0"),
        (HOLDS, "name < 0.5 and everything >= 0.9 and turned >= 0.75 and kept > 0"),
    ),
    OPEN,
)
HELPER = Rule(
    "The arena, hypothesis 5: published rows contain a hidden helper",
    "what SAFREE's negative prompt adds (lower end); AdaVD's change with its authors' gate",
    (
        (REFUTED, "helper <= 0"),
        (REFUTED, f"high < -{MARGIN}"),
        (HOLDS, f"helper > 0 and {WITHIN_90}"),
    ),
    OPEN,
)
INSTRUCTED = Rule(
    "The arena: an instruction in words reaches none of it",
    "its suppression in held-out wordings",
    ((HOLDS, "value < 0.1"), (REFUTED, "value >= 0.1 and low > 0")),
    OPEN,
)
RULES = tuple(rule for rule in list(globals().values()) if isinstance(rule, Rule))


def table() -> str:
    """All rules as a Markdown table, one row each."""
    rows = [(rule.judged, rule.by, rule.in_words()) for rule in RULES]
    return markdown_table(("What is judged", "By which number", "Verdict"), rows)
