import pytest

from srlm.chat_format import chat_text, load_tokenizer
from srlm.config import LocalEngineSection, SftSection
from srlm.engines.local import LocalEngine
from srlm.prefixes import num_common
from srlm.training import calibrate


class Clock:
    """One second between any two looks."""

    def __init__(self):
        self.seconds = 0.0

    def perf_counter(self):
        self.seconds += 1.0
        return self.seconds


@pytest.fixture
def clock(monkeypatch):
    """A clock for what is calibrated alone: a rate is then a number of tokens."""
    monkeypatch.setattr(calibrate, "time", Clock())


def test_the_reading_rate_counts_what_prompts_share_once(tiny, clock, monkeypatch):
    """Prompts of about 300 tokens that share the chat format's beginning alone."""
    asked, generate = [], LocalEngine.generate

    def noting(engine, requests):
        asked.append([*requests])
        return generate(engine, asked[-1])

    monkeypatch.setattr(LocalEngine, "generate", noting)
    prefill, written = calibrate.generation_rates(LocalEngineSection(device="cpu"), tiny.path)
    tokenizer = load_tokenizer(tiny.path)
    texts = [chat_text(tokenizer, request.conversation) for request in asked[1]]
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    head = num_common(rows[0], rows[2])
    assert max(num_common(one, other) for one in rows for other in rows if one is not other) <= head + 1
    assert prefill < sum(map(len, rows)) - head * (len(rows) - 1) + 1
    assert prefill > sum(len(row) - head - 1 for row in rows)
    assert written <= 48 * calibrate.ROWS


def test_the_training_rate_counts_what_the_model_sees(tiny, clock, monkeypatch):
    """On flat rows, as training has them: each distinct token once, and no padding."""
    seen = []
    whole = calibrate.answer_logprobs

    def noting(model, batch, autocast):
        seen.append(batch)
        return whole(model, batch, autocast)

    monkeypatch.setattr(calibrate, "answer_logprobs", noting)
    rate = calibrate.training_rate(SftSection(device="cpu", dropout=0), tiny.path)
    assert rate == seen[-1].num_distinct == seen[-1].ids.numel()
    assert seen[-1].ids.shape[0] == 1
    assert seen[-1].num_distinct < seen[-1].num_tokens < 1.5 * seen[-1].num_distinct
