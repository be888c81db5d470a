"""The same records with one engine and over Ray: 1, 2 and 4 workers on this machine, then three machines.

``python benchmarks/same_records.py`` writes responses and judgments of the built-in SmolLM2, greedily and in
float32, and of the scripted engine, and prints for each way the SHA-256 of the record files, how many records
they hold and how many of these are there twice. Three machines are processes of this one.
"""

import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from small_round import counted, record_files, write_round

from srlm.config import (
    AloneEngineSection,
    Config,
    EngineSection,
    JudgeSection,
    LocalEngineSection,
    ModelSection,
    RayEngineSection,
    ResponsesSection,
    ScriptedEngineSection,
)
from srlm.models import Model, resolve

NUM_PROMPTS = 24
ENGINES: dict[str, tuple[AloneEngineSection, int]] = {
    "scripted": (ScriptedEngineSection(), 40),
    "SmolLM2, greedy, float32": (LocalEngineSection(device="cpu", dtype="float32", batch_tokens=8192), 1),
}
"""An engine, and how many times the prompts it gets."""


def measured(engine: EngineSection, model: Model, num_prompts: int) -> tuple[str, int, int, float]:
    """(SHA-256 of the record files, records, records that are there twice, seconds)."""
    config = Config(
        engine=engine,
        responses=ResponsesSection(samples=2, block=8, temperature=0, max_tokens=32),
        judge=JudgeSection(samples=1, block=8, temperature=0, max_tokens=48, retries=0),
    )
    texts = [f"Name {number} things that one finds in a harbour." for number in range(2, num_prompts + 2)]
    with tempfile.TemporaryDirectory() as made:
        began = time.perf_counter()
        write_round(Path(made), config, model, texts)
        seconds = time.perf_counter() - began
        files = b"".join(path.read_bytes() for path in record_files(Path(made)))
        return hashlib.sha256(files).hexdigest(), *counted(Path(made)), seconds


@contextmanager
def three_machines() -> Iterator[str]:
    """The address of a cluster of three nodes with a core each."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        ray.init(cluster.address, log_to_driver=False)
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


def main() -> None:
    model = resolve(ModelSection())
    for name, (inner, times) in ENGINES.items():
        print(f"{name}\n{'':<22}{'SHA-256':<20}{'records':>8}{'twice':>7}{'seconds':>9}")

        def tell(way: str, section: EngineSection, times: int = times) -> None:
            digest, records, twice, seconds = measured(section, model, NUM_PROMPTS * times)
            print(f"  {way:<20}{digest[:16]:<20}{records:>8,}{twice:>7}{seconds:>9.1f}", flush=True)

        tell("alone", inner)
        for replicas in (1, 2, 4):
            cpus = min(1.0, 2 / replicas)
            section = RayEngineSection(
                engine=inner, address="local", replicas=replicas, cpus=cpus, block=4, start_timeout_s=120
            )
            tell(f"Ray, {replicas} workers", section)
        with three_machines() as address:
            section = RayEngineSection(engine=inner, address=address, replicas=3, cpus=1, block=4)
            tell("Ray, 3 machines", section)


if __name__ == "__main__":
    main()
