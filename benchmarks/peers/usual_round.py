"""A self-rewarding round written the usual way: `transformers.generate` for the text, TRL for DPO."""

import re
import statistics
import time
from itertools import combinations, zip_longest

from common import STARTED, encode, load, read_job, report
from generate import generate, warm_up
from trl_dpo import train_dpo

PACKAGES = ["transformers", "trl", "accelerate", "datasets"]


class Writer:
    """Generation with a part's tokens and time noted."""

    def __init__(self, model, tokenizer, settings: dict) -> None:
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self.parts: dict[str, dict] = {}

    def __call__(
        self, part: str, requests: list[list[dict]], copies: int, max_tokens: int
    ) -> list[list[str]]:
        started = time.perf_counter()
        prompts = [encode(self.tokenizer, messages) for messages in requests]
        settings = self.settings | {"max_tokens": max_tokens}
        answers = generate(self.model, self.tokenizer, prompts, [copies] * len(prompts), settings)
        texts = [self.tokenizer.batch_decode(each, skip_special_tokens=True) for each in answers]
        self.parts[part] = {
            "seconds": time.perf_counter() - started,
            "requests": len(prompts),
            "read": sum(map(len, prompts)),
            "written": sum(len(ids) for each in answers for ids in each),
        }
        return texts


def user(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def score(verdicts: list[str], pattern: re.Pattern) -> float | None:
    """Mean of the judgments that gave a number; None where none did."""
    found = [match.group(1) for verdict in verdicts if (match := pattern.search(verdict))]
    return statistics.fmean(map(float, found)) if found else None


def best_and_worst(
    prompts: list[str], responses: list[list[str]], scores: list[list[float | None]], wanted: int
) -> tuple[list[dict], int]:
    """``wanted`` pairs, and how many the scores made; arbitrary ones fill up, so that DPO has its work."""
    pairs, spare = [], []
    for prompt, answers, marks in zip(prompts, responses, scores, strict=True):
        known = sorted((mark, index) for index, mark in enumerate(marks) if mark is not None)
        if known and known[-1][0] > known[0][0]:
            best, worst = answers[known[-1][1]], answers[known[0][1]]
            pairs.append({"prompt": prompt, "chosen": best, "rejected": worst})
        different = list(dict.fromkeys(answers))
        spare.append([{"prompt": prompt, "chosen": a, "rejected": b} for a, b in combinations(different, 2)])
    judged = min(len(pairs), wanted)
    fill = [pair for layer in zip_longest(*spare) for pair in layer if pair and pair not in pairs]
    pairs = (pairs + fill)[:wanted]
    if len(pairs) < wanted:
        raise SystemExit(f"{wanted} pairs wanted, but the responses make {len(pairs)}: ask for fewer pairs")
    return pairs, judged


def main() -> None:
    job = read_job()
    settings = {"batch_size": 128, "temperature": 0.7, "top_p": 0.9, "max_tokens": 128, "samples": 4} | job[
        "settings"
    ]
    dpo = {
        "batch_size": 8,
        "micro": 2,
        "learning_rate": 5e-6,
        "beta": 0.1,
        "max_length": 1024,
    } | settings.get("dpo", {})
    tokenizer, model = load(job)
    write = Writer(model, tokenizer, settings)
    warm_up(model, tokenizer, settings)
    startup = time.perf_counter() - STARTED

    started = time.perf_counter()
    requests = settings["prompt_requests"]
    new = write("prompts", requests, 1, settings.get("prompt_max_tokens", settings["max_tokens"]))
    prompts = [texts[0].strip() or "Hello." for texts in new]
    responses = write(
        "responses", [user(text) for text in prompts], settings["samples"], settings["max_tokens"]
    )
    questions = [
        user(settings["rubric"].replace("{{instruction}}", prompt).replace("{{response}}", answer))
        for prompt, answers in zip(prompts, responses, strict=True)
        for answer in answers
    ]
    verdicts = write("judgments", questions, settings["judge_samples"], settings["judge_max_tokens"])
    pattern = re.compile(settings["verdict"])
    marks = [score(each, pattern) for each in verdicts]
    scores = [marks[at : at + settings["samples"]] for at in range(0, len(marks), settings["samples"])]
    pairs, judged = best_and_worst(prompts, responses, scores, settings["pairs"])

    part = time.perf_counter()
    del model, write.model
    tokenizer, policy = load(job, "float32")
    loading = time.perf_counter() - part
    training = train_dpo(policy, tokenizer, pairs, dpo)
    write.parts["dpo"] = {
        "seconds": time.perf_counter() - part,
        "loading_seconds": loading,
        "training": training,
    }
    report(
        time.perf_counter() - started,
        sum(each.get("read", 0) for each in write.parts.values()),
        sum(each.get("written", 0) for each in write.parts.values()),
        startup,
        PACKAGES,
        parts=write.parts,
        pairs=len(pairs),
        pairs_by_score=judged,
        scored=sum(mark is not None for mark in marks),
    )


if __name__ == "__main__":
    main()
