"""Data files by their path here, or by their place in a data set of the hub."""

import re
from pathlib import Path

from srlm.errors import DataError

_PLACE = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)/(.+)")


def data_file(reference: str) -> Path:
    """A path as it is; ``hf://datasets/OWNER/NAME/FILE`` fetched from the hub once. Raises DataError."""
    place = _PLACE.fullmatch(reference)
    return fetched(place[1], place[2], reference) if place else Path(reference)


def fetched(repository: str, filename: str, given: str) -> Path:
    """A file of a data set on the hub, in the hub's cache; raises DataError that names what was `given`."""
    try:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(repo_id=repository, filename=filename, repo_type="dataset"))
    except Exception as error:  # the client's errors have no common base, and the way out is the same
        raise DataError(
            given,
            f"{filename} cannot be fetched from the hub ({type(error).__name__})",
            f"download the file elsewhere and give its path (https://huggingface.co/datasets/{repository})",
        ) from error
