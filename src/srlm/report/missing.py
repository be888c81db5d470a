"""What a reader might look for in a report and the run does not have, in words."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from srlm.report.rows import Results, title_of

WANTED = {
    "head_to_head": "head-to-head of the models",
    "alpaca_eval": "AlpacaEval, raw and length-controlled",
    "mt_bench": "MT-Bench",
    "harness": "the panel of NLP tasks",
}
"""The paper's measures by the suites that take them."""


def missing(
    done: Mapping[str, Any],
    config: Mapping[str, Any],
    names: Sequence[str],
    results: Results,
    signals: Mapping[str, Mapping[str, Any]],
    *,
    voted: bool,
) -> list[str]:
    """By what is there: steps that are `done`, the `names` of all models, results, signals, human votes."""
    trained = [name for name in names if name != "M0"]
    steps = {name: f"{name}/{'sft' if name in {'SFT', 'M1'} else 'dpo'}" for name in trained}
    found = [f"training of {name}: not there ({step})" for name, step in steps.items() if step not in done]
    if "M1/sft" in done and "M1/eft" not in done:
        why = "not there (M1/eft)" if config.get("eft.teach", True) else "nothing (eft.teach=false)"
        found.append(f"what taught M1 judging: {why}")
    found += [
        f"held-out figures of {name}: not measured"
        for name in names
        if f"{name}/evaluation/figures" not in done
    ]
    found += [
        f"answers of {name} to held-out prompts: not there ({name}/evaluation/answers)"
        for name in names
        if f"{name}/evaluation/figures" in done and f"{name}/evaluation/answers" not in done
    ]
    found += _unmeasured(done, config.get("evaluation.suites") or [], names, results)
    watched = [name for name in trained if name != "SFT"]
    found += _unwatched(done, config.get("gates.preset"), watched, signals)
    return found if voted else [*found, "human votes: none"]


def _unmeasured(
    done: Mapping[str, Any], suites: Iterable[Mapping[str, Any]], names: Sequence[str], results: Results
) -> list[str]:
    """The paper's measures without a suite; suites without results, of all models or of some."""
    asked = {title_of(suite): suite["suite"] for suite in suites}
    found = [
        f"{what}: not measured (suite {kind})" for kind, what in WANTED.items() if kind not in asked.values()
    ]
    for title, kind in asked.items():
        measured = results[title][1] if title in results else {}
        lacking = [name for name in names if f"{name}/evaluation/{title}/figures" not in done]
        if lacking:
            of = f" of {', '.join(lacking)}" if measured else ""
            found.append(f"{WANTED.get(kind, title)}{of}: not measured (suite {title})")
    return found


def _unwatched(
    done: Mapping[str, Any],
    preset: str | None,
    names: Sequence[str],
    signals: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """Of a run that was told not to watch, of one that has not got so far, of some of its models."""
    seen = {name for row in signals.values() for name in row}
    seen |= {name for name in names if f"{name}/monitors" in done}
    if preset == "off" and not seen:
        return ["signals of reward hacking: not watched (gates.preset=off)"]
    if not seen:
        return ["signals of reward hacking: not watched yet"]
    return [f"signals of {name}: not watched yet" for name in names if name not in seen]
