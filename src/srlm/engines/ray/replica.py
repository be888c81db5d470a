"""An engine in a process of a Ray cluster, and whether that process would write what this one would."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import ray

from srlm import __version__
from srlm.config import RayEngineSection
from srlm.engines.base import Reply, Request
from srlm.errors import EngineError, SrlmError
from srlm.models import Model

ALIKE = ("torch", "transformers", "vllm")
"""Packages that change what a model writes in its last bits, so that they must be alike everywhere."""


@dataclass(frozen=True)
class Answered:
    """What a replica made of a block: replies, what a server counted, or the error of one that cannot."""

    replies: list[Reply] = field(default_factory=list)
    spent: Counter[str] = field(default_factory=Counter)
    failure: SrlmError | None = None


@ray.remote
class Replica:
    """An engine in a process of the cluster."""

    def __init__(self, section: RayEngineSection, model: Model | None, number: int) -> None:
        self._section, self._model, self._number = section, model, number
        self._engine: Any = None

    def describe(self) -> dict[str, str]:
        """The versions of this process; `missing` where the model is not on this machine."""
        needed = self._model.path if self._model and self._section.engine.kind != "scripted" else None
        lost = str(needed) if needed and not (needed / "config.json").is_file() else ""
        where = str(ray.util.get_node_ip_address())
        return {"srlm": __version__, "node": where, "missing": lost, **alike_versions()}

    def answer(self, requests: Sequence[Request]) -> Answered:
        """The replies to a block, or the SrlmError that they raise."""
        from srlm.engines.opening import make_engine

        try:
            if self._engine is None:
                self._engine = make_engine(_inner(self._section, self._number), self._model)
            replies = list(self._engine.generate(requests))
        except SrlmError as error:
            return Answered(failure=error, spent=_spent(self._engine))
        return Answered(replies, _spent(self._engine))


def alike_versions() -> dict[str, str]:
    """Versions that must be alike in the driver and the replicas, without what they were built for."""
    found = {}
    for name in ALIKE:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            continue
    return found


def check(there: dict[str, str]) -> None:
    """Raise EngineError where a replica's machine cannot do what this one would."""
    here = {"srlm": __version__, **alike_versions()}
    differ = [
        f"{name} {there[name]} there, {here[name]} here"
        for name in here
        if there.get(name, here[name]) != here[name]
    ]
    if differ:
        raise EngineError(
            f"the worker on {there['node']}",
            f"it has other versions, and would write other answers: {'; '.join(differ)}",
            "use one image, or one environment, for the cluster and for whoever runs srlm",
        )
    if there["missing"]:
        raise EngineError(
            f"model folder {there['missing']}",
            f"the worker's machine {there['node']} has no such folder",
            "put models and runs on a file system that all machines see under the same path (--out for runs, "
            "SRLM_CACHE for converted models)",
        )


def _inner(section: RayEngineSection, number: int) -> Any:
    """The section of a replica's engine; servers are dealt out."""
    if not section.base_urls:
        return section.engine
    url = section.base_urls[number % len(section.base_urls)]
    return section.engine.model_copy(update={"base_url": url})


def _spent(engine: Any) -> Counter[str]:
    asked: Callable[[], Counter[str]] | None = getattr(engine, "spent", None)
    return asked() if asked else Counter()
