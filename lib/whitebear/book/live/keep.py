"""What takes minutes to make for the live page, kept between builds."""

import importlib
import os
import shutil
from importlib.metadata import version
from pathlib import Path

from whitebear.code import Code
from whitebear.files import MODELS, ROOT, digest
from whitebear.models.load import VERSIONS, fingerprint, quiet_loading

SHIPPED = ("pocket", "taught", "detector")
EXPORTERS = ("onnx", "onnxscript")


def kept(cache: Path, module: str, name: str) -> Path:
    """A folder in `cache` with the files that a generator yields, as (name, bytes): made again
    where weights, versions or its code are new, else reused.

    module, name: of the generator in this package, which is imported only when it is needed.
    """
    place = f"{__package__}.{module}"
    models = [fingerprint(MODELS / model) for model in SHIPPED]
    code = Code(ROOT / "lib").digest(f"{place}.{name}")
    key = digest(models, VERSIONS, [version(package) for package in EXPORTERS], code)
    folder = cache / f"{name}-{key}"
    if not folder.is_dir():
        for old in cache.glob(f"{name}-*"):
            shutil.rmtree(old)
        part = cache / f"{name}-{key}.part"
        part.mkdir(parents=True)
        with quiet_loading():  # notes about optional packages are no part of a build's log
            made = getattr(importlib.import_module(place), name)()
        for file, content in made:
            part.joinpath(file).write_bytes(content)
        os.replace(part, folder)
    return folder
