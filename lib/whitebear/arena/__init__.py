"""Every method in one arena: the same prompts, the same noise, one judge, and what it costs.

What is measured, and by which rules, was declared before: data/arena/declared.md.
"""
