"""Concepts x wordings x seeds: the table of images to make."""

from whitebear.prompts.clauses import load_clauses
from whitebear.prompts.concepts import (
    Concept,
    Concepts,
    caption_of,
    check_concepts,
    description_of,
    load_concepts,
    noun_of,
    web_concepts,
)
from whitebear.prompts.grid import about_objects, check_seeds, named, partner, prompt_grid
from whitebear.prompts.wordings import (
    KINDS,
    NAMES,
    VOWEL_SOUND,
    choose_wordings,
    fill,
    in_order,
    load_wordings,
    name_of,
)

__all__ = [
    "Concept", "Concepts", "KINDS", "NAMES", "VOWEL_SOUND", "about_objects", "caption_of",
    "check_concepts", "check_seeds", "choose_wordings", "description_of", "fill", "in_order",
    "load_clauses", "load_concepts", "load_wordings", "name_of", "named", "noun_of", "partner",
    "prompt_grid", "web_concepts",
]  # fmt: skip
