"""The simulated round of paper-70b on H100s, 1 to 1,024 replicas: hours, busy share, efficiency.

``python benchmarks/predicted_scaling.py`` keeps docs/performance/scaling.json, which pictures.py draws. All
of it is a prediction: nobody has run it.
"""

import json
from dataclasses import replace
from pathlib import Path

from srlm.planning.cluster import Wanted, plan_cluster
from srlm.planning.lengths import Lengths
from srlm.planning.rounds import round_steps, simulate_round
from srlm.recipes import load

KEPT = Path(__file__).parents[1] / "docs" / "performance" / "scaling.json"
SETTINGS = {
    "as the recipe is": [],
    "larger blocks": ["prompts.block=512", "responses.block=2048", "judge.block=8192"],
}
REPLICAS = [2**n for n in range(11)]


def scaling(overrides: list[str]) -> list[dict]:
    """A row for each number of replicas."""
    config = load("paper-70b", overrides).config
    found = plan_cluster(config, Wanted(64, "h100"))
    steps = round_steps([one.step for one in found.times], "M2")
    training = next(one for one in found.times if one.step.name == "M2/dpo")
    rows: list[dict] = []
    for number in REPLICAS:
        cluster = replace(found.cluster, replicas=number)
        made = simulate_round(cluster, config, steps, training, Lengths())
        efficiency = rows[0]["hours"] * 3600 / made.writing / number if rows else 1.0
        rows.append(
            {"replicas": number, "hours": made.writing / 3600, "busy": made.busy, "efficiency": efficiency}
        )
    return rows


def main() -> None:
    found = {name: scaling(overrides) for name, overrides in SETTINGS.items()}
    KEPT.write_text(json.dumps(found, indent=1) + "\n")
    for name, rows in found.items():
        print(f"\n{name}\n  replicas     hours   busy   efficiency")
        for row in rows:
            print(f"{row['replicas']:>10,}{row['hours']:>10.2f}{row['busy']:>7.0%}{row['efficiency']:>13.0%}")


if __name__ == "__main__":
    main()
