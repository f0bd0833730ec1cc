"""Models of the Hugging Face hub: found in its cache, fetched once, and one line where they cannot.

What a commit names never changes: where its files are in the cache, the network is not asked.
"""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
from diffusers import DiffusionPipeline
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from whitebear.errors import UserError, first_line
from whitebear.models.folders import HALF, LEFT_OUT
from whitebear.models.presets import ModelEntry

NO_SUCH_VARIANT = "no such modeling files"  # in what diffusers says where there are no such files
NO_NETWORK = (OfflineModeIsEnabled, LocalEntryNotFoundError, ConnectionError)
NO_NETWORK_NAMES = {"ConnectError", "ConnectTimeout", "ReadTimeout", "NetworkError"}  # of httpx


def in_cache(source: str, revision: str | None = None) -> Path | None:
    """The folder of a hub id in the cache, complete or not; None where there is none."""
    try:
        return Path(
            huggingface_hub.snapshot_download(source, revision=revision, local_files_only=True)
        )
    except (OSError, ValueError):
        return None


def fetch_pipeline(entry: ModelEntry) -> Path:
    """The folder of a pipeline, with what lacks in the cache downloaded: its files of half
    precision where it has such, and nothing that is never loaded. Raises `UserError`."""
    options = {"revision": entry.revision, "use_safetensors": True, "trust_remote_code": False}
    options |= dict.fromkeys(LEFT_OUT)  # what is given is not downloaded
    for variant in (HALF, None) if entry.half_files else (None,):
        try:
            return Path(DiffusionPipeline.download(entry.source, variant=variant, **options))
        except (OSError, ValueError) as error:
            if variant is None or NO_SUCH_VARIANT not in str(error):
                connect = "connect once, and run the same again"
                about = entry.source, connect, entry.licence, entry.gated
                raise _explained(error, f"model {entry.source}", *about) from None
    raise AssertionError


def fetch_files(what: str, source: str, revision: str | None, patterns: list[str]) -> Path:
    """The folder of a hub id with the files that match; what: how a `UserError` calls it."""
    pin = f" --revision {revision}" if revision else ""
    try:
        return Path(
            huggingface_hub.snapshot_download(source, revision=revision, allow_patterns=patterns)
        )
    except (OSError, ValueError) as error:
        included = " ".join(f"--include '{pattern}'" for pattern in patterns)
        connect = f"connect once, or where there is one `hf download {source}{pin} {included}`"
        raise _explained(error, what, source, connect) from None


def _explained(
    error: BaseException, what: str, source: str, connect: str, licence: str = "", gated=False
) -> UserError:
    """What was wrong, and what would be right, as one line. connect: what to do offline."""
    causes = list(_causes(error))
    kinds = {type(cause).__name__ for cause in causes}
    statuses = {getattr(getattr(e, "response", None), "status_code", None) for e in causes}
    # Without a login the hub says 401 for repositories that do not exist as well, hence `gated`.
    if "GatedRepoError" in kinds or (gated and statuses & {401, 403}):
        return UserError(
            f"{what} is not handed out to everybody; accept the licence"
            f"{f' ({licence})' if licence else ''} at https://huggingface.co/{source} and log in"
            " with `hf auth login`"
        )
    if statuses & {401, 404}:
        return UserError(
            f"{what} cannot be fetched: the hub has none of that name, or it is private; check the"
            " id, or log in with `hf auth login`"
        )
    if any(isinstance(cause, NO_NETWORK) for cause in causes) or kinds & NO_NETWORK_NAMES:
        return UserError(
            f"{what} cannot be fetched: it is not in the cache, and there is no network (or"
            f" HF_HUB_OFFLINE is set); {connect}"
        )
    return UserError(
        f"{what} cannot be fetched ({first_line(error)}); check the id, your login and the network"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
