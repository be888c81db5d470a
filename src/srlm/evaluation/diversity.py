"""How varied a model's answers are, how much they repeat, and how far they have moved: no judge is asked.

Words are runs of letters and digits, or single signs, in lower case. distinct-n (Li et al. 2016) falls with
the number of words: compare it at equal length. Self-BLEU (Zhu et al. 2018) is sacrebleu's sentence BLEU of
an answer against others: 100 says that all are alike.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

import numpy as np

from srlm.evaluation.intervals import Share, bootstrap
from srlm.records import Divergence, Response

SELF_BLEU_TEXTS = 200
"""Answers compared with each other, at most; the time grows with the square."""

_WORDS = re.compile(r"\w+|[^\w\s]")


def diversity_figures(
    answers: Sequence[Response], divergences: Mapping[str, Iterable[Divergence]], seed: int = 0
) -> dict[str, Any]:
    """All figures of one model's answers, ready for JSON.

    `answers`, their number, `empty` and `prompts`; `tokens` and `characters`, mean and p95; `ended`, the
    share that ended by themselves (both of what a model wrote here, not of what a file holds);
    `distinct`, by n = 1..4, distinct n-grams by all, 0..1; `repetition`, the
    mean share of an answer's 4-grams that are there already (Welleck et al. 2020); `self_bleu` of answers to
    different prompts and `self_bleu_draws` of several answers to one prompt, 0..100; `kl`, by reference,
    nats a token, over the tokens of this model's own answers. Intervals draw prompts.
    """
    texts = [words(item.text) for item in answers]
    by_prompt: dict[str, list[Response]] = {}
    for item in answers:
        by_prompt.setdefault(item.prompt_id, []).append(item)
    groups = list(by_prompt.values())
    return {
        "answers": len(answers),
        "empty": sum(not item.text.strip() for item in answers),
        "prompts": len(groups),
        "tokens": _spread([item.num_tokens for item in answers if item.num_tokens]),
        "characters": _spread([len(item.text) for item in answers]),
        "ended": _mean(groups, _ended, seed),
        "distinct": {n: distinct(texts, n) for n in range(1, 5)},
        "repetition": _mean(groups, lambda item: repetition(words(item.text)), seed),
        "self_bleu": self_bleu([group[0].text for group in groups], seed=seed),
        "self_bleu_draws": _mean_self_bleu(groups),
        "kl": {name: _kl(list(items), seed) for name, items in divergences.items()},
    }


def words(text: str) -> list[str]:
    """The words and signs of a text, in lower case."""
    return _WORDS.findall(text.lower())


def distinct(texts: Iterable[Sequence[str]], n: int) -> float | None:
    """Distinct n-grams by all n-grams of all texts; None where no text has so many words."""
    grams = [gram for text in texts for gram in _grams(text, n)]
    return len(set(grams)) / len(grams) if grams else None


def repetition(text: Sequence[str], n: int = 4) -> float | None:
    """The share of a text's n-grams that repeat an earlier one; None for a text of fewer words."""
    grams = _grams(text, n)
    return 1 - len(set(grams)) / len(grams) if grams else None


def self_bleu(texts: Sequence[str], seed: int = 0, most: int = SELF_BLEU_TEXTS) -> float | None:
    """The mean BLEU-4 of each text against all others, 0..100; of `most` of them, drawn by `seed`.

    Texts without words are left out; None with fewer than two.
    """
    from sacrebleu.metrics.bleu import BLEU  # half a second to load

    said = [text for text in texts if words(text)]
    if len(said) > most:
        said = random.Random(seed).sample(said, most)  # noqa: S311  not for security
    if len(said) < 2:
        return None
    bleu = BLEU(effective_order=True, lowercase=True)
    return fmean(
        bleu.sentence_score(text, [*said[:place], *said[place + 1 :]]).score
        for place, text in enumerate(said)
    )


def diversity_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Plain text: a line a figure, a column a model."""
    names = list(results)
    cell = max([14, *(len(name) + 2 for name in names)])
    references = list(dict.fromkeys(name for found in results.values() for name in found["kl"]))
    rows: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = [
        ("answers", lambda found: f"{found['answers']}"),
        ("  empty", lambda found: f"{found['empty']}"),
        ("tokens, mean", lambda found: _number(found["tokens"]["mean"], 1)),
        ("tokens, p95", lambda found: _number(found["tokens"]["p95"], 1)),
        ("ended by itself %", lambda found: _number(found["ended"]["value"], 1, 100)),
        *((f"distinct-{n} %", _distinct_cell(n)) for n in range(1, 5)),
        ("repeated 4-grams %", lambda found: _number(found["repetition"]["value"], 1, 100)),
        ("self-BLEU", lambda found: _number(found["self_bleu"], 1)),
        ("self-BLEU, same prompt", lambda found: _number(found["self_bleu_draws"], 1)),
        *((f"KL to {name}, nats a token", _kl_cell(name)) for name in references),
    ]
    width = max(28, *(len(label) for label, _ in rows))
    lines = [" " * width + "".join(f"{name:>{cell}}" for name in names)]
    lines += [
        f"{label:<{width}}" + "".join(f"{form(results[name]):>{cell}}" for name in names)
        for label, form in rows
    ]
    return "\n".join(lines)


def _distinct_cell(n: int) -> Callable[[Mapping[str, Any]], str]:
    def cell(found: Mapping[str, Any]) -> str:
        by_n = {int(key): value for key, value in found["distinct"].items()}  # JSON has text for keys
        return _number(by_n[n], 1, 100)

    return cell


def _kl_cell(name: str) -> Callable[[Mapping[str, Any]], str]:
    def cell(found: Mapping[str, Any]) -> str:
        return _number(found["kl"][name]["value"], 4) if name in found["kl"] else "–"

    return cell


def _number(value: float | None, digits: int, times: float = 1) -> str:
    return "–" if value is None else f"{times * value:.{digits}f}"


def _grams(text: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(text[place : place + n]) for place in range(len(text) - n + 1)]


def _spread(numbers: Sequence[int]) -> dict[str, float | None]:
    if not numbers:
        return {"mean": None, "p95": None}
    return {"mean": fmean(numbers), "p95": float(np.quantile(numbers, 0.95))}


def _ended(item: Response) -> float | None:
    return float(item.finish == "stop") if item.num_tokens else None


def _mean(
    groups: Sequence[Sequence[Response]], value: Callable[[Response], float | None], seed: int
) -> dict[str, Any]:
    def part(group: Sequence[Response]) -> Share:
        known = [found for item in group if (found := value(item)) is not None]
        return sum(known), len(known)

    return asdict(bootstrap(groups, part, seed=seed))


def _mean_self_bleu(groups: Iterable[Sequence[Response]]) -> float | None:
    found = [self_bleu([item.text for item in group]) for group in groups if len(group) > 1]
    known = [value for value in found if value is not None]
    return fmean(known) if known else None


def _kl(items: Sequence[Divergence], seed: int) -> dict[str, Any]:
    by_prompt: dict[str, list[Divergence]] = {}
    for item in items:
        by_prompt.setdefault(item.prompt_id, []).append(item)

    def part(group: Sequence[Divergence]) -> Share:
        return sum(item.nats for item in group), sum(item.num_tokens for item in group)

    return asdict(bootstrap(list(by_prompt.values()), part, seed=seed))
