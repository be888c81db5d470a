import gzip
import itertools
import json
import re
import time
from pathlib import Path

import pytest

from srlm.config import SeedSection
from srlm.errors import DataError
from srlm.records import seed_for
from srlm.seeds import load_seed
from srlm.seeds.building import PAPER, BuildOptions, build_seed, funnel_table, seed_files
from srlm.seeds.oasst import Fault, Message, read_trees

REAL = Path(__file__).parents[3] / "shared/data/oasst"
FLAT, NESTED = REAL / "oasst1_en_validation.messages.jsonl.gz", REAL / "en_100_tree.jsonl.gz"
needs_real = pytest.mark.skipif(
    not (FLAT.exists() and NESTED.exists()), reason=f"no Open Assistant in {REAL}"
)

TURNS, CHOICE, SHORT = (
    "user turns: 1, EFT at most 1",
    "rank 0 there; two ranked answers differ",
    "not too long",
)
EXACT, NEAR, AVOID = "prompt not there before", "prompt not near another", "prompt not near an evaluation's"
TOPICS = ["rain", "salt", "kites", "owls", "bread", "tides", "clocks", "maps"]
TOPICS += ["snow", "iron", "glass", "drums", "ferns", "comets", "bees", "rope"]


def message(text, *replies, role="assistant", rank=None, **more):
    key = more.pop("id", f"{role} {text}")
    base = {"lang": "en", "deleted": False, "review_result": True, "synthetic": False}
    return Message(id=key, parent_id=None, text=text, role=role, rank=rank, replies=replies, **base | more)


def prompt(text, *replies, **more):
    return message(text, *replies, role="prompter", **more)


def answers(about, n=3, **more):
    return [message(f"Answer {k} about {about}.", rank=k, **more) for k in range(n)]


def question(topic, **more):
    return prompt(f"{topic}: tell {topic[::-1]} {topic * 2}", *answers(topic), **more)


def rows(built):
    return {stage.name: (stage.ift, stage.eft_prompts, stage.eft_answers) for stage in built.funnel}


def build(*trees, avoid=(), **options):
    return build_seed(trees, BuildOptions(**options), avoid)


@pytest.mark.parametrize(
    ("stage", "bad"),
    [
        ("language is en", {"lang": "de"}),
        ("language is en", {"lang": ""}),
        ("not deleted", {"deleted": True}),
        ("not refused in review", {"review_result": False}),
        ("not synthetic", {"synthetic": True}),
    ],
)
def test_each_filter_takes_prompts_and_answers(stage, bad):
    best, middle, worst = answers("kites")
    trees = [
        question("rain"),
        question("salt", **bad),
        prompt("Kites?", message("Bad best.", rank=0, **bad), middle, worst),
        prompt("Owls?", best, message("Bad worst.", rank=1, **bad)),
        prompt("Maps?", message("Lone bad.", rank=0, **bad)),
    ]
    built = build(*trees)
    names = [row.name for row in built.funnel]
    before = rows(built)[names[names.index(stage) - 1]]
    assert before == (5, 4, 11)
    assert rows(built)[stage] == (2, 3, 6)  # rain and owls; rain, kites without its best, owls with one
    assert rows(built)[CHOICE] == (2, 2, 5)
    texts = [line.response for line in built.instructions] + [a.text for r in built.ranked for a in r.answers]
    assert not [text for text in texts if "ad best" in text or "ad worst" in text]


def test_unreviewed_messages_and_another_language_may_be_taken():
    assert rows(build(question("rain", review_result=None)))[CHOICE] == (1, 1, 3)
    german = prompt("Regen?", *answers("Regen", lang="de"), lang="de")
    assert rows(build(german, question("rain"), lang="de"))[CHOICE] == (1, 1, 3)


def test_first_rows_count_any_depth_and_only_answers():
    deep = prompt("And salt?", *answers("salt"))
    best = message("Best.", deep, rank=0)
    root = prompt("Rain?", best, message("Worse.", rank=1), prompt("Me too", rank=2), message("Unranked."))
    no_best = prompt("Owls?", *answers("owls")[1:])
    lone = prompt("Maps?", message("One.", rank=0))
    answer_first = message("An answer with no prompt", *answers("x"))
    built = build(root, no_best, lone, answer_first)
    assert rows(built)["labelled by people"] == (2, 3, 7)
    assert rows(built)[TURNS] == (2, 2, 4)


def test_later_turns_take_the_whole_conversation_with_them():
    def talk(**more):
        return prompt("Rain?", message("Wet.", prompt("Why?", *answers("why")), rank=0, **more))

    assert rows(build(talk()))[TURNS] == (1, 0, 0)
    built = build(talk(), eft_turns=2, eft_share=1.0)
    (line,) = built.ranked
    assert line.prompt == "User: Rain?\n\nAssistant: Wet.\n\nUser: Why?"
    assert not built.instructions  # the tree's own first turn would give the context away
    assert len(build(talk(), eft_turns=2, eft_share=0.0).instructions) == 1
    assert not build(talk(deleted=True), eft_turns=2, eft_share=1.0).ranked


def test_best_answer_and_ties():
    first, second = message("First.", rank=0), message("Second.", rank=0)
    built = build(prompt("Rain?", message("Bad.", rank=3), first, second), eft_share=0.0)
    assert built.instructions[0].response == "First."
    built = build(prompt("Rain?", message("Bad.", rank=3), first, second), eft_share=1.0, scores="rank")
    assert [(a.text, a.rank, a.score) for a in built.ranked[0].answers] == [
        ("First.", 0, 5),
        ("Second.", 0, 5),
        ("Bad.", 3, 1),
    ]


def test_same_answer_twice_stays_once_with_its_better_rank():
    same = [message("Same.", rank=1, id="1"), message(" Same.\n", rank=0, id="0"), message("Else.", rank=2)]
    built = build(prompt("Rain?", *same), eft_share=1.0)
    assert [(a.text, a.rank) for a in built.ranked[0].answers] == [("Same.", 0), ("Else.", 2)]
    assert rows(build(prompt("Rain?", *same[:2])))[CHOICE] == (1, 0, 0)


def test_length():
    long_answer = [message("x" * 101, rank=0), *answers("owls")[1:]]
    trees = [
        prompt("p" * 50, *answers("rain")),
        prompt("q" * 51, *answers("salt")),
        prompt("Owls?", *long_answer),
        prompt("Maps?", message("y" * 100, rank=0), message("z" * 101, rank=1)),
    ]
    built = build(*trees, max_prompt_chars=50, max_answer_chars=100)
    assert rows(built)[CHOICE] == (4, 4, 11)
    assert rows(built)[SHORT] == (2, 2, 5)


def test_repeated_and_near_prompts_stay_once_across_both_sides():
    words = "please tell me why rain falls from grey clouds in autumn"
    only_ift = prompt(words, message("Because.", rank=0))
    only_eft = prompt(f"{words} now", *answers("now")[1:], id="near")
    again = prompt(f"  {words.upper()} ", *answers("again"), id="exact")
    built = build(only_ift, only_eft, again, question("salt"))
    assert rows(built)[SHORT] == (3, 3, 8)
    assert rows(built)[EXACT] == (2, 2, 5)
    assert rows(built)[NEAR] == (2, 1, 3)
    assert rows(build(only_ift, only_eft, max_rouge=1.0))[NEAR] == (1, 1, 2)


def test_evaluation_prompts_are_avoided():
    words = "please tell me why rain falls from grey clouds in autumn"
    trees = [prompt(words, *answers("rain")), prompt("???", *answers("what")), question("salt")]
    assert rows(build(*trees))[AVOID] == (3, 3, 9)
    for avoid in (words, f"{words} today", words.upper()):
        assert rows(build(*trees, avoid=[avoid]))[AVOID] == (2, 2, 6)
    assert rows(build(*trees, avoid=[" ???"]))[AVOID] == (2, 2, 6)
    assert rows(build(*trees, avoid=["something else"]))[AVOID] == (3, 3, 9)


def test_sides_are_disjoint_and_follow_content():
    trees = [question(topic) for topic in TOPICS]
    built = build(*trees)
    ift, eft = {x.prompt for x in built.instructions}, {x.prompt for x in built.ranked}
    assert not ift & eft
    assert ift | eft == {tree.text for tree in trees}
    assert eft == {tree.text for tree in trees if seed_for("oasst side", tree.text) / 2**63 < 0.5}
    assert 0 < len(eft) < len(trees)
    assert rows(built)["IFT and EFT disjoint"] == (len(ift), len(eft), 3 * len(eft))
    assert not build(*trees, eft_share=1.0).instructions
    assert not build(*trees, eft_share=0.0).ranked


def test_prompt_good_for_one_side_goes_there():
    lone = [prompt(f"{topic}?", message("One.", rank=0)) for topic in TOPICS]
    no_best = [prompt(f"{topic}!! {topic}s", *answers(topic)[1:]) for topic in TOPICS]
    assert len(build(*lone, eft_share=1.0).instructions) == len(TOPICS)
    assert len(build(*no_best, eft_share=0.0).ranked) == len(TOPICS)


def test_trees_added_later_move_nothing():
    first = [question(topic) for topic in TOPICS[:8]] + [prompt("a b c d e f", *answers("g")[1:])]
    later = [prompt("a b c d e f g", message("New.", rank=0)), *(question(topic) for topic in TOPICS[8:])]
    old, new = build(*first), build(*first, *later)
    assert new.instructions[: len(old.instructions)] == old.instructions
    assert [line for line in new.ranked if line in old.ranked] == old.ranked
    assert "a b c d e f" in {line.prompt for line in new.ranked}


def test_splits_are_written_and_follow_content():
    trees = [question(topic) for topic in TOPICS]
    built = build(*trees, eft_share=1.0)
    expected = {t.text: "heldout" if seed_for("split", t.text) / 2**63 < 0.25 else "train" for t in trees}
    assert {line.prompt: line.split for line in built.ranked} == expected
    assert set(expected.values()) == {"train", "heldout"}
    assert {line.split for line in build(*trees, eft_share=1.0, heldout=1.0).ranked} == {"heldout"}
    assert {line.split for line in build(*trees, eft_share=0.0).instructions} == {"train"}
    held = build(*trees, eft_share=0.0, ift_heldout=0.25)
    assert {line.prompt: line.split for line in held.instructions} == expected


def test_no_scores_unless_asked():
    (line,) = build(question("rain"), eft_share=1.0).ranked
    assert [(a.score, a.rank, a.justification, a.labelled_by) for a in line.answers] == [
        (None, n, "", "people") for n in range(3)
    ]


@pytest.mark.parametrize(
    ("ranks", "scores"),
    [
        ((0, 1), [5, 1]),
        ((0, 1, 2), [5, 3, 1]),
        ((0, 1, 2, 3), [5, 4, 2, 1]),
        ((2, 5, 9), [5, 3, 1]),
        ((0, 0, 1), [5, 5, 1]),
        ((1, 1), [3, 3]),
        (range(9), [5, 4, 4, 4, 3, 2, 2, 2, 1]),
    ],
)
def test_scores_from_ranks(ranks, scores):
    replies = [message(f"Answer {k}.", rank=rank) for k, rank in enumerate(ranks)]
    (line,) = build(prompt("Rain?", *replies), eft_share=1.0, scores="rank").ranked
    assert [answer.score for answer in line.answers] == scores
    assert {answer.labelled_by for answer in line.answers} == {"rank"}


def reasons(*replies):
    (line,) = build(prompt("Rain?", *replies), eft_share=1.0, scores="rank").ranked
    return [answer.justification for answer in line.answers]


def test_justifications_say_what_people_said():
    good = {"quality": 0.9, "helpfulness": 1.0, "creativity": 0.7, "humor": 0.65, "spam": 0.0}
    bad = {"quality": 0.1, "helpfulness": 0.2, "fails_task": 1.0, "toxicity": 0.6, "violence": 0.5}
    replies = [
        message("word " * 300, rank=0, labels=good),
        message("word " * 100, rank=1, labels={"quality": 0.5, "helpfulness": 0.5}),
        message("No.", rank=2, labels=bad),
        message("Nope.", rank=2),
    ]
    assert reasons(*replies) == [
        "It does what is asked as well as one could wish. "
        "It is of high quality, creative, funny and helpful.",
        "It answers the basic question, though not as well as it could. "
        "It is of middling quality and fairly helpful.",
        "It has to do with the question but hardly helps with it. "
        "It is of low quality and not helpful. It fails the task and is rude.",
        "It has to do with the question but hardly helps with it.",
    ]


def test_justifications_are_short_and_never_give_a_score():
    names = [
        "quality",
        "helpfulness",
        "creativity",
        "humor",
        "toxicity",
        "violence",
        "spam",
        "fails_task",
        "not_appropriate",
        "pii",
    ]
    names += ["lang_mismatch", "hate_speech", "sexual_content"]
    for values in itertools.product((0.0, 0.5, 1.0), repeat=4):
        labels = {name: values[n % 4] for n, name in enumerate(names)}
        replies = [message(f"Answer {k}.", rank=k // 2, labels=labels) for k in range(30)]
        for text in reasons(*replies):
            assert len(text.split()) <= 40
            assert not re.search("score", text, re.IGNORECASE)


def test_files_load_without_complaint_and_are_lean(tmp_path):
    trees = [question(topic) for topic in TOPICS]
    for scores in ("none", "rank"):
        built = build(*trees, scores=scores, ift_heldout=0.3)
        faults = [Fault("a.jsonl", n, "not JSON", "") for n in range(1, 31)]
        texts = seed_files(built, faults, ["t"])
        assert set(texts) == {"instructions.jsonl", "ranked.jsonl", "funnel.json"}
        for name, text in texts.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        paths = {
            "instructions": str(tmp_path / "instructions.jsonl"),
            "ranked": str(tmp_path / "ranked.jsonl"),
        }
        seed = load_seed(SeedSection(**paths))
        assert seed.ranked + seed.heldout_ranked == sorted(
            built.ranked, key=lambda line: line.split != "train"
        )
        assert len(seed.instructions) + len(seed.heldout_instructions) == len(built.instructions)
        assert len(seed.heldout_instructions) == built.parts()["ift_heldout"]
        assert "null" not in texts["ranked.jsonl"] + texts["instructions.jsonl"]
        assert ("score" in texts["ranked.jsonl"]) == (scores == "rank")
        funnel = json.loads(texts["funnel.json"])
        assert funnel["paper"] == PAPER == {"ift": 3200, "eft_train": 1630, "eft_heldout": 541}
        assert funnel["examples"] == built.parts()
        assert funnel["stages"][0] == {
            "name": "labelled by people",
            "ift": 16,
            "eft_prompts": 16,
            "eft_answers": 48,
        }
        assert funnel["faults"] == {"not JSON": 30}
        assert len(funnel["first_faults"]) == 21
        assert funnel["first_faults"][0] == "a.jsonl, line 1: not JSON"
        assert funnel["trees_in_two_sources"] == ["t"]


def test_table_has_every_row_and_the_paper():
    built = build(*[question(topic) for topic in TOPICS])
    lines = funnel_table(built).splitlines()
    for stage, line in zip(built.funnel, lines[1:], strict=False):
        assert line.split()[-3:] == [str(stage.ift), str(stage.eft_prompts), str(stage.eft_answers)]
        assert line.startswith(stage.name)
    counts = built.parts()
    train, held = lines[-4].split(), lines[-3].split()
    assert (train[-3], train[-1]) == (str(counts["ift_train"]), str(counts["eft_train"]))
    assert (held[-3], held[-1]) == ("0", str(counts["eft_heldout"]))
    assert lines[-2].split()[-2:] == ["3,200", "1,630"]
    assert lines[-1].split()[-1] == "541"
    assert len({len(line) for line in lines}) == 1


def test_nothing_gives_nothing():
    built = build()
    assert (built.instructions, built.ranked) == ([], [])
    assert {(s.ift, s.eft_prompts, s.eft_answers) for s in built.funnel} == {(0, 0, 0)}
    assert "541" in funnel_table(built)


@pytest.mark.parametrize(
    "bad",
    [
        {"eft_turns": 0},
        {"max_prompt_chars": 0},
        {"max_answer_chars": -1},
        {"max_rouge": 1.1},
        {"eft_share": -0.1},
        {"heldout": float("nan")},
        {"ift_heldout": 2},
        {"scores": "stars"},
    ],
)
def test_bad_options_are_refused(bad):
    with pytest.raises(DataError) as caught:
        BuildOptions(**bad)
    assert next(iter(bad)) in caught.value.given


def test_deep_trees_and_long_answers_are_quick():
    deep = message("end", rank=0)
    for n in range(30_000):
        deep = message(f"a{n}", prompt(f"p{n}", deep, message(f"b{n}", rank=1)), rank=0)
    long_answers = [message(f"{n} " + "word " * 20_000, rank=n) for n in range(50)]
    start = time.process_time()
    built = build(
        prompt("Rain?", deep), prompt("Salt?", *long_answers), max_answer_chars=200_000, scores="rank"
    )
    assert time.process_time() - start < 10
    assert rows(built)["labelled by people"] == (2, 30_001, 60_050)
    assert rows(built)[SHORT] == (2, 1, 50)


def plain_counts(messages):
    """Rank-0 root pairs, prompts with two or more ranked replies, and these replies, by plain JSON."""
    ranks = {}
    for one in messages:
        if one.get("rank") is not None:
            ranks.setdefault(one["parent_id"], []).append(one["rank"])
    roots = [one["message_id"] for one in messages if one.get("parent_id") is None]
    several = [group for group in ranks.values() if len(group) > 1]
    return sum(0 in ranks.get(root, []) for root in roots), len(several), sum(map(len, several))


def unfolded(node):
    return [node] + [one for reply in node["replies"] for one in unfolded(reply)]


@needs_real
def test_first_row_is_an_independent_count_of_the_real_data():
    with gzip.open(FLAT, "rt", encoding="utf-8") as file:
        flat = [json.loads(line) for line in file]
    with gzip.open(NESTED, "rt", encoding="utf-8") as file:
        nested = [one for line in file for one in unfolded(json.loads(line)["prompt"])]
    assert plain_counts(flat) == (124, 286, 774)
    assert plain_counts(nested) == (69, 150, 438)
    for path, messages in ((FLAT, flat), (NESTED, nested)):
        built = build_seed(read_trees(str(path)).trees)
        assert rows(built)["labelled by people"] == plain_counts(messages)
    known = {one["message_id"] for one in flat}
    new = [one for one in nested if one["message_id"] not in known]
    both = read_trees(str(FLAT), str(NESTED))
    assert len(both.shared) == 3
    assert rows(build_seed(both.trees))["labelled by people"] == plain_counts(flat + new)


@needs_real
def test_real_data_makes_a_seed_that_loads(tmp_path):
    forest = read_trees(str(FLAT), str(NESTED))
    avoid = [root.text for root in forest.trees[:5]]
    built = build_seed(forest.trees, BuildOptions(scores="rank"), avoid)
    assert rows(built)[NEAR][0] - rows(built)[AVOID][0] == 5
    for name, text in seed_files(built, forest.faults, forest.shared).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    paths = {"instructions": str(tmp_path / "instructions.jsonl"), "ranked": str(tmp_path / "ranked.jsonl")}
    seed = load_seed(SeedSection(**paths))
    assert len(seed.instructions) == len(built.instructions) > 50
    assert len(seed.heldout_ranked) > 5
    assert all(line.is_scored for line in seed.ranked)
    assert not {line.prompt for line in built.instructions} & {line.prompt for line in built.ranked}
    assert not {line.prompt for line in [*built.instructions, *built.ranked]} & {
        text.strip() for text in avoid
    }
