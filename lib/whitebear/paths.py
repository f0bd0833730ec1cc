"""Where the book keeps its things. Every path in the project starts here."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
WORLD = DATA / "world"
PROMPTS = DATA / "prompts"
MODELS = DATA / "models"
RESULTS = DATA / "results"
