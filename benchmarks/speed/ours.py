"""srlm on a job of the peers' form: its last line of output has theirs."""

import json
import sys
import tempfile
import time
from pathlib import Path

STARTED = time.perf_counter()

import torch  # noqa: E402

from srlm.chat_format import load_tokenizer  # noqa: E402
from srlm.config import DpoSection, JudgeSection, LocalEngineSection, ResponsesSection, SftSection  # noqa: E402
from srlm.engines.base import Request  # noqa: E402
from srlm.engines.local import LocalEngine  # noqa: E402
from srlm.judging.rubric import load_rubric  # noqa: E402
from srlm.memory import peak_memory_gib  # noqa: E402
from srlm.models import Model  # noqa: E402
from srlm.prefixes import prefix_tree  # noqa: E402
from srlm.records import Example, Message, Pair, Prompt, content_id  # noqa: E402
from srlm.stages.judgments import judge  # noqa: E402
from srlm.stages.responses import respond  # noqa: E402
from srlm.store.blocks import Items  # noqa: E402
from srlm.training.batches import encode, training_order  # noqa: E402
from srlm.training.launch import train_dpo, train_sft  # noqa: E402


def requests_of(items: list[dict], settings: dict, purpose: str) -> list[Request]:
    return [
        Request(
            id=str(number),
            conversation=tuple(Message(**message) for message in item["messages"]),
            purpose=purpose,
            seed=number,
            n=item["n"],
            temperature=settings["temperature"],
            top_p=settings["top_p"],
            max_tokens=settings["max_tokens"],
            prefix=settings.get("prefix", ""),
            continuations=tuple(settings.get("continuations", ())),
        )
        for number, item in enumerate(items)
    ]


def opened(job: dict) -> LocalEngine:
    """An engine that has written a few tokens."""
    engine = LocalEngine(LocalEngineSection(device=job["device"]), Model("M", Path(job["model"]), "speed"))
    warm = {"temperature": 1.0, "top_p": 0.9, "max_tokens": 4}
    list(
        engine.generate(
            requests_of([{"messages": [{"role": "user", "content": "Hello."}], "n": 2}], warm, "response")
        )
    )
    return engine


def generation(job: dict) -> dict:
    engine = opened(job)
    requests = requests_of(
        job["items"], job["settings"], "judgment" if job["workload"] != "responses" else "response"
    )
    started = time.perf_counter()
    replies = list(engine.generate(requests))
    return {
        "seconds": time.perf_counter() - started,
        "read": sum(reply.num_prompt_tokens for reply in replies if not reply.draw),
        "distinct": len(prefix_tree([engine._encoding.job(request).ids for request in requests]).ids),
        "written": sum(reply.num_tokens for reply in replies),
        "startup_seconds": started - STARTED,
        "dtype": str(engine._model.dtype),
    }


def training(job: dict) -> dict:
    """The optimiser's steps but the first; beside them the reference's pass."""
    with tempfile.TemporaryDirectory() as temporary:
        return trained(job, job["workload"], job["items"], job["settings"], Path(temporary))


def trained(job: dict, kind: str, items: list[dict], settings: dict, folder: Path) -> dict:
    shared = {
        "learning_rate": settings["learning_rate"],
        "min_learning_rate": 0,
        "batch_size": settings["batch_size"],
        "max_length": settings["max_length"],
        "dropout": 0,
        "compile": settings.get("compile", "auto"),
        "save_steps": 10**6,
        "device": job["device"],
    }
    model = Path(job["model"])
    source, places = Model("M", model, "speed"), {"folder": folder, "target": folder / "model"}
    started = time.perf_counter()
    if kind == "dpo":
        train_dpo(
            DpoSection(**shared, beta=settings["beta"]), source, [pair(item) for item in items], [], **places
        )
    else:
        train_sft(SftSection(**shared), source, [example(item) for item in items], [], **places)
    steps = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    counted = steps[1:] or steps
    return {
        "seconds": sum(step["tokens"] / step["tokens_per_second"] for step in counted),
        "read": round(sum(step["tokens"] for step in counted)),
        "written": 0,
        **learned(kind, model, items, settings["batch_size"]),
        "startup_seconds": started - STARTED,
        "whole_seconds": time.perf_counter() - started,
        "losses": [step["loss"] for step in steps],
        "summary": json.loads((folder / "summary.json").read_text()),
    }


def learned(kind: str, model: Path, items: list[dict], batch_size: int) -> dict[str, int]:
    """Distinct tokens, and targets, of every optimiser batch but the first."""
    tokenizer = load_tokenizer(model)
    answers = ("chosen", "rejected") if kind == "dpo" else ("completion",)
    units = [[encode(tokenizer, item["prompt"], item[name]) for name in answers] for item in items]
    order = training_order(len(items), batch_size, 1, 0)
    batches = [[tokens for index in batch for tokens in units[index]] for batch in order[1:] or order]
    return {
        "distinct": sum(len(prefix_tree([tokens.ids for tokens in batch]).ids) for batch in batches),
        "targets": sum(tokens.num_targets for batch in batches for tokens in batch),
    }


def pair(item: dict) -> Pair:
    return Pair(
        id=content_id("pair", item),
        prompt_id="p",
        chosen_id="c",
        rejected_id="r",
        chosen_score=5,
        rejected_score=1,
        chosen_finish="stop",
        rejected_finish="stop",
        **item,
    )


def example(item: dict) -> Example:
    return Example(
        id=content_id("example", item), kind="ift", prompt=item["prompt"], response=item["completion"]
    )


def whole_round(job: dict) -> dict:
    """Prompts, responses, judgments, pairs and DPO, on the work that `usual_round.py` does."""
    settings, parts = job["settings"], {}
    engine = opened(job)
    started = last = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal last
        parts[name], last = time.perf_counter() - last, time.perf_counter()

    asked = [{"messages": messages, "n": 1} for messages in settings["prompt_requests"]]
    replies = sorted(
        engine.generate(requests_of(asked, settings, "prompt")), key=lambda reply: int(reply.request_id)
    )
    prompts = Items([Prompt.of(f"{n}. {reply.text}", (), n) for n, reply in enumerate(replies)])
    lap("prompts")
    responding = ResponsesSection(samples=settings["samples"], max_tokens=settings["max_tokens"], block=128)
    responses = [item for block in respond(responding, engine, prompts) for item in block.records]
    lap("responses")
    judging = JudgeSection(
        samples=settings["judge_samples"], max_tokens=settings["judge_max_tokens"], retries=0, block=256
    )
    judged = [
        item
        for block in judge(judging, engine, load_rubric("additive"), Items(responses))
        for item in block.records
    ]
    lap("judging")
    engine.close()
    pairs = []
    for prompt in prompts:
        texts = list(dict.fromkeys(item.text for item in responses if item.prompt_id == prompt.id))
        pairs += (
            [{"prompt": prompt.text, "chosen": texts[0], "rejected": texts[-1]}] if len(texts) > 1 else []
        )
    with tempfile.TemporaryDirectory() as temporary:
        trained(job, "dpo", pairs[: settings["pairs"]], settings["dpo"], Path(temporary))
    lap("dpo")
    return {
        "seconds": time.perf_counter() - started,
        "read": sum(reply.num_prompt_tokens for reply in replies),
        "written": sum(item.num_tokens for item in [*replies, *responses, *judged]),
        "startup_seconds": started - STARTED,
        "parts": parts,
        "pairs": len(pairs[: settings["pairs"]]),
        "scored": sum(item.score is not None for item in judged),
    }


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(job["threads"])
    work = {"dpo": training, "sft": training, "round": whole_round}.get(job["workload"], generation)
    found = work(job)
    if job["device"] == "cuda":  # of this process; one that trains is another
        found["device_gib"] = torch.cuda.max_memory_allocated() / 2**30
    print(json.dumps(found | {"peak_gib": peak_memory_gib()}))


if __name__ == "__main__":
    main()
