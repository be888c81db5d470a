"""An engine in a process of a Ray cluster, and whether that process would write what this one would."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ray

from srlm import __version__
from srlm.config import AloneEngineSection, LocalEngineSection, RayEngineSection
from srlm.engines.base import Reply, Request
from srlm.errors import EngineError, SrlmError
from srlm.models import Model, num_parameters

ALIKE = ("torch", "transformers", "vllm")
"""Packages that change what a model writes in its last bits, so that they must be alike everywhere."""


@dataclass(frozen=True)
class Answered:
    """What a replica made of a block: replies, what a server counted, or the error of one that cannot."""

    replies: list[Reply] = field(default_factory=list)
    spent: Counter[str] = field(default_factory=Counter)
    failure: SrlmError | None = None


@dataclass(frozen=True)
class Place:
    """Where a replica is: versions there, the model's folder if it is `missing`, bytes for its weights."""

    node: str
    versions: dict[str, str]
    missing: str = ""
    needed: int = 0
    free: int = 0


@ray.remote
class Replica:
    """An engine in a process of the cluster."""

    def __init__(self, section: RayEngineSection, model: Model | None, number: int) -> None:
        self._section, self._model, self._number = section, model, number
        self._engine: Any = None

    def describe(self) -> Place:
        """Where this process is, and whether it could load the model there."""
        node, versions = str(ray.util.get_node_ip_address()), alike_versions()
        path = self._model.path if self._model and self._section.engine.kind != "scripted" else None
        if path is None:
            return Place(node, versions)
        if not (path / "config.json").is_file():
            return Place(node, versions, missing=str(path))
        return Place(node, versions, "", *_room(self._section.engine, path))

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


def _room(engine: AloneEngineSection, path: Path) -> tuple[int, int]:
    """(bytes of the weights, bytes that are free for them) of an engine `local`; vLLM looks for itself."""
    if not isinstance(engine, LocalEngineSection):
        return 0, 0
    from srlm.devices import device_of, dtype_of, free_device_memory

    device = device_of(engine.device)
    width = 4 if dtype_of(engine.dtype, device) == "float32" else 2
    return width * num_parameters(path), free_device_memory(device)


def alike_versions() -> dict[str, str]:
    """Versions that must be alike in the driver and the replicas, without what they were built for."""
    found = {"srlm": __version__}
    for name in ALIKE:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            continue
    return found


def check(there: Place) -> None:
    """Raise EngineError where a replica's machine cannot do what this one would."""
    here = alike_versions()
    differ = [
        f"{name} {there.versions[name]} there, {here[name]} here"
        for name in here
        if there.versions.get(name, here[name]) != here[name]
    ]
    if differ:
        raise EngineError(
            f"the worker on {there.node}",
            f"it has other versions, and would write other answers: {'; '.join(differ)}",
            "use one image, or one environment, for the cluster and for whoever runs srlm",
        )
    if there.missing:
        raise EngineError(
            f"model folder {there.missing}",
            f"the worker's machine {there.node} has no such folder",
            "put models and runs on a file system that all machines see under the same path (--runs, "
            "SRLM_CACHE for converted models)",
        )
    if there.needed > there.free:
        raise EngineError(
            f"a replica on {there.node}",
            f"weights take {there.needed / 2**30:,.1f} GiB, {there.free / 2**30:,.1f} GiB are free",
            "one of: fewer replicas a machine (engine.replicas, engine.cpus, engine.gpus=1), larger machines "
            "or engine.engine.kind=vllm, whose engine.engine.tensor_parallel splits a model over GPUs",
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
