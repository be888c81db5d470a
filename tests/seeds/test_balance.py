from srlm.seeds import RankedAnswer, RankedPrompt
from srlm.seeds.balance import longer_wins, without_length


def line(number, *lengths, split="train"):
    """Answers of these lengths, the best first."""
    answers = [RankedAnswer(text=str(n) + "x" * (size - 1), rank=n) for n, size in enumerate(lengths)]
    return RankedPrompt(prompt=f"Question {number}?", answers=tuple(answers), split=split)


def test_the_lean_of_a_prompt_counts_its_pairs():
    assert longer_wins(line(0, 9, 5, 2)) == 3
    assert longer_wins(line(0, 2, 5, 9)) == -3
    assert longer_wins(line(0, 5, 9, 2)) == 1  # 5 < 9 against, 5 > 2 and 9 > 2 for it
    assert longer_wins(line(0, 5, 5)) == 0


def test_training_prompts_go_until_the_lean_is_gone_and_held_out_ones_stay():
    lines = [line(n, 9, 2) for n in range(30)] + [line(30 + n, 2, 9) for n in range(12)]
    heldout = [line(100 + n, 9, 2, split="heldout") for n in range(5)]
    kept = without_length([*lines, *heldout])
    assert sum(longer_wins(item) for item in kept if item.split == "train") == 0
    assert len(kept) == 24 + 5
    assert [item for item in kept if item in lines] == [item for item in lines if item in kept]  # in order
    assert without_length([*heldout, *lines[::-1]])[5:] == [item for item in lines[::-1] if item in kept]


def test_a_lean_to_brevity_goes_too_and_none_stays_as_it_is():
    assert len(without_length([line(n, 2, 9) for n in range(4)] + [line(9, 9, 2)])) == 2
    even = [line(0, 9, 2), line(1, 2, 9)]
    assert without_length(even) == even
    assert without_length([]) == []
