"""lm-evaluation-harness in a process of its own: ``python -m srlm.evaluation.harness``, a job on its input.

It sets random seeds, logs and holds a model, none of which the parent wants; its memory goes back at the end.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srlm.errors import EngineError
from srlm.process import end_with_parent, message_channel

KEPT = ("results", "samples", "versions", "n-shot", "group_subtasks")
KEPT_OF_SAMPLE = ("doc_id", "target", "filtered_resps", "filter", "acc", "acc_norm", "exact_match")


def ask_harness(job: Mapping[str, Any], noise: Path) -> dict[str, Any]:
    """What the harness's ``simple_evaluate`` gives for one task: results, samples, versions, n-shot.

    What it says meanwhile goes to the file `noise`. Raises EngineError when it fails.
    """
    noise.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "srlm.evaluation.harness"]
    with (
        noise.open("w") as stderr,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as child,
    ):
        try:
            if child.stdin:  # stays open: the child ends with its parent
                child.stdin.write(json.dumps(job) + "\n")
                child.stdin.flush()
            said = child.stdout.read() if child.stdout else ""
            child.wait()
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        last = (noise.read_text("utf-8", errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise EngineError(
            f"task {job['task']} of lm-evaluation-harness",
            f"it ended with status {child.returncode}: {last[:300]}",
            f"read {noise}; names of `lm_eval ls tasks` have their data on the hub; or give a local file",
        )
    found: dict[str, Any] = json.loads(said)
    return found


def main() -> None:
    """Do the job that stands in the first line of the input, and print what came out."""
    channel = message_channel()
    job = json.loads(sys.stdin.readline())
    end_with_parent()
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from srlm.devices import device_of

    found = simple_evaluate(
        model="hf",
        model_args=job["model_args"],
        tasks=[job["task"]],
        num_fewshot=job["fewshot"],
        batch_size=job["batch_size"],
        device=device_of(job["device"]),
        limit=job["limit"],
        apply_chat_template=job["chat_template"],
        task_manager=TaskManager(include_path=job["include_path"]),
        bootstrap_iters=0,
    )
    kept = {key: found.get(key, {}) for key in KEPT}
    kept["samples"] = {
        name: [{key: one[key] for key in KEPT_OF_SAMPLE if key in one} for one in group]
        for name, group in found["samples"].items()
    }
    print(json.dumps(kept, default=str), file=channel, flush=True)


if __name__ == "__main__":
    main()
