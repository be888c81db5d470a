"""The tables of a page as plain rows, the paper's figures beside the run's; both templates print the same."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import hypot
from statistics import fmean

from srlm.monitors.signals import Signal, significant
from srlm.report import paper
from srlm.report.cells import (
    NO_DATA,
    NOT_MEASURED,
    SAME,
    Cell,
    Column,
    Found,
    Table,
    at,
    beside,
    estimate,
    number,
    outcomes,
    outcomes_of,
    papers,
    percent,
    percents,
    share,
    texts,
    two,
    unless_measured,
    whole,
)
from srlm.report.collect import Page
from srlm.report.people import humans, ratings
from srlm.report.rows import TrainingRow


def tables(page: Page) -> dict[str, Table]:
    """All tables of a run's page by section, those of the paper also where the run measured nothing."""
    return {
        "judging": judging(page),
        "calibration": calibration(page),
        "answering": answering(page),
        "head_to_head": head_to_head(page.matches),
        "matrix": matrix(page.of("head_to_head")),
        "alpaca_eval": alpaca_eval(page.of("alpaca_eval")),
        "mt_bench": mt_bench(page.of("mt_bench")),
        "mt_bench_categories": mt_bench_categories(page.of("mt_bench")),
        "nlp": nlp(page.of("harness")),
        "humans": humans(page.preferred),
        "ratings": ratings(page.graded),
        "signals": signals(page),
        "rounds": rounds(page),
        "grades": grades(page),
        "training": training(page.trainings),
        "curves": curves(page.trainings),
    }


def judging(page: Page) -> Table:
    """The reward-model table: how each model's scores agree with people's ranks."""
    judges = {row.name: row.figures.get("judge", {}) for row in page.models}
    some: Found = next(iter(judges.values()), {})
    columns = [
        Column("Readable", share("coverage")),
        Column("Pairs right", share("pairwise.half"), percents(paper.PAIRWISE)),
        Column("Longer wins", share("longer_wins.pairwise.half")),
        Column("Pairs of similar length", share("similar_length.pairwise.half")),
        Column("Longer wins there", share("similar_length.longer_wins.half")),
        Column(f"{some.get('top') or 5:.0f}-best", share("top_best.share"), percents(paper.FIVE_BEST)),
        Column("Exact match", share("exact_match.half"), percents(paper.EXACT_MATCH)),
        Column("Spearman", number("spearman.zero"), texts(paper.SPEARMAN, "{:.3f}")),
        Column("Kendall", number("kendall.zero"), texts(paper.KENDALL, "{:.3f}")),
        Column("Mean score", number("mean_score")),
    ]
    note = (
        f"How the scores agree with the people’s order of {some.get('answers') or 'the'} held-out answers; "
        "in brackets 95 % intervals over prompts. A tie of the judge counts half in pairs and exact match, "
        "and no correlation where all scores are equal as 0. “Longer wins” always prefers the longer answer: "
        "a judge must beat it. The paper’s own figures are of a 70B model and other data."
    )
    return beside("Judging", note, columns, judges)


def calibration(page: Page) -> Table:
    """The numbers of the figure of calibration: mean human place by grade and model."""
    found = {row.name: row.figures.get("judge", {}).get("calibration", []) for row in page.models}
    by_grade = {
        name: {line["grade"]: line["place"] for line in lines} for name, lines in found.items() if lines
    }
    names = tuple(by_grade)
    known = sorted({grade for places in by_grade.values() for grade in places})
    rows = tuple(
        (
            str(grade),
            tuple(
                estimate(places[grade], two) if grade in places else Cell("never given")
                for places in by_grade.values()
            ),
        )
        for grade in known
    )
    note = "Mean human place of the answers that got each grade, 0 the best and 1 the worst of their prompt."
    return Table("Calibration", note, ("Grade", *names), rows)


def answering(page: Page) -> Table:
    """Shape of the answers to held-out prompts, and the loss on people's."""
    columns = [
        Column("Answer tokens", number("answers.tokens", "{:,.0f}")),
        Column("Characters", number("answers.characters", "{:,.0f}"), texts(paper.CHARACTERS, "{}")),
        Column("Ended by itself", share("answers.ended")),
        Column("Held-out loss", number("heldout_loss", "{:.3f}")),
    ]
    note = (
        "Answers to held-out prompts. Loss is nats a token on held-out human answers. The paper’s lengths "
        "are those of its AlpacaEval answers."
    )
    return beside("Answering", note, columns, {row.name: row.figures for row in page.models})


def head_to_head(matches: Mapping[str, Found]) -> Table:
    """Every match: wins, ties and losses in percent of what was read, and the win rate."""
    columns = [
        Column("Win / tie / loss", outcomes, outcomes_of(paper.HEAD_TO_HEAD)),
        Column("Win rate", share("win_rate")),
        Column("Prompts", number("prompts", "{:,}")),
    ]
    note = (
        "Wins, ties and losses in percent of prompts, the judge asked in both orders; a disagreement is a "
        "tie, and a tie half a win."
    )
    return beside("Head to head", unless_measured(matches, "head_to_head", note), columns, matches, "Match")


def matrix(results: Mapping[str, Found]) -> Table:
    """The win rate of every model, a row, against every other; empty where none were compared."""
    rates: dict[tuple[str, str], Found] = {}
    for match in (match for found in results.values() for match in found.get("against", {}).values()):
        one, other = match["models"]
        rates[one, other], rates[other, one] = match["win_rate"], turned(match["win_rate"])
    theirs = {names: wins + ties / 2 for names, (wins, ties, _) in paper.HEAD_TO_HEAD.items()}
    theirs |= {(other, one): 100 - rate for (one, other), rate in theirs.items()}
    names = tuple(name for name in results if any(name in two for two in rates))

    def cell(one: str, other: str) -> Cell:
        if one == other:
            return Cell(SAME)
        said = f"{theirs[one, other]:.1f} %" if (one, other) in theirs else ""
        return replace(estimate(rates.get((one, other)), percent, whole), paper=said)

    rows = tuple((one, tuple(cell(one, other) for other in names)) for one in names)
    note = "Win rate of the model at the left against the one above."
    return Table("Win rates", note, ("Model", *names), rows)


def turned(rate: Found) -> Found:
    """A win rate from the other side."""
    sides = {"value": "value", "low": "high", "high": "low"}
    return {key: None if rate[side] is None else 1 - rate[side] for key, side in sides.items()}


def alpaca_eval(results: Mapping[str, Found]) -> Table:
    """Win rates against the baseline's answers, as they are and at equal length."""
    columns = [
        Column("Win rate", raw_win_rate, percents(paper.ALPACA_EVAL)),
        Column("At equal length", controlled_win_rate),
        Column("Characters", number("length.model", "{:,.0f}"), texts(paper.CHARACTERS, "{}")),
        Column("Prompts", number("usable", "{:,}")),
    ]
    note = (
        "Win rate in percent against the baseline’s answers, as it is and at equal length. The paper’s is "
        "against GPT-4 Turbo, by GPT-4."
    )
    return beside("AlpacaEval", unless_measured(results, "alpaca_eval", note), columns, results)


def raw_win_rate(found: Found) -> Cell:
    """AlpacaEval's win rate in percent."""
    return estimate(found.get("interval"), "{:.1f}".format, "{:.0f}".format)


def controlled_win_rate(found: Found) -> Cell:
    """AlpacaEval's win rate at equal length, in percent, by its standard error."""
    level = found.get("length_controlled") or {}
    if level.get("win_rate") is None:
        return Cell(NO_DATA if found else NOT_MEASURED)
    error = level.get("standard_error")
    return Cell(f"{level['win_rate']:.1f}", "" if error is None else f"± {1.96 * error:.1f}")


def mt_bench(results: Mapping[str, Found]) -> Table:
    """Mean grades by turn."""
    columns = [
        Column("Turn 1", number("turn_1")),
        Column("Turn 2", number("turn_2")),
        Column("Both", number("both"), texts(paper.MT_BENCH, "{:.2f}")),
    ]
    scale = next((found["scale"] for found in results.values() if "scale" in found), paper.MT_BENCH_SCALE)
    note = f"Mean grades from {scale[0]} to {scale[1]}, in brackets 95 % intervals over questions."
    if scale != paper.MT_BENCH_SCALE:
        note += " The paper’s are GPT-4’s, from 1 to 10."
    return beside("MT-Bench", unless_measured(results, "mt_bench", note), columns, results)


def mt_bench_categories(results: Mapping[str, Found]) -> Table:
    """Mean grades of both turns by the paper's two groups and by category, a column a model."""
    parts = {
        name: {
            label: means["both"]
            for label, means in (found.get("aggregates", {}) | found.get("categories", {})).items()
        }
        for name, found in results.items()
    }
    labels = dict.fromkeys(label for means in parts.values() for label in means)
    rows = tuple(
        (label, tuple(estimate(means.get(label), two) for means in parts.values())) for label in labels
    )
    note = "Both turns; the paper’s two groups of categories first."
    return Table("MT-Bench by category", note, ("Category", *results), rows)


def nlp(results: Mapping[str, Found]) -> Table:
    """The panel of tests with right answers: a row a task and metric, a column a model; then the paper's."""
    asked = dict.fromkeys(
        (task, metric)
        for found in results.values()
        for task, row in found["tasks"].items()
        for metric in row["metrics"]
    )
    names = tuple(dict.fromkeys([*results, *(name for test in paper.NLP.values() for name in test)]))

    def cell(name: str, task: str, metric: str) -> Cell:
        return estimate(at(results.get(name, {}), "tasks", task, "metrics", metric), percent, whole)

    ours = [(f"{task} {metric}", tuple(cell(name, task, metric) for name in names)) for task, metric in asked]
    if asked:
        mean = tuple(estimate(harness_mean(results.get(name, {})), percent, whole) for name in names)
        ours.append(("mean of the tasks", mean))
    theirs = [
        (papers(test), tuple(Cell(percents(values).get(name, "")) for name in names))
        for test, values in paper.NLP.items()
    ]
    note = unless_measured(results, "harness", "Right answers, in brackets 95 % intervals over questions.")
    return Table("NLP tests", note, ("Test", *names), (*ours, *theirs))


def harness_mean(found: Found) -> Found | None:
    """The mean of the harness's tasks, of each its first metric that has answers; None where there are none.

    Parts of a group count by their group. The half-widths add as of independent figures.
    """
    firsts = [
        next((one for one in row["metrics"].values() if one["num"]), None)
        for row in found.get("tasks", {}).values()
        if not row.get("part_of")
    ]
    known = [one for one in firsts if one]
    if not known:
        return None
    value = fmean(one["value"] for one in known)
    if any(one["low"] is None for one in known):
        return {"value": value, "low": None, "high": None}
    down = hypot(*(one["value"] - one["low"] for one in known)) / len(known)
    up = hypot(*(one["high"] - one["value"] for one in known)) / len(known)
    return {"value": value, "low": value - down, "high": value + up}


def ablations() -> Table:
    """The paper's runs with one part changed, to stand beside a comparison of one's own."""
    rows = tuple(
        (what, (Cell(figure), Cell(changed), Cell(method)))
        for what, (figure, changed, method) in paper.ABLATIONS.items()
    )
    note = "What the paper changed in the method, and what came of it."
    return Table("The paper’s ablations", note, ("Changed", "Figure", "Then", "As the method has it"), rows)


def signals(page: Page) -> Table:
    """What was watched: a row a signal, a column a model."""
    names = page.signal_rounds
    rows = []
    for title, row in page.signals.items():
        first = next(iter(row.values()))
        cells = (signal_cell(row[name]) if name in row else Cell() for name in names)
        rows.append((title, (*cells, Cell(first.unit), Cell(first.limit))))
    note = (
        "What each detects, and when it is alarming: docs/signals.md. Models stand beside M1; in brackets "
        "95 % intervals."
    )
    return Table("Signals", note, ("Signal", *names, "Unit", "Limit"), tuple(rows))


def signal_cell(item: Signal) -> Cell:
    """A signal's figure with its interval, and whether it alarms."""
    found = {"value": item.value, "low": item.low, "high": item.high}
    return replace(estimate(found, significant), alarm=bool(item.alarm))


def rounds(page: Page) -> Table:
    """What every round made of its prompts, up to its pairs."""
    columns = [
        Column("Prompts kept of attempts", lambda row: Cell(f"{row['prompts']:,} of {row['attempts']:,}")),
        Column("Responses", number("responses", "{:,}")),
        Column("Judge replies", number("replies", "{:,}")),
        Column("Unreadable", share("unreadable")),
        Column("Score-like text in responses", number("flagged", "{:,}")),
        Column("Pairs", number("pairs", "{:,}"), texts(paper.PAIRS, "{:,}")),
        Column("Ties", share("ties")),
    ]
    found = {
        row.name: vars(row) | {"unreadable": row.unreadable_rate, "ties": row.tie_rate} for row in page.rounds
    }
    note = (
        "Each prompt gives at most one pair, its best against its worst response. No pair comes from equal "
        "scores, identical texts or fewer than two readable scores."
    )
    return beside("Rounds", note, columns, found, "Round")


def grades(page: Page) -> Table:
    """The numbers of the figure of grades: the share of each that a round's judge gave, and how many."""
    given = {name: counts for name, counts in page.grades.items() if counts}
    known = sorted({grade for counts in given.values() for grade in counts})
    rows = tuple(
        (
            name,
            (
                *(Cell(f"{100 * counts.get(grade, 0) / sum(counts.values()):.1f} %") for grade in known),
                Cell(f"{sum(counts.values()):,}"),
            ),
        )
        for name, counts in given.items()
    )
    return Table("Grades given by the judge", "", ("Round", *map(str, known), "Grades"), rows)


def training(trainings: Sequence[TrainingRow]) -> Table:
    """What each training did, and what it took."""

    def loss(place: int) -> Callable[[Found], Cell]:
        return lambda row: estimate(row["log"][place].get("loss") if row["log"] else None, "{:.3f}".format)

    columns = [
        Column("Items", number("items", "{:,}")),
        Column("Optimiser steps", number("steps", "{:,}")),
        Column("First loss", loss(0)),
        Column("Last loss", loss(-1)),
        Column("Left out as too long", number("left_out_too_long", "{:,}")),
        Column("Seconds", number("seconds", "{:,.0f}")),
        Column("Peak memory, GiB", number("peak_memory_gib", "{:.1f}")),
    ]
    rows = {row.step: row.summary | {"log": row.log} for row in trainings}
    return beside("Training", "", columns, rows, "Step")


def curves(trainings: Sequence[TrainingRow]) -> Table:
    """The numbers of the figures of training: losses, log-probabilities and rewards on the way."""
    keys = ("loss", "chosen_logprob", "rejected_logprob", "chosen_reward", "rejected_reward")
    rows = []
    for row in trainings:
        for key in keys:
            if values := [line[key] for line in row.log if key in line]:
                at = [values[round(part * (len(values) - 1) / 4)] for part in range(5)]
                rows.append((f"{row.step} {key.replace('_', ' ')}", tuple(Cell(significant(v)) for v in at)))
    note = "Log-probabilities are sums over a response, rewards β times what they gained since the start."
    heads = ("Curve", "Start", "25 %", "50 %", "75 %", "End")
    return Table("Training in numbers", note, heads, tuple(rows))
