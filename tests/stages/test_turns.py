import pytest

from srlm.config import ResponsesSection
from srlm.engines.scripted import ScriptedEngine
from srlm.errors import PromptTooLong
from srlm.stages import records_of
from srlm.stages.turns import Conversations, Turns, converse, turn_id
from srlm.store.blocks import Resume

TALKS = Conversations([Turns(str(n), (f"Question {n}?", f"And {n} more?"), n / 10) for n in range(5)])
SECTION = ResponsesSection(block=2, top_p=0.8, max_tokens=20)


class Recording(ScriptedEngine):
    """Keeps what it was asked, and has no room for conversations that hold a text."""

    def __init__(self, script=None, too_long="no such text"):
        super().__init__(script)
        self.asked, self._too_long = [], too_long

    def generate(self, requests):
        long = tuple(r.id for r in requests if any(self._too_long in m.content for m in r.conversation))
        if long:
            raise PromptTooLong("requests", "the context is short", "shorten them", long)
        self.asked += requests
        yield from super().generate(requests)


def echo(request, draw):
    return f"About {request.conversation[-1].content}"


def spoken(request):
    return [(message.role, message.content) for message in request.conversation]


def test_a_turn_is_asked_with_all_that_came_before_in_view():
    engine = Recording(echo)
    records_of(converse(SECTION, engine, Conversations([Turns("a", ("One?", "Two?", "Three?"), 0.3)])))
    opening = [("user", "One?"), ("assistant", "About One?"), ("user", "Two?")]
    assert [spoken(request) for request in engine.asked] == [
        opening[:1],
        opening,
        [*opening, ("assistant", "About Two?"), ("user", "Three?")],
    ]


def test_a_turn_is_asked_once_at_its_conversations_temperature():
    engine = Recording()
    records_of(converse(SECTION, engine, TALKS))
    found = {spoken(request)[0][1]: request.temperature for request in engine.asked}
    assert found == {f"Question {n}?": n / 10 for n in range(5)}
    assert {(one.n, one.top_p, one.max_tokens, one.purpose) for one in engine.asked} == {
        (1, 0.8, 20, "response")
    }
    assert len({request.seed for request in engine.asked}) == len(engine.asked) == 10


def test_a_response_a_turn_in_the_order_of_the_conversations():
    made = records_of(converse(SECTION, ScriptedEngine(echo), TALKS))
    assert [(one.prompt, one.draw, one.text) for one in made] == [
        (text, turn, f"About {text}") for talk in TALKS for turn, text in enumerate(talk.texts)
    ]
    assert [one.prompt_id for one in made] == [turn_id(talk, turn) for talk in TALKS for turn in range(2)]
    assert made[0].num_tokens == 3
    assert len({one.id for one in made}) == len({one.prompt_id for one in made}) == 10


def test_conversations_of_one_block_may_differ_in_length():
    talks = Conversations([Turns("a", ("A1?",), 0), Turns("b", ("B1?", "B2?", "B3?"), 0)])
    engine = Recording(echo)
    (block,) = converse(SECTION, engine, talks)
    assert [(one.prompt, one.draw) for one in block.records] == [
        ("A1?", 0),
        ("B1?", 0),
        ("B2?", 1),
        ("B3?", 2),
    ]
    assert "turns without an answer" not in block.counts
    assert ("user", "A1?") not in spoken(engine.asked[-1])


@pytest.mark.parametrize(
    ("too_long", "answered", "lost"),
    [("B1?", 0, 3), ("B2?", 1, 2), ("About B2?", 2, 1), ("B3?", 2, 1), ("About B3?", 3, 0)],
)
def test_a_turn_that_is_too_long_ends_its_conversation_alone(too_long, answered, lost):
    talks = Conversations([Turns(name, tuple(f"{name}{n}?" for n in (1, 2, 3)), 0) for name in "ABC"])
    engine = Recording(echo, too_long)
    (block,) = converse(ResponsesSection(block=3), engine, talks)
    said = [(one.prompt, one.draw) for one in block.records]
    b = [(f"B{n + 1}?", n) for n in range(answered)]
    assert said == [("A1?", 0), ("A2?", 1), ("A3?", 2), *b, ("C1?", 0), ("C2?", 1), ("C3?", 2)]
    assert block.counts.get("turns without an answer", 0) == lost
    assert (block.done, block.total) == (3, 3)
    assert len(engine.asked) == len(said)


def test_where_every_conversation_is_too_long_the_block_is_empty():
    blocks = list(converse(SECTION, Recording(echo, "?"), TALKS))
    assert records_of(blocks) == []
    assert [block.counts for block in blocks] == [{"turns without an answer": 4}] * 2 + [
        {"turns without an answer": 2}
    ]


def test_tokens_and_answers_that_were_cut_off_are_counted():
    long = ("And 1 more?", "Question 2?", "And 3 more?")
    engine = ScriptedEngine(lambda request, draw: "word " * (30 if spoken(request)[-1][1] in long else 1))
    blocks = list(converse(SECTION, engine, TALKS))
    assert [dict(block.counts) for block in blocks] == [
        {"tokens": 26, "cut off": 1},
        {"tokens": 44, "cut off": 2},
        {"tokens": 4},
    ]
    assert [(block.done, block.total) for block in blocks] == [(2, 5), (4, 5), (5, 5)]
    assert [one.finish for one in blocks[0].records] == ["stop", "stop", "stop", "length"]


@pytest.mark.parametrize("blocks", [0, 1, 2, 3])
def test_conversations_go_on_from_a_block_as_if_never_stopped(blocks):
    whole = list(converse(SECTION, ScriptedEngine(), TALKS, seed=3))
    rest = list(converse(SECTION, ScriptedEngine(), TALKS, seed=3, resume=Resume(blocks)))
    assert rest == whole[blocks:]


def test_draws_depend_on_the_seed_and_not_on_blocks():
    made = records_of(converse(SECTION, ScriptedEngine(), TALKS))
    assert records_of(converse(ResponsesSection(block=5, max_tokens=20), ScriptedEngine(), TALKS)) == made
    other = records_of(converse(SECTION, ScriptedEngine(), TALKS, seed=1))
    assert all(one.text != another.text for one, another in zip(made, other, strict=True))
    twins = Conversations([Turns("a", ("One?",), 0), Turns("b", ("One?",), 0)])
    first, second = records_of(converse(SECTION, ScriptedEngine(), twins))
    assert first.text != second.text
    assert first.prompt_id != second.prompt_id


def test_the_digest_names_all_that_is_asked():
    items = [Turns("a", ("One?", "Two?"), 0.5), Turns("b", ("One?",), 0.5)]
    digest = Conversations(items).digest
    assert Conversations(list(items)).digest == digest
    others = [
        [items[0]],
        items[::-1],
        [Turns("c", ("One?", "Two?"), 0.5), items[1]],
        [Turns("a", ("One?", "Two!"), 0.5), items[1]],
        [Turns("a", ("One?", "Two?"), 0.6), items[1]],
    ]
    assert len({digest, *(Conversations(other).digest for other in others)}) == 6


def test_the_id_of_a_turn_depends_on_what_came_before_and_not_on_what_follows():
    talk = Turns("a", ("One?", "Two?"), 0)
    assert turn_id(talk, 0) == turn_id(Turns("a", ("One?", "Other?"), 0), 0)
    assert turn_id(talk, 1) != turn_id(Turns("a", ("Other?", "Two?"), 0), 1)
    assert turn_id(talk, 1) != turn_id(Turns("b", talk.texts, 0), 1)
