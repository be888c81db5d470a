"""Rows enter and leave as they come, and nothing is lost when the memory is too small."""

import weakref

import pytest
import torch

from srlm.config import LocalEngineSection
from srlm.engines import decoding, local
from srlm.engines.base import Request
from srlm.engines.decoding import Decoder, Room
from srlm.engines.encoding import Job
from srlm.engines.local import LocalEngine
from srlm.errors import EngineError
from srlm.records import ask

VOCABULARY, END = 40, 1


class Rows:
    def __init__(self, texts):
        self.texts = texts

    def __len__(self):
        return len(self.texts)

    def select(self, rows):
        self.texts = [self.texts[row] for row in rows]


class Counting:
    """Counts on from a prompt [n], and ends after n tokens."""

    joins = True

    @staticmethod
    def room(jobs):
        return sum(prompt + samples * new for prompt, samples, new in jobs)

    def __init__(self, most=10**6):
        self.most, self.begun, self.at_once = most, [], []

    def begin(self, prompts, counts):
        if sum(counts) > self.most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        self.begun.append(sum(counts))
        rows = Rows(
            [list(prompt) for prompt, count in zip(prompts, counts, strict=True) for _ in range(count)]
        )
        return rows, torch.stack([self.logits(prompt) for prompt in prompts])

    def step(self, rows, tokens):
        self.at_once.append(sum(map(len, rows)))
        if self.at_once[-1] > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        for one, new in zip(rows, tokens, strict=True):
            one.texts = [[*text, token] for text, token in zip(one.texts, new, strict=True)]
        return [torch.stack([self.logits(text) for text in one.texts]) for one in rows]

    @staticmethod
    def logits(text):
        wanted = END if len(text) >= text[0] else (text[-1] + 1) % VOCABULARY
        return torch.nn.functional.one_hot(torch.tensor(wanted), VOCABULARY) * 100.0


def job(length, n=1):
    request = Request(
        id=f"{length}", conversation=ask("x"), purpose="response", seed=0, n=n, temperature=0, max_tokens=30
    )
    return Job(request, [length], [], tuple(range(n)))


def run(model, jobs, rows, tokens=10**9):
    decoder = Decoder(model, Room(rows, tokens), 0)
    return [
        (row.job.ids[0], row.draw, len(row.tokens))
        for row in decoder.run(jobs, lambda r: r.tokens[-1] == END)
    ]


WANTED = [(length, draw, length) for length in (2, 3, 4, 5, 9, 15) for draw in range(2)]


def jobs():
    return [job(length, 2) for length in (15, 9, 5, 4, 3, 2)]


def test_rows_enter_while_others_are_under_way():
    model = Counting()
    assert sorted(run(model, jobs(), 6)) == WANTED
    assert len(model.begun) > 1
    assert max(model.at_once) <= 6
    total = sum(length for length, _, _ in WANTED)
    # In fixed batches of six rows each would wait for its longest: 15 and 4 steps.
    assert len(model.at_once) < 18
    assert sum(model.at_once) < total  # the first token of each comes from reading its prompt


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_what_does_not_fit_is_halved_and_nothing_is_lost(most):
    assert sorted(run(Counting(most), jobs(), 12)) == WANTED


def test_running_out_on_the_way_loses_nothing():
    class Growing(Counting):
        def step(self, rows, tokens):
            if sum(map(len, rows)) > 4:
                raise MemoryError
            return super().step(rows, tokens)

    assert sorted(run(Growing(), jobs(), 12)) == WANTED


def test_what_gave_way_is_given_up_before_anything_begins_again():
    """Otherwise its keys and values take the memory that the next attempt needs."""

    class Remembering(Counting):
        tight, first, alive = True, None, None

        def begin(self, prompts, counts):
            if self.first and self.alive is None:
                self.alive = self.first() is not None
            rows, logits = super().begin(prompts, counts)
            self.first = self.first or weakref.ref(rows)
            return rows, logits

        def step(self, rows, tokens):
            if self.tight and len(self.at_once) == 2:
                activations = rows  # as the frames of a model hold them
                self.tight = not activations
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().step(rows, tokens)

    model = Remembering()
    assert sorted(run(model, jobs(), 12)) == WANTED
    assert model.alive is False


def test_a_wave_that_ended_is_given_up_before_the_next_begins():
    class Alone(Counting):
        joins, last, alive = False, None, ()

        def begin(self, prompts, counts):
            self.alive = [*self.alive, self.last is not None and self.last() is not None]
            rows, logits = super().begin(prompts, counts)
            self.last = weakref.ref(rows)
            return rows, logits

    model = Alone()
    assert sorted(run(model, jobs(), 4)) == WANTED
    assert len(model.alive) > 2
    assert not any(model.alive)


def test_a_small_wave_that_gives_way_leaves_half_of_what_was_under_way():
    """Nine rows, and three that joined them: six go on at a time, not one."""

    class Once(Counting):
        failed = False

        def step(self, rows, tokens):
            if len(self.begun) == 2 and not self.failed:
                self.failed = True
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().step(rows, tokens)

    model = Once()
    wanted = [(length, 0, length) for length in range(2, 21)]
    assert sorted(run(model, [job(length) for length, _, _ in reversed(wanted)], 12)) == wanted
    assert model.failed
    assert model.begun[:2] == [12, 3]
    assert max(model.begun[2:]) > 1


@pytest.mark.parametrize("place", range(6))
def test_running_out_while_drawing_gives_no_row_a_token_twice(place, monkeypatch):
    calls, draw = [], decoding.sample

    def tight(*given):
        calls.append(given)
        if len(calls) == 3 + place:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return draw(*given)

    monkeypatch.setattr(decoding, "sample", tight)
    assert sorted(run(Counting(), jobs(), 6)) == WANTED
    assert len(calls) > 8


@pytest.mark.parametrize("place", range(2))
def test_running_out_while_rows_leave_loses_nothing(place, monkeypatch):
    calls, select = [], Rows.select

    def tight(self, rows):
        calls.append(rows)
        if len(calls) == 1 + place:
            raise torch.OutOfMemoryError("CUDA out of memory")
        select(self, rows)

    monkeypatch.setattr(Rows, "select", tight)
    assert sorted(run(Counting(), jobs(), 6)) == WANTED
    assert len(calls) > place


def test_a_job_larger_than_the_room_enters_in_parts():
    model = Counting()
    assert sorted(run(model, [job(5, 9)], 4)) == [(5, draw, 5) for draw in range(9)]
    assert model.begun == [4, 4, 1]
    model = Counting()
    assert sorted(run(model, [job(5, 9)], 99, 5 + 3 * 30)) == [(5, draw, 5) for draw in range(9)]
    assert model.begun == [3, 3, 3]


def test_one_row_that_does_not_fit_is_an_error_with_a_way_out():
    with pytest.raises(EngineError, match="does not hold one such sample"):
        run(Counting(0), jobs(), 12)


def test_other_errors_are_not_taken_for_want_of_memory():
    class Broken(Counting):
        def step(self, rows, tokens):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        run(Broken(), jobs(), 12)


def requests():
    texts = ("Rain.", "Snow that melts before noon.", "Fog over a long, long river.", "Ice.", "Hail", "Dew")
    return [
        Request(
            id=text,
            conversation=ask(
                "Judge how well the answer fits the question, on a scale of five points. " * 4 + text
            ),
            purpose="response",
            seed=7 + number,
            n=1 + number % 3,
            temperature=1.5,
            top_p=1.0,
            max_tokens=41,
            stop=("a",),  # rows end at different times
        )
        for number, text in enumerate(texts)
    ]


@pytest.mark.parametrize("rows", [256, 5, 1])
def test_how_many_are_under_way_changes_no_draw(tiny, rows, monkeypatch):
    """In float32; with little room rows enter late, beside others of another age."""
    engine = LocalEngine(LocalEngineSection(device="cpu", dtype="float32"), tiny)
    wanted = {(one.request_id, one.draw): one for one in engine.generate(requests())}
    monkeypatch.setitem(local.MOST_ROWS, "cpu", rows)
    assert {(one.request_id, one.draw): one for one in engine.generate(requests())} == wanted
    assert len(wanted) == 12
    assert len({one.num_tokens for one in wanted.values()}) > 3


def test_a_real_model_that_runs_out_of_memory_goes_on(tiny, monkeypatch):
    engine = LocalEngine(LocalEngineSection(device="cpu", dtype="float32"), tiny)
    wanted = {(one.request_id, one.draw): one for one in engine.generate(requests())}
    forward, seen = engine._forward, []
    step = forward.step

    def narrow(rows, tokens):
        seen.append(sum(map(len, rows)))
        if (len(seen) == 3 and seen[-1] > 1) or seen[-1] > 7:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return step(rows, tokens)

    monkeypatch.setattr(forward, "step", narrow)
    assert {(one.request_id, one.draw): one for one in engine.generate(requests())} == wanted
    assert seen[2] > 1  # which ran out
    assert max(seen[3:]) <= seen[2] // 2
