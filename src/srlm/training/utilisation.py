"""How near a training comes to what the machine multiplies at: model FLOPs utilisation (arXiv 2204.02311, B).

Counted are the products of the weights alone, on tokens that the model has to see: no attention, no padding,
nothing of what checkpointing computes twice.
"""

import json
from pathlib import Path
from typing import Any

from srlm.devices import product_gflops


def utilisation(
    log: Path, model: Any, precision: str, *, adapters: bool, processes: int = 1
) -> dict[str, float | int]:
    """Figures of a training for its summary, from the lines of its steps.

    `utilisation`: the share; `machine_gflops`: GFLOP/s of a large product, measured now, times the number of
    processes; `parameters`: of the model. `adapters`: its own weights get no gradient (LoRA).
    """
    steps = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    head = model.get_output_embeddings().weight
    table = model.get_input_embeddings().weight
    parameters = sum(weight.numel() for weight in model.parameters())
    body = parameters - table.numel() - (head.numel() if head is not table else 0)
    products = body * sum(step["distinct_tokens"] for step in steps)
    products += head.numel() * sum(step["target_tokens"] for step in steps)
    seconds = sum(step["tokens"] / step["tokens_per_second"] for step in steps)
    limit = processes * product_gflops(precision, model.device.type)
    return {
        "parameters": parameters,
        "machine_gflops": round(limit, 1),
        "utilisation": round((4 if adapters else 6) * products / seconds / 1e9 / limit, 4),
    }
