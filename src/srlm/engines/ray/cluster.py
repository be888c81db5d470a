"""A Ray cluster: reaching it, and how many replicas of an engine have room in it.

Nothing is sent home: Ray's usage statistics are off unless the environment says otherwise.
"""

import logging
import math
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from srlm.config import RayEngineSection
from srlm.cores import usable_cores
from srlm.errors import ConfigError, EngineError

PATIENCE = 10.0
"""Seconds in which a cluster's head must take a connection."""
AHEAD = 2
"""Blocks a replica that are asked for at a time: the one under way, and one that waits for its end."""

_started = 0
"""Engines of this process that use a cluster which this process started."""


@dataclass(frozen=True)
class Share:
    """What one replica takes of a machine, and how many are wanted; `replicas` None: as many as have room."""

    cpus: float
    gpus: float
    replicas: int | None

    def room(self, nodes: Sequence[dict[str, Any]]) -> int:
        """How many have room on some machines."""
        return sum(self._on(node["Resources"]) for node in nodes)

    def _on(self, resources: dict[str, float]) -> int:
        fits = [int(resources.get("CPU", 0) / self.cpus)] if self.cpus else []
        fits += [int(resources.get("GPU", 0) / self.gpus)] if self.gpus else []
        return min(fits, default=0)


def reach(address: str) -> bool:
    """Connect this process to a cluster; whether `leave` has to be called. Raises EngineError or ConfigError.

    A process that is connected stays so. Without an address: $RAY_ADDRESS, a cluster that runs on this
    machine, else one is started with the cores that this process may use; `local` starts one always.
    """
    global _started  # noqa: PLW0603  a process has one connection
    ray = _ray()
    if ray.is_initialized():
        _started += _started > 0
        return _started > 0
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    try:
        if address != "local" and (address or "RAY_ADDRESS" in os.environ):
            _knock(address or os.environ["RAY_ADDRESS"])
            ray.init(address or None, **quiet)
            return False
        if address == "local" or not _joined(quiet):
            ray.init("local", num_cpus=usable_cores(), include_dashboard=False, **quiet)
            _started = 1
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise _unreachable(address or os.environ.get("RAY_ADDRESS", ""), error) from error
    return _started > 0


def _knock(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT; Ray itself would try for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()


def _joined(quiet: dict[str, Any]) -> bool:
    """Whether a cluster runs on this machine, to which this process is connected now."""
    try:
        _ray().init("auto", **quiet)
    except ConnectionError:
        return False
    return True


def leave() -> None:
    """End the cluster that this process started, when nobody here uses it any more."""
    global _started  # noqa: PLW0603
    _started -= 1
    if _started == 0:
        _ray().shutdown()


def give_up() -> None:
    """Forget a cluster that is gone: Ray would first tell it of an error that ends this process, and wait."""
    sys.excepthook = sys.__excepthook__


def machines() -> list[dict[str, Any]]:
    """The machines of the cluster that are alive, as Ray describes them."""
    return [node for node in _ray().nodes() if node["Alive"]]


def share_of(section: RayEngineSection, nodes: Sequence[dict[str, Any]]) -> Share:
    """What a replica takes of a machine, where the section leaves it open."""
    kind = section.engine.kind
    gpus, cpus, wanted = section.gpus, section.cpus, section.replicas
    if kind in {"openai", "scripted"}:
        return Share(cpus or 0.01, gpus or 0.0, wanted or max(1, len(section.base_urls)))
    if gpus is None:
        each = getattr(section.engine, "tensor_parallel", 1)
        gpus = float(each) if any(node["Resources"].get("GPU") for node in nodes) else 0.0
    if cpus is None:
        cores = [n for node in nodes if (n := node["Resources"].get("CPU"))]  # a head may have none
        beside = math.ceil((wanted or 1) / max(len(cores), 1))
        cpus = 1.0 if gpus else max(min(cores, default=1.0) / beside, 0.01)
        cpus = float(int(cpus)) if cpus > 1 else cpus
    return Share(cpus, gpus, wanted)


def placed(section: RayEngineSection, *, is_ours: bool) -> Share:
    """What a replica takes of a machine of the cluster.

    Raises EngineError where there is no room for one, and none can come: `is_ours`, this process started it.
    """
    nodes = machines()
    share = share_of(section, nodes)
    if is_ours and not share.room(nodes):
        raise no_room(share, nodes, 0)
    return share


def check(section: RayEngineSection) -> None:
    """Raise EngineError or ConfigError where the engine could not begin: no Ray, no cluster, or no room."""
    is_ours = reach(section.address)
    try:
        placed(section, is_ours=is_ours)
    finally:
        if is_ours:
            leave()


def no_room(share: Share, nodes: Sequence[dict[str, Any]], seconds: float) -> EngineError:
    """The error for a cluster in which not one replica has found room, and what would fit.

    `seconds` were waited; 0 where no waiting would help.
    """
    there = [
        f"{node['NodeManagerAddress']} has {node['Resources'].get('CPU', 0):g} cores and "
        f"{node['Resources'].get('GPU', 0):g} GPUs"
        for node in nodes[:5]
    ]
    more = f", and {len(nodes) - 5} more machines" if len(nodes) > 5 else ""
    return EngineError(
        f"engine.cpus={share.cpus:g}, engine.gpus={share.gpus:g} a replica",
        f"no machine of the cluster {'could start one' if seconds else 'has room for one'}"
        f"{f' within {seconds:g} s' if seconds else ''}: {'; '.join(there)}{more}",
        "ask for less a replica (engine.gpus=0 computes on cores), end what else holds the machines, or add "
        "larger ones; a cluster that grows by itself may need a longer engine.start_timeout_s",
    )


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "engine.kind=ray",
            "Ray is not installed in this environment",
            "install it: pip install 'srlm[ray]'",
        ) from error
    return ray


def _unreachable(address: str, error: Exception) -> EngineError:
    said = " ".join(str(error).split())[:400]
    whole = f"{error} {error.__cause__}"  # Ray's reason may stand in the error below
    if "ersion mismatch" in whole:
        return EngineError(
            f"the Ray cluster {address}".strip(),
            f"it runs other versions than this process: {said}",
            "use one image, or one environment, for the cluster and for whoever runs srlm",
        )
    if "uthenticat" in whole:
        return EngineError(
            f"the Ray cluster {address}".strip(),
            "it asks for a token, and this process has none or another one",
            "export RAY_AUTH_MODE=token with the cluster's token in RAY_AUTH_TOKEN, or in ~/.ray/auth_token "
            "(`ray get-auth-token` on its head says it)",
        )
    return EngineError(
        f"engine.address={address or 'empty'}",
        f"no Ray cluster can be reached there ({said or type(error).__name__})",
        "check that the cluster runs (ray status), that this machine reaches its port (6379, or 10001 for "
        "ray://) and, but for ray://, is one of its machines (ray start --num-cpus=0 --address=HOST:6379); "
        "without an address, and without RAY_ADDRESS, a cluster of this machine alone is started",
    )
