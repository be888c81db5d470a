from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srlm.chat_format import load_tokenizer
from srlm.config import Config
from srlm.methods.judging import room_beside
from srlm.training.batches import Tokens, collate, encode, micro_batches, training_order


def test_the_loss_falls_on_the_answer_and_its_end_token_alone(tiny):
    """Trap 6 of the field: masks the wrong way round."""
    tokenizer = load_tokenizer(tiny.path)
    item = encode(tokenizer, "What is rain?", "Water that falls.")
    assert tokenizer.decode(item.ids[item.start :]) == "Water that falls.<|im_end|>"
    assert "What is rain?" in tokenizer.decode(item.ids[: item.start])
    assert item.num_targets == len(item.ids) - item.start


def test_an_answer_that_was_cut_off_is_not_taught_to_end(tiny):
    tokenizer = load_tokenizer(tiny.path)
    item = encode(tokenizer, "What is rain?", "Water that", "length")
    assert tokenizer.decode(item.ids[item.start :]) == "Water that"


def test_what_is_trained_is_what_the_chat_template_says(tiny):
    tokenizer = load_tokenizer(tiny.path)
    item = encode(tokenizer, "Say hi.", "Hi!")
    turns = [{"role": "user", "content": "Say hi."}, {"role": "assistant", "content": "Hi!"}]
    assert tokenizer.apply_chat_template(turns, tokenize=False).startswith(tokenizer.decode(item.ids))


def test_positions_stand_before_their_targets():
    batch = collate([Tokens((5, 6, 7, 8), 2), Tokens((9, 10), 1)], pad=0)
    assert batch.ids.tolist() == [[5, 6, 7, 8], [9, 10, 0, 0]]
    assert batch.mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.where.tolist() == [[False, True, True, False], [True, False, False, False]]
    assert batch.targets.tolist() == [7, 8, 10]
    assert batch.owners.tolist() == [0, 0, 1]


def test_a_target_that_equals_the_padding_counts():
    batch = collate([Tokens((5, 0), 1), Tokens((9, 8, 0), 1)], pad=0)
    assert batch.targets.tolist() == [0, 8, 0]


@given(st.integers(1, 50), st.integers(1, 16), st.sampled_from([0.1, 0.5, 1.0, 2.0, 2.7]), st.integers(0, 9))
def test_every_epoch_sees_every_item_once(num_items, batch_size, epochs, seed):
    order = training_order(num_items, batch_size, epochs, seed)
    flat = [index for batch in order for index in batch]
    assert len(flat) == max(1, round(num_items * epochs))
    counts = Counter(flat)
    assert max(counts.values()) - min(counts.get(index, 0) for index in range(num_items)) <= 1
    assert all(len(batch) == batch_size for batch in order[:-1])
    assert order == training_order(num_items, batch_size, epochs, seed)


@given(st.lists(st.integers(1, 60), max_size=30), st.integers(1, 200))
def test_micro_batches_keep_every_item_within_the_budget(lengths, budget):
    groups = micro_batches(lengths, budget)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[index] for index in group) <= budget


@pytest.mark.parametrize("beside", [1, 2, 4, 12])
def test_what_stands_beside_is_spread_evenly(beside):
    num_items = 100
    order = training_order(num_items, 16, 2, seed=3, beside=beside)
    assert sorted(index for batch in order for index in batch) == sorted(list(range(num_items)) * 2)
    others = [sum(index >= num_items - beside for index in batch) for batch in order]
    assert max(others) <= max(1, -(-16 * beside // num_items))
    assert training_order(num_items, 16, 2, seed=3) == training_order(num_items, 16, 2, seed=3, beside=0)


def test_no_batch_has_more_than_its_share_of_what_stands_beside():
    """As the loop allows it: two of sixteen (methods/judging.py)."""
    config = Config.model_validate({"judge_training": {"methods": ["replay"]}})
    for pairs in (20, 33, 100, 801):
        beside = room_beside(config, pairs)
        order = training_order(pairs + beside, 16, 1, seed=1, beside=beside)
        assert max(sum(index >= pairs for index in batch) for batch in order) <= 0.15 * 16
