"""How fast the run browser is on a run of 100,000 records, on one core.

``python benchmarks/browser_speed.py [5000] [200]``: prompts a round, and requests of each kind of page. Makes
the run in a temporary folder; prints the time to index it, the size of the index, and of every kind of page
the median and the 95th percentile in milliseconds, until all of it is read.
"""

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from texts import text

from srlm.records import Judgment, Pair, Prompt, Record, Response, content_id
from srlm.web.browser.browsing import browse_routes
from srlm.web.browser.index import open_index

HELD_OUT = 200
REASONS = (*(None,) * 7, "no score", "truncated")


def make_run(folder: Path, prompts: int, rounds: int = 2) -> int:
    """A run of so many prompts a round, 4 responses each, 3 draws; returns how many records."""
    folder.mkdir(parents=True)
    for name in ("run.json", "config.json"):
        (folder / name).write_text("{}")
    number = 0
    for t in range(2, rounds + 2):
        number += _round(folder / f"M{t}", t, prompts)
    asked = [_prompt(900_000 + n) for n in range(HELD_OUT)]
    for t in range(rounds + 2):
        answers = [_response(prompt, 0, (t + 1) * 1_000_000 + n) for n, prompt in enumerate(asked)]
        answers[0] = answers[0].model_copy(update={"text": _long(t)})
        number += _write(folder / f"M{t}/evaluation/answers", answers)
        if t:
            number += _write(folder / f"M{t}/watch/own", [_judged(item, t) for item in answers])
        if t > 1:
            number += _write(folder / f"M{t}/watch/frozen", [_judged(item, 1) for item in answers])
        signals = [_signal("length of answers by M1's", t > 2), _signal("ties", t == 2)]
        (folder / f"M{t}/monitors.json").write_text(json.dumps({"signals": signals}))
    return number


def _round(folder: Path, t: int, prompts: int) -> int:
    written = [_prompt(t * 100_000 + n) for n in range(prompts)]
    answers = [
        [_response(prompt, draw, t * 10_000_000 + n * 4 + draw) for draw in range(4)]
        for n, prompt in enumerate(written)
    ]
    judgments = [[_judged(item, t) for item in group] for group in answers]
    pairs = [_pair(*both) for both in zip(answers, judgments, strict=True)]
    number = _write(folder / "prompts", written)
    number += _write(folder / "responses", (item for group in answers for item in group))
    number += _write(folder / "judgments", (item for group in judgments for item in group))
    return number + _write(folder / "pairs", pairs)


def _prompt(seed: int) -> Prompt:
    return Prompt.of(f"{text(seed)}?", ("no seed",) * 8, seed)


def _response(prompt: Prompt, draw: int, seed: int) -> Response:
    words = text(seed, 40, 200)
    key = content_id("response", prompt.id, draw, words)
    return Response.given(key, prompt, words, draw=draw).model_copy(update={"num_tokens": len(words) // 5})


def _long(seed: int) -> str:
    """About 200 KB in lines of a dozen words; every fourth line is the same for all seeds."""
    return "\n".join(text(line if line % 4 == 0 else seed * 10_000 + line, 12, 12) for line in range(2900))


def _judged(response: Response, t: int) -> Judgment:
    chance = random.Random(f"{response.id} {t}")
    reasons = tuple(chance.choices(REASONS, k=3))
    scores = tuple(None if reason else float(chance.randint(0, 5)) for reason in reasons)
    known = [score for score in scores if score is not None]
    replies = tuple(f"{text(chance.randrange(1 << 40), 20, 60)}\nScore: {score}" for score in scores)
    return Judgment(
        id=content_id("judgment", response.id, t),
        response_id=response.id,
        prompt_id=response.prompt_id,
        rubric="additive@0",
        scoring="sampled",
        score=statistics.fmean(known) if known else None,
        variance=statistics.pvariance(known) if len(known) > 1 else None,
        scores=scores,
        reasons=reasons,
        replies=replies,
        finishes=("stop",) * 3,
        num_tokens=90,
        flagged=chance.random() < 0.02,
    )


def _pair(group: list[Response], judged: list[Judgment]) -> Pair:
    scored = sorted(zip((item.score or 0.0 for item in judged), range(4), strict=True))
    (low, worst), (high, best) = scored[0], scored[-1]
    chosen, rejected = group[best], group[worst]
    return Pair(
        id=content_id("pair", chosen.id, rejected.id),
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


def _signal(name: str, fires: bool) -> dict[str, object]:
    shown = {"gate": None, "unit": "share", "value": 0.4, "low": 0.3, "high": 0.5, "num": 100}
    return {"name": name, **shown, "limit": "above 0.2", "alarm": f"{name}: too high" if fires else None}


def _write(step: Path, records: Iterable[Record]) -> int:
    """A step that is done; returns how many records it has."""
    step.parent.mkdir(parents=True, exist_ok=True)
    lines = [item.model_dump_json() + "\n" for item in records]
    data = "".join(lines)
    step.with_suffix(".jsonl").write_text(data)
    state = {"step": step.name, "number": 0, "done": True, "digest": content_id(data), "began": "2026"}
    state |= {"records": len(lines), "bytes": len(data.encode()), "counts": {}}
    step.with_suffix(".step.json").write_text(json.dumps(state))
    return len(lines)


def addresses(folder: Path, times: int) -> Iterator[tuple[str, Callable[[random.Random], str]]]:
    """Every kind of page and how one of it is addressed by chance."""
    prompts = [json.loads(line)["id"] for line in (folder / "M2/prompts.jsonl").open()]
    asked = [json.loads(line)["prompt_id"] for line in (folder / "M1/evaluation/answers.jsonl").open()]
    pages = len(prompts) * 8 // 50
    yield "overview", lambda _: ""
    yield "list, first page", lambda chance: chance.choice(["responses", "judgments", "pairs", "prompts"])
    yield "list, deep page", lambda chance: f"responses?page={chance.randint(pages * 3 // 4, pages)}"
    yield "list by score, deep page", lambda chance: f"responses?sort=score&page={chance.randint(1, pages)}"
    yield "search, rare word", lambda chance: f"responses?q=w{chance.randint(2000, 9000)}"
    yield "search, two common words", lambda chance: f"responses?q=w{chance.randint(0, 9)}+w1"
    yield (
        "search, a phrase",
        lambda chance: f"judgments?q=%22w{chance.randint(0, 5)}+w{chance.randint(0, 5)}%22",
    )
    yield "search in the prompt", lambda chance: f"responses?in=prompt&q=w{chance.randint(0, 200)}"
    yield (
        "filtered and sorted",
        lambda chance: (
            f"responses?round=M{chance.choice([2, 3])}&score_from={chance.randint(0, 4)}"
            f"&length_to={chance.randint(300, 900)}&role=none&sort=longest"
        ),
    )
    yield (
        "searched, filtered and sorted",
        lambda chance: f"judgments?q=w{chance.randint(0, 9)}&reason=no+score&alarm=ties&sort=variance",
    )
    yield "prompt", lambda chance: f"prompt/{chance.choice(prompts)}"
    yield "list of differences", lambda chance: f"diff?one=M1&other=M{chance.choice([2, 3])}&sort=gain"
    yield "difference", lambda chance: f"diff/{chance.choice(asked[1:])}?one=M1&other=M3"
    yield "difference of 200 KB", lambda _: f"diff/{asked[0]}?one=M1&other=M3"


def measure(client: TestClient, address: Callable[[random.Random], str], times: int) -> tuple[float, float]:
    """Median and 95th percentile of the milliseconds that pages take, after a first one."""
    chance, taken = random.Random(0), []
    for number in range(times + 1):
        path = f"/browse/{address(chance)}"
        started = time.perf_counter()
        found = client.get(path)
        if number:
            taken.append(1000 * (time.perf_counter() - started))
        if found.status_code != 200:
            raise SystemExit(f"{path}: {found.status_code}")
    return statistics.median(taken), statistics.quantiles(taken, n=20)[-1]


def main() -> None:
    prompts, times = (int(given) for given in [*sys.argv[1:], "5000", "200"][:2])
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        number = make_run(folder, prompts)
        read = sum(path.stat().st_size for path in folder.rglob("*.jsonl"))
        index = open_index(folder)
        started = time.perf_counter()
        index.fill()
        seconds = time.perf_counter() - started
        size = index.path.stat().st_size
        print(f"{number:,} records of {read / 2**20:.0f} MiB, an index of {size / 2**20:.0f} MiB")
        print(f"indexed in {seconds:.1f} s")
        app = Starlette(routes=[Mount("/browse", routes=browse_routes(folder, index))])
        with TestClient(app) as client:
            for name, address in addresses(folder, times):
                median, p95 = measure(client, address, times)
                print(f"{name:<32}{median:>8.1f} ms{p95:>8.1f} ms")
        index.close()


if __name__ == "__main__":
    main()
