"""The proving ground in small: a perfect judge must help, a random one must not, and a broken loop must show.

A model of 100,000 weights reads 24,000 documents (a quarter of a minute); a round takes a few seconds.
"""

import json
from collections.abc import Callable

import pytest

from srlm.proving.arms import ARMS, Arm
from srlm.proving.conducting import run_arm
from srlm.proving.ground import Ground, prepare
from srlm.proving.study import Study, study_of
from srlm.records import Pair
from srlm.store.blocks import Block
from srlm.training import dpo, jobs
from srlm.training.batches import Tokens

SMALL = (
    "world.families=[edit]", "world.operations=[copy]", "world.letters=3", "world.careless=0",
    "world.slips=0", "world.documents=24000", "pretraining.layers=2", "pretraining.width=64",
    "sizes.ranked=60", "sizes.probe=30", "sizes.test=120", "sizes.given=200",
    "iterations=2", "prompts.count=200", "sft.epochs=2", "dpo.learning_rate=2e-4", "gates.preset=off",
)  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> tuple[Study, Ground]:
    """A study of one seed on a ground that is made once, with its first arm done."""
    folder = tmp_path_factory.mktemp("study")
    study = study_of(folder, ("oracle", "random"), 1, SMALL)
    study.save()
    ground = prepare(study.ground, 0, folder / "cache")
    for arm in study.arms:
        study.keep(0, arm, run_arm(study, ground, ARMS[arm], arm))
    return study, ground


def faults(study: Study, arm: str) -> list[str]:
    """What a sound loop with a perfect judge would not show."""
    before, after = study.outcome(0, arm)["rounds"]
    log = (study.folder / "seed0" / arm / "M2/dpo/log.jsonl").read_text().splitlines()
    found = []
    if after["sampled"] < before["sampled"] + 0.15:
        found.append("truth does not rise")
    if after["pair_right"] < 0.95:
        found.append("the worse answer is chosen")
    if abs(json.loads(log[0])["margin"]) > 1e-3:
        found.append("the reference is not the model that the training starts from")
    return found


def test_a_perfect_judge_helps_and_a_random_one_does_not(small):
    study, ground = small
    assert not ground.failed
    assert faults(study, "oracle") == []
    oracle, chance = (study.outcome(0, arm)["rounds"] for arm in study.arms)
    assert oracle[0] == chance[0]  # the same M1, taken over
    assert chance[-1]["sampled"] < chance[0]["sampled"] + 0.1
    assert oracle[-1]["sampled"] > chance[-1]["sampled"] + 0.2
    assert 0.35 < chance[-1]["pair_right"] < 0.65


def wrong_sign(monkeypatch):
    plain = dpo.dpo_losses

    def losses(*given: object, **keys: object):
        found, margin = plain(*given, **keys)
        return found + margin, margin  # -log sigmoid(-m) = -log sigmoid(m) + m

    monkeypatch.setattr(dpo, "dpo_losses", losses)


def wrong_order(monkeypatch):
    from srlm.methods import opponents

    plain = opponents.make_pairs

    def swapped(*given: object, **keys: object):
        for block in plain(*given, **keys):
            pairs = [turned(pair) for pair in block.records]
            yield Block(pairs, block.done, block.total, block.counts)

    monkeypatch.setattr(opponents, "make_pairs", swapped)


def turned(pair: Pair) -> Pair:
    chosen = {name: value for name, value in pair if name.startswith("chosen")}
    rejected = {name: value for name, value in pair if name.startswith("rejected")}
    swapped = zip([*chosen, *rejected], [*rejected.values(), *chosen.values()], strict=True)
    return pair.model_copy(update=dict(swapped))


def wrong_mask(monkeypatch):
    plain = jobs.encode

    def encode(*given: object, **keys: object):
        made = plain(*given, **keys)
        return Tokens(made.ids[: made.start], 1)  # the prompt in place of the answer

    monkeypatch.setattr(jobs, "encode", encode)


def wrong_reference(monkeypatch):
    def nothing(path, model, pairs, section, **keys: object):
        return [(0.0, 0.0)] * len(pairs)

    monkeypatch.setattr(jobs, "reference_logprobs", nothing)


@pytest.mark.parametrize(
    ("mutate", "shows"),
    [
        (wrong_sign, "truth does not rise"),
        (wrong_order, "the worse answer is chosen"),
        (wrong_mask, "truth does not rise"),
        (wrong_reference, "the reference is not"),
    ],
)
def test_a_broken_loop_shows(small, monkeypatch, mutate: Callable[[pytest.MonkeyPatch], None], shows: str):
    study, ground = small
    mutate(monkeypatch)
    name = mutate.__name__
    # Other digests, or the steps of the sound arm would be taken over.
    arm = Arm("", (*ARMS["oracle"].overrides, "dpo.weight_decay=1e-9", "pairs.min_margin=1e-9"))
    study.keep(0, name, run_arm(study, ground, arm, name))
    assert shows in " ".join(faults(study, name))


def test_a_ground_is_made_once_and_found_again(small):
    study, ground = small
    assert ground.coverage > 0.5
    found = {path.name for path in ground.folder.iterdir()}
    assert {"M0", "recipe.yaml", "rubric.md", "test.jsonl", "prompts.jsonl", "ground.json"} <= found
    assert prepare(study.ground, 0, ground.folder.parent) == ground
