"""Ours beside every peer, in turn: ``python benchmarks/speed [--only NAME ...] [--repeats 3] [--size 64]``.

Prints a table and keeps every run in docs/performance, in a file named by the machine, where later runs of
single lines join earlier ones. All run on one device (``--device``), with the same number of threads. The
peers' environments come from benchmarks/peers/setup; a peer that is not set up is left out and named.
"""

import argparse
import json
import math
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402
from limits import PRECISIONS, limits, products  # noqa: E402
from processes import run_and_watch  # noqa: E402
from safetensors import safe_open  # noqa: E402
from workloads import workloads  # noqa: E402

from srlm.config import ModelSection  # noqa: E402
from srlm.devices import device_of  # noqa: E402
from srlm.errors import ConfigError  # noqa: E402
from srlm.models import resolve  # noqa: E402

PEERS = {
    "responses": {
        "generate 32": ("trl", "generate.py", {"batch_size": 32}),
        "generate 128": ("trl", "generate.py", {"batch_size": 128}),
        "continuous": ("trl", "continuous.py", {"batch_size": 64}),
        "vLLM": ("vllm", "vllm_offline.py", {}),
        "lucidrains": ("lucidrains", "lucidrains_sample.py", {"items": 1}),
    },
    "judging": {
        "generate": ("trl", "generate.py", {"batch_size": 48}),
        "generate 128": ("trl", "generate.py", {"batch_size": 128}),
    },
    "expected": {},
    "dpo": {
        "TRL": ("trl", "trl_dpo.py", {"micro": 2}),
        "TRL, 4 pairs": ("trl", "trl_dpo.py", {"micro": 4}),
        "TRL, compiled": ("trl", "trl_dpo.py", {"micro": 2, "compile": True}),
        "lucidrains": ("lucidrains", "lucidrains_dpo.py", {"micro": 2, "items": 16}),
    },
    "sft": {
        "TRL, packed": ("trl", "trl_sft.py", {"micro": 1, "batch_size": 4}),
        "TRL, packed, compiled": ("trl", "trl_sft.py", {"micro": 1, "batch_size": 4, "compile": True}),
    },
    "round": {"generate 128 and TRL": ("trl", "usual_round.py", {"batch_size": 128})},
}
"""Workload, peer: environment, runner, and what it is given otherwise (`items`: so many alone)."""

SAME_END = {"expected": ("judging", "generate")}
"""A workload that gets what another gets, by other means: the peer's runs that it stands beside."""

TARGETS = {
    "responses": {"generate 32": 2.5, "generate 128": 2.5, "vLLM": 1.5},
    "judging": {"generate": 4, "generate 128": 4},
    "expected": {"judging, generate": 15},
    "dpo": {"TRL": 2.5, "TRL, compiled": 2.5},
    "sft": {"TRL, packed": 1.3, "TRL, packed, compiled": 1.3},
    "round": {"generate and TRL": 4, "generate 128 and TRL": 4},
}
"""Times faster than a peer that srlm wants to be."""


def main() -> None:
    asked = arguments()
    try:
        found = work(asked, device_of(asked.device))
    except ConfigError as error:
        raise SystemExit(str(error)) from None
    print(table(found))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--peers", nargs="*", help="names of peers; none: ours alone")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, default=64, help="prompts or responses")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="of all, peers too")
    parser.add_argument("--out", type=Path, help="a file for the runs, instead of this machine's")
    return parser.parse_args()


def work(asked: argparse.Namespace, device: str) -> dict:
    """All runs that were asked for, added to those that are kept."""
    model = resolve(ModelSection())
    jobs = workloads(model, asked.size, device)
    here = machine(device)
    path = asked.out or ROOT / "docs" / "performance" / f"speed-{device}-{slug(str(here['device']))}.json"
    found = kept(path, {"machine": here, "size": asked.size, "model": weights_of(model.path)})
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.only:
            for _ in range(asked.repeats):
                measured = limits(device)
                for who, job, command in contestants(name, jobs, asked.peers):
                    run = timed(command, job | {"workload": name}, Path(folder))
                    print(f"{name}, {who}: {short(run)}", flush=True)
                    found["runs"].append({"workload": name, "who": who, "limits": measured} | run)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(json.dumps(found, indent=1) + "\n")
    return found


def kept(path: Path, about: dict) -> dict:
    """The runs of a file; raises ConfigError where they are of another machine or other work."""
    found = json.loads(path.read_text()) if path.exists() else about | {"runs": []}
    other = {name: (found.get(name), now) for name, now in about.items() if found.get(name) != now}
    if other:
        raise ConfigError(
            f"{path}, made with " + ", ".join(f"{name} {then}" for name, (then, _) in other.items()),
            "medians over different machines or sizes mean nothing, and here we have "
            + ", ".join(f"{name} {now}" for name, (_, now) in other.items()),
            "name another file with --out",
        )
    return found


def slug(name: str) -> str:
    """A name of a machine as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def contestants(name: str, jobs: dict, wanted: list[str] | None) -> list[tuple[str, dict, list[str]]]:
    """(who, job, command) of a workload, ours first."""
    command = [sys.executable, str(HERE / "ours.py")]
    found = [("srlm", jobs[name], command)]
    if name in {"dpo", "sft"}:  # as a long training is, and as one that is too short to pay for it
        compiled, plain = (
            jobs[name] | {"settings": jobs[name]["settings"] | {"compile": compile_}}
            for compile_ in (True, False)
        )
        found = [("srlm", compiled, command), ("srlm, not compiled", plain, command)]
    for who, (environment, runner, given) in PEERS[name].items():
        python = ROOT / ".venv-peers" / environment / "bin" / "python"
        if wanted is not None and who not in wanted:
            continue
        if not python.exists():
            print(f"{name}: {who} is left out, for benchmarks/peers/setup has not been run")
            continue
        changes = dict(given)
        items = jobs[name]["items"][: changes.pop("items", None)]
        job = jobs[name] | {"items": items, "settings": jobs[name]["settings"] | changes}
        found.append((who, job, [str(python), str(ROOT / "benchmarks" / "peers" / runner)]))
    return found


def timed(command: list[str], job: dict, folder: Path) -> dict:
    """What a runner says in its last line; what went wrong where it says nothing."""
    file = folder / "job.json"
    file.write_text(json.dumps(job))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["OMP_NUM_THREADS"] = str(job["threads"])  # a process that trains is started by another
    done, held = run_and_watch([*command, str(file)], environment)
    said = [line for line in done.stdout.splitlines() if line.startswith("{")]  # an engine may say goodbye
    if done.returncode or not said:
        return {"error": (done.stderr.strip().splitlines() or ["no word"])[-1][:300]}
    run = json.loads(said[-1])
    peak = max(held, run["peak_gib"])  # what one process says of itself was not missed between two looks
    return run | {"peak_gib": round(peak, 3), "ended": time.strftime("%Y-%m-%d %H:%M")}


def machine(device: str) -> dict[str, str | int]:
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else processor(),
        "cores": os.cpu_count() or 0,
        "torch": torch.__version__,
        "system": platform.system(),
    }


def processor() -> str:
    """The processor's name, as the system gives it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def weights_of(folder: Path) -> dict[str, int]:
    """Numbers in all weights, and in the head's, which may be the embedding's as well."""
    with safe_open(folder / "model.safetensors", "pt") as file:
        sizes = {name: math.prod(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    embedding = sizes["model.embed_tokens.weight"]
    return {"parameters": sum(sizes.values()), "head": sizes.get("lm_head.weight", embedding)}


def short(run: dict) -> str:
    if "error" in run:
        return f"failed: {run['error']}"
    return f"{run['seconds']:.1f} s, {rate(run):.0f} tokens/s, {run['peak_gib']:.2f} GiB"


def rate(run: dict) -> float:
    """Tokens a second: written ones, or read ones where nothing is written."""
    return (run["written"] if run["written"] > 100 else run["read"]) / run["seconds"]


def table(found: dict) -> str:
    """Markdown: medians of each workload's runs, how many times faster ours is, the share of the limit.

    A ratio stands for each of our own rows, in their order: compiled, and not.
    """
    lines = [
        "| workload | who | runs | seconds | tokens/s | GiB | of limit | ratio | target |",
        "|" + "---|" * 9,
    ]
    for name in PEERS:
        runs = [run for run in found["runs"] if run["workload"] == name and "error" not in run]
        runs += borrowed(name, found["runs"])
        by_name: dict[str, list[dict]] = {}
        for run in runs:
            by_name.setdefault(run["who"], []).append(run)
        ours = {who: each for who, each in by_name.items() if who.startswith("srlm")}
        for who, theirs in by_name.items():
            figures = [(run["seconds"], rate(run), run["peak_gib"]) for run in theirs]
            seconds, tokens, gib = (statistics.median(each) for each in zip(*figures, strict=True))
            like = next(iter(ours.values()), theirs)[0]
            shares = [share for run in theirs if (share := of_limit(name, run, like, found["model"]))]
            share = f"{statistics.median(shares):.0%}" if shares else ""
            ratio = "" if who in ours else ", ".join(faster(name, each, theirs) for each in ours.values())
            target = TARGETS[name].get(who, "") if ratio else ""
            lines.append(
                f"| {name} | {who} | {len(theirs)} | {seconds:.1f} | {tokens:.0f} | {gib:.2f} | {share} "
                f"| {ratio} | {target} |"
            )
    return "\n".join(lines)


def borrowed(name: str, runs: list[dict]) -> list[dict]:
    """The other workload's runs beside which this one stands."""
    other, who = SAME_END.get(name, ("", ""))
    return [run | {"who": f"{other}, {who}"} for run in runs if (run["workload"], run["who"]) == (other, who)]


def of_limit(name: str, run: dict, like: dict, size: dict[str, int]) -> float | None:
    """Share of what a large product reached just before, in the faster precision; `like` counted targets."""
    done, limit = products(name, run, like, size), max(run["limits"][f"{p}_gflops"] for p in PRECISIONS)
    return done and done / run["seconds"] / 1e9 / limit


def faster(name: str, ours: list[dict], theirs: list[dict]) -> str:
    """How many times faster ours is: the median over the repeats in which both ran.

    Of tokens/s, but of seconds where the tokens are not the same work. Runs of one repeat have the same
    `limits`, measured just before. Runs that share no repeat are compared by their medians, with a ~.
    """

    def speed(run: dict) -> float:
        return 1 / run["seconds"] if name in {"expected", "round"} else rate(run)

    beside = [(one, other) for other in theirs for one in ours if one["limits"] == other["limits"]]
    if beside:
        return f"{statistics.median(speed(one) / speed(other) for one, other in beside):.2f}"
    return f"~ {statistics.median(map(speed, ours)) / statistics.median(map(speed, theirs)):.2f}"


if __name__ == "__main__":
    main()
