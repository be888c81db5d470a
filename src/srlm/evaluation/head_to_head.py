"""Two models on the same prompts, a judge's word in both orders: wins, ties, losses, and how sure they are.

A judge who prefers what stands first would decide half of all prompts by the order alone, so a model wins a
prompt only when both orders say so; orders that disagree are a tie, as in MT-Bench (arXiv 2306.05685). Two
equal texts are a tie whatever the judge says. A prompt on which an order has no verdict is counted apart.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from scipy.stats import binomtest

from srlm.errors import DataError
from srlm.evaluation.intervals import Share, bootstrap
from srlm.records import Comparison, Response
from srlm.stages.comparisons import Couple, Couples

Outcome = Literal["win", "tie", "loss", "unreadable", "missing"]
_VALUE = {"win": 1.0, "tie": 0.5, "loss": 0.0}


def couples_of(ours: Iterable[Response], theirs: Iterable[Response]) -> list[Couple]:
    """The two models' answers to each prompt, ours first, in the order of ours.

    Raises DataError that names the prompts which one of the two answered not at all or more than once.
    """
    one, other = _by_prompt(ours, "the first model"), _by_prompt(theirs, "the second model")
    alone = [(one.get(key) or other[key]).prompt for key in one.keys() ^ other.keys()]
    if alone:
        raise DataError(
            f"{len(one)} and {len(other)} answered prompts, such as {alone[0][:80]!r}",
            f"{len(alone)} prompts have the answer of one model only: leaving them out would change the test",
            "let both models answer the same prompts",
        )
    return [(response, other[key]) for key, response in one.items()]


def both_orders(couples: Iterable[Couple]) -> Couples:
    """What to ask the judge: each couple, and turned round; a couple of equal texts not at all."""
    return Couples([order for a, b in couples if a.text != b.text for order in ((a, b), (b, a))])


def outcome(one: Comparison | None, turned: Comparison | None) -> Outcome:
    """What both orders say of a prompt: `one` with our answer first, `turned` with ours second."""
    if one is None or turned is None:
        return "missing"
    if one.verdict is None or turned.verdict is None:
        return "unreadable"
    return {("first", "second"): "win", ("second", "first"): "loss"}.get(  # type: ignore[return-value]
        (one.verdict, turned.verdict), "tie"
    )


def head_to_head(
    names: tuple[str, str], couples: Sequence[Couple], comparisons: Iterable[Comparison], seed: int = 0
) -> dict[str, Any]:
    """The first model against the second, ready for JSON; shares are 0..1, of the first.

    `models`; `prompts`, all of them; `wins`, `ties`, `losses`; `unreadable` and `missing`: an order has no
    verdict, or was not judged; `win_rate`, (wins + ties / 2) by all three, as {value, low, high, num} with
    a 95 % bootstrap over prompts; `sign_test`, the two-sided p-value over decided prompts, None without any;
    `ties_by`: both orders say tie ("judge"), they disagree ("disagreement"), the texts are one ("equal");
    `first_place`, the share of readable verdicts, ties as a half, for what stood first: .5 is no bias;
    `reasons` of what could not be read; `by_prompt`, the outcome by prompt id.
    Raises DataError for a prompt given twice and for a couple with two verdicts.
    """
    found = _by_order(comparisons)
    _by_prompt((ours for ours, _ in couples), names[0])
    pairs = [(found.get((a.id, b.id)), found.get((b.id, a.id))) for a, b in couples]
    equal = [a.text == b.text for a, b in couples]
    outcomes: list[Outcome] = [
        "tie" if same else outcome(*pair) for same, pair in zip(equal, pairs, strict=True)
    ]
    counts = Counter(outcomes)
    decided = counts["win"] + counts["loss"]
    asked = [item for same, pair in zip(equal, pairs, strict=True) if not same for item in pair if item]
    return {
        "models": list(names),
        "prompts": len(couples),
        "wins": counts["win"],
        "ties": counts["tie"],
        "losses": counts["loss"],
        "unreadable": counts["unreadable"],
        "missing": counts["missing"],
        "win_rate": asdict(bootstrap(outcomes, _share, seed=seed)),
        "sign_test": float(binomtest(counts["win"], decided).pvalue) if decided else None,
        "ties_by": _ties_by(equal, outcomes, pairs),
        "first_place": asdict(bootstrap(pairs, _first_place, seed=seed)),
        "reasons": dict(Counter(str(item.reason) for item in asked if item.verdict is None)),
        "by_prompt": {ours.prompt_id: what for (ours, _), what in zip(couples, outcomes, strict=True)},
    }


def win_matrix(results: Iterable[Mapping[str, Any]], order: Sequence[str] = ()) -> dict[str, Any]:
    """Several head-to-heads as one square: `models`, in `order`, else of appearance, and `rows` by model.

    A row holds the model's win rate, 0..1, against each; None against itself and where there was no match or
    nothing could be read. `mean`, over its opponents, one vote each. Raises DataError for a match twice.
    """
    rates: dict[tuple[str, str], float | None] = {}
    for result in results:
        one, other = result["models"]
        if (one, other) in rates or one == other:
            raise DataError(
                f"the match {one} against {other}",
                "it is there already" if one != other else "a model cannot be its own opponent",
                "give one result for every two different models",
            )
        value = result["win_rate"]["value"]
        rates[one, other] = value
        rates[other, one] = None if value is None else 1 - value
    found = dict.fromkeys(name for match in rates for name in match)
    models = list(dict.fromkeys([*(name for name in order if name in found), *found]))
    rows = {one: {other: rates.get((one, other)) for other in models} for one in models}
    return {"models": models, "rows": rows, "mean": {name: _mean(row) for name, row in rows.items()}}


def head_to_head_table(results: Iterable[Mapping[str, Any]]) -> str:
    """Plain text: a line a match: win, tie and loss in percent of what was read, interval, sign test."""
    found = list(results)
    matches = [" against ".join(result["models"]) for result in found]
    width = max(map(len, ["match", *matches]))
    lines = [
        f"{'match':<{width}}  {'win %':>6} {'tie %':>6} {'loss %':>6}  {'win rate % [95 %]':<20}"
        f"{'sign test':>10}{'prompts':>9}{'unread':>8}{'missing':>9}"
    ]
    for match, result in zip(matches, found, strict=True):
        read = result["wins"] + result["ties"] + result["losses"]
        shares = " ".join(f"{_percent(result[key], read):>6}" for key in ("wins", "ties", "losses"))
        lines.append(
            f"{match:<{width}}  {shares}  {_interval(result['win_rate']):<20}{_p(result['sign_test']):>10}"
            f"{result['prompts']:>9}{result['unreadable']:>8}{result['missing']:>9}"
        )
    return "\n".join([*lines, "The win rate counts a tie as half a win; the sign test leaves ties out."])


def matrix_table(matrix: Mapping[str, Any]) -> str:
    """Plain text: the win rate in percent of the model at the left against the one above."""
    models = matrix["models"]
    width = max(map(len, ["", *models]))
    cell = max(7, width + 2)
    lines = [" " * width + "".join(f"{name:>{cell}}" for name in [*models, "mean"])]
    for name in models:
        values = [*matrix["rows"][name].values(), matrix["mean"][name]]
        lines.append(f"{name:<{width}}" + "".join(f"{_percent(value):>{cell}}" for value in values))
    return "\n".join(lines)


def _by_prompt(responses: Iterable[Response], who: str) -> dict[str, Response]:
    found: dict[str, Response] = {}
    for response in responses:
        if response.prompt_id in found:
            raise DataError(
                f"two answers of {who} to the prompt {response.prompt[:80]!r}",
                "a prompt counts once: prompts are the unit of the interval and of the sign test",
                "give one answer a prompt",
            )
        found[response.prompt_id] = response
    return found


def _by_order(comparisons: Iterable[Comparison]) -> dict[tuple[str, str], Comparison]:
    found: dict[tuple[str, str], Comparison] = {}
    for item in comparisons:
        before = found.setdefault((item.first_id, item.second_id), item)
        if before.verdict != item.verdict:
            raise DataError(
                f"two comparisons of {item.first_id} and {item.second_id} in this order",
                f"one says {before.verdict or before.reason}, the other {item.verdict or item.reason}",
                "give the comparisons of one judge with one setting",
            )
    return found


def _ties_by(
    equal: Sequence[bool],
    outcomes: Sequence[Outcome],
    pairs: Sequence[tuple[Comparison | None, Comparison | None]],
) -> dict[str, int]:
    kinds: Counter[str] = Counter()
    for same, what, (one, turned) in zip(equal, outcomes, pairs, strict=True):
        if same:
            kinds["equal"] += 1
        elif what == "tie" and one and turned:
            kinds["judge" if one.verdict == turned.verdict == "tie" else "disagreement"] += 1
    return {kind: kinds[kind] for kind in ("judge", "disagreement", "equal")}


def _share(what: Outcome) -> Share:
    return (_VALUE[what], 1) if what in _VALUE else (0, 0)


def _first_place(pair: tuple[Comparison | None, Comparison | None]) -> Share:
    """A prompt's part of the preference for the first place; one order alone would count quality as bias."""
    verdicts = [item.verdict for item in pair if item and item.verdict]
    value = {"first": 1.0, "tie": 0.5, "second": 0.0}
    return (sum(value[verdict] for verdict in verdicts), 2) if len(verdicts) == 2 else (0, 0)


def _mean(row: Mapping[str, float | None]) -> float | None:
    known = list(_known(row.values()))
    return sum(known) / len(known) if known else None


def _known(values: Iterable[float | None]) -> Iterator[float]:
    return (value for value in values if value is not None)


def _percent(part: float | None, whole: float = 1) -> str:
    return "–" if part is None or not whole else f"{100 * part / whole:.1f}"


def _interval(rate: Mapping[str, Any]) -> str:
    inside = "–" if rate["low"] is None else f"{_percent(rate['low'])}, {_percent(rate['high'])}"
    return f"{_percent(rate['value'])} [{inside}]"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"
