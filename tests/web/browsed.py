"""Run folders written by hand to be browsed: every kind of record; steps that are begun, cut or redone."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, pvariance

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from srlm.records import Example, Judgment, Pair, Prompt, Record, Response, content_id
from srlm.web.browser.browsing import browse_routes
from srlm.web.browser.index import Index

WORDS = ["river", "stone", "Moon", "café", "north", "glass", "wheel", "salt", "月亮很大", "don't", "x_y", "7"]
REASONS = (None, None, None, "no score", "truncated", "out of range")
BASE = "/browse/KEY/"
Say = Callable[[str, str], str]
"""From what a text is, and the text, to the text that is written."""


def browse(folder: Path, index: Index) -> TestClient:
    """A client of the browser of a run, mounted as the server mounts it."""
    app = Starlette(routes=[Mount("/browse/{key}", routes=browse_routes(folder, index))])
    return TestClient(app, base_url="http://testserver" + BASE, raise_server_exceptions=True)


def write_step(
    folder: Path, step: str, records: Sequence[Record], *, done: bool = True, began: str = "first"
) -> None:
    """A step with its records, all of them committed."""
    path = folder / f"{step}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(item.model_dump_json() + "\n" for item in records).encode()
    path.write_bytes(data)
    write_state(folder, step, len(records), len(data), done=done, began=began)


def write_state(
    folder: Path, step: str, records: int, committed: int, *, done: bool = True, began: str = "first"
) -> None:
    """How far a step is, as a run writes it."""
    state = {"step": step, "number": 0, "done": done, "records": records, "bytes": committed, "began": began}
    state |= {"digest": content_id(step, committed, began) if done else None, "counts": {}}
    (folder / f"{step}.step.json").write_text(json.dumps(state))


def read_lines(folder: Path, step: str) -> list[dict]:
    """The records of a step as plain data."""
    return [json.loads(line) for line in (folder / f"{step}.jsonl").read_text("utf-8").splitlines()]


def make_run(folder: Path, prompts: int = 20, *, say: Say = lambda what, text: text, judge: str = "") -> Path:
    """A run of M0 to M3 with two rounds; `say` may write other texts, `judge` names another judge than M1."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text('{"srlm": "0"}')
    (folder / "config.json").write_text(json.dumps({"config": {"judge": {"judge": judge or None}}}))
    chance = random.Random(0)
    seeds = [
        Example(
            id=say("id", f"seed{n}"),
            kind="ift",
            prompt=say("seed", _text(chance, 9)),
            response=say("seed", "A."),
        )
        for n in range(3)
    ]
    eft = Example(id="eft", kind="eft", prompt="Judge this.", response="Score: 3")
    write_step(folder, "M1/sft/data", [*seeds, eft])
    write_state(folder, "M1/sft", 0, 0)
    earlier: list[str] = []
    for name in ("M2", "M3"):
        shown = [item.id for item in seeds] + earlier[:2] + [say("id", "nowhere")]
        written = [
            Prompt(
                id=say("id", f"{name}p{n}"),
                text=say("prompt", _text(chance, 10)),
                demonstrations=tuple(shown),
                attempt=n,
            )
            for n in range(prompts)
        ]
        earlier = [item.id for item in written]
        write_step(folder, f"{name}/prompts", written)
        groups = [[make_response(chance, item, n, name, say) for n in range(4)] for item in written]
        write_step(folder, f"{name}/responses", [item for group in groups for item in group])
        judged = {item.id: make_judgment(chance, item, "", say) for group in groups for item in group}
        write_step(folder, f"{name}/judgments", list(judged.values()))
        pairs = [make_pair(group, judged, say) for group in groups[: prompts - 3]]
        write_step(folder, f"{name}/pairs", [pair for pair in pairs if pair])
        write_signals(folder, name, {"ties": name == "M2", "KL": True, "quiet": False}, say)
    asked = [
        Prompt(id=say("id", f"held{n}"), text=say("prompt", _text(chance, 8)), demonstrations=(), attempt=0)
        for n in range(7)
    ]
    for name in ("M0", "M1", "M2", "M3"):
        answers = [make_response(chance, item, 0, name, say) for item in asked]
        write_step(folder, f"{name}/evaluation/answers", answers)
        for word in {"M0": (), "M1": ("own", "frozen") if judge else ("own",)}.get(name, ("own", "frozen")):
            said = [make_judgment(chance, item, word, say) for item in answers]
            write_step(folder, f"{name}/watch/{word}", said)
    return folder


def make_response(chance: random.Random, prompt: Prompt, draw: int, name: str, say: Say) -> Response:
    """A response of a round, or of a model, of its own length."""
    text = "" if chance.random() < 0.05 else _text(chance, chance.randint(1, 60))
    return Response(
        id=say("id", f"{name}{prompt.id}r{draw}"),
        prompt_id=prompt.id,
        prompt=prompt.text,
        draw=draw,
        text=say("response", text),
        num_tokens=chance.randint(1, 99),
        finish=chance.choice(["stop", "length"]),
    )


def make_judgment(chance: random.Random, response: Response, word: str, say: Say) -> Judgment:
    """A judgment of three draws, some of them unreadable."""
    reasons = chance.choices(REASONS, k=3)
    scores = [None if reason else float(chance.randint(0, 5)) for reason in reasons]
    known = [score for score in scores if score is not None]
    return Judgment(
        id=say("id", f"{response.id}j{word}"),
        response_id=response.id,
        prompt_id=response.prompt_id,
        rubric=say("rubric", "additive@1"),
        scoring="sampled",
        score=fmean(known) if known else None,
        variance=pvariance(known) if len(known) > 1 else None,
        scores=tuple(scores),
        reasons=tuple(say("reason", reason) if reason else None for reason in reasons),
        replies=tuple(say("reply", _text(chance, 12)) for _ in scores),
        finishes=("stop", "length", "stop"),
        num_tokens=40,
        flagged=chance.random() < 0.2,
    )


def make_pair(group: Sequence[Response], judged: dict[str, Judgment], say: Say) -> Pair | None:
    """The best against the worst, None where they are equal or fewer than two have a score."""
    scored = [(judged[item.id].score, n) for n, item in enumerate(group) if judged[item.id].score is not None]
    if len(scored) < 2 or min(scored)[0] == max(scored)[0]:
        return None
    (low, worst), (high, best) = min(scored), max(scored)
    chosen, rejected = group[best], group[worst]
    return Pair(
        id=say("id", f"{chosen.id}over"),
        prompt_id=chosen.prompt_id,
        prompt=chosen.prompt,
        chosen_id=chosen.id,
        rejected_id=rejected.id,
        chosen=chosen.text,
        rejected=rejected.text,
        chosen_score=high,
        rejected_score=low,
        chosen_finish="stop",
        rejected_finish="stop",
    )


def write_signals(
    folder: Path, name: str, fires: dict[str, bool], say: Say = lambda what, text: text
) -> None:
    """The signals of a round, of which some alarm."""
    blank = {"gate": None, "value": 0.4, "low": 0.3, "high": 0.5, "num": 40}
    signals = [
        blank
        | {
            "name": say("signal", signal),
            "unit": say("signal", "share"),
            "limit": say("signal", "above 0.2"),
            "alarm": say("signal", f"{signal} is too high") if alarms else None,
        }
        for signal, alarms in fires.items()
    ]
    (folder / name / "monitors.json").write_text(json.dumps({"signals": signals}))


def _text(chance: random.Random, number: int) -> str:
    return " ".join(chance.choices(WORDS, k=number)) + "."
