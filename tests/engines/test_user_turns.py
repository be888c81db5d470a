"""The user's turn: where a chat template begins it, what ends it, and that the model's own engine obeys."""

import pytest
from tiny_model import save_tiny_model

from srlm.chat_format import DEFAULT_CHAT_TEMPLATE, end_of_user, load_tokenizer, user_text
from srlm.config import LocalEngineSection, PromptsSection
from srlm.engines.base import Request
from srlm.engines.encoding import Encoding, refuse_too_long
from srlm.engines.local import LocalEngine
from srlm.errors import ModelError, PromptTooLong
from srlm.models import Model, folder_digest
from srlm.proving.language import CHAT_TEMPLATE, WORDS
from srlm.records import Message, ask
from srlm.stages import records_of
from srlm.stages.prompts import write_prompts
from srlm.training.pretraining import word_tokenizer

SPOKEN = (*ask("Hi."), Message(role="assistant", content="Hello."))
LABELLED = "{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}"


@pytest.fixture
def tokenizer(tiny):
    return load_tokenizer(tiny.path)


@pytest.fixture(scope="module")
def small_world(tmp_path_factory) -> Model:
    """A random model of the small world's language: every word is about as likely as any other."""
    folder = tmp_path_factory.mktemp("world") / "model"
    save_tiny_model(folder, word_tokenizer(WORDS, CHAT_TEMPLATE))
    return Model("M0", folder, folder_digest(folder))


def request(**given) -> Request:
    known = {"id": "r", "conversation": (), "purpose": "prompt", "seed": 1, "speaker": "user"}
    return Request(**{**known, "temperature": 1.0, "top_p": 1.0, "max_tokens": 64, **given})


def finish(encoding: Encoding, wanted: Request, text: str) -> tuple[str, str]:
    """(what is kept of a text as it is written, how it ends): read token by token, as engines do."""
    written: list[int] = []
    for token in encoding.tokenizer(text, add_special_tokens=False)["input_ids"]:
        written.append(token)
        if encoding.finish(wanted, written):
            break
    reply = encoding.reply(encoding.job(wanted), 0, written, ())
    return reply.text, reply.finish


def test_chatml_begins_with_its_default_system_turn_and_ends_with_its_control_token(tokenizer):
    head = user_text(tokenizer, ())
    assert head.startswith("<|im_start|>system\n")
    assert head.endswith("<|im_end|>\n<|im_start|>user\n")
    assert end_of_user(tokenizer).tokens == {tokenizer.convert_tokens_to_ids("<|im_end|>")}
    assert end_of_user(tokenizer).texts == ()
    later = user_text(tokenizer, SPOKEN)
    assert later.endswith("assistant\nHello.<|im_end|>\n<|im_start|>user\n")
    said = finish(
        Encoding(tokenizer, None), request(), "What is rain?<|im_end|>\n<|im_start|>assistant\nWater."
    )
    assert said == ("What is rain?", "stop")


def test_the_small_world_hands_over_to_the_bot():
    tokenizer = word_tokenizer(WORDS, CHAT_TEMPLATE)
    assert user_text(tokenizer, ()) == "<|user|>"
    encoding = Encoding(tokenizer, None)
    assert finish(encoding, request(), "walk up ( a b ) <|bot|> yes no") == ("walk up ( a b )", "stop")
    assert finish(encoding, request(), "walk up ( a b ) <|end|> yes no") == ("walk up ( a b )", "stop")
    # To an answer it is no end, as it ever was.
    assistant = request(speaker="assistant", conversation=ask("walk"))
    assert finish(encoding, assistant, "yes <|bot|> no <|end|>") == ("yes no", "stop")


def test_a_template_without_control_tokens_ends_with_its_label(tokenizer):
    tokenizer.chat_template = DEFAULT_CHAT_TEMPLATE
    assert user_text(tokenizer, ()).endswith("User:")
    assert end_of_user(tokenizer).texts == ("\n\nAssistant:",)
    encoding = Encoding(tokenizer, None)
    told = "Explain what an\nAssistant: is, in a list.\n\nAssistant:\nIt is"
    assert finish(encoding, request(), told) == ("Explain what an\nAssistant: is, in a list.", "stop")
    assert finish(encoding, request(stop=("list",)), told)[0].endswith("is, in a")
    assert not encoding.is_watched(request(speaker="assistant", conversation=ask("Hi.")))


def test_a_label_beside_the_text_ends_it_and_a_template_that_changes_it_is_refused(tokenizer):
    tokenizer.chat_template = LABELLED
    assert user_text(tokenizer, ()) == "[INST]"
    assert end_of_user(tokenizer).texts == ("[/INST]",)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}"
    with pytest.raises(ModelError, match="changes what the user says"):
        user_text(tokenizer, ())


def test_control_tokens_in_what_was_said_before_are_text(tokenizer):
    head = user_text(tokenizer, ask("<|im_end|> Hi."))
    assert "< |im_end|> Hi." in head


def test_a_turn_that_does_not_fit_is_named_though_nothing_was_said(tokenizer):
    job = Encoding(tokenizer, None).job(request(max_tokens=500))
    with pytest.raises(PromptTooLong, match="nothing said yet"):
        refuse_too_long([job], 100)


def test_the_local_engine_ends_a_users_turn_where_the_bot_would_speak(small_world):
    engine = LocalEngine(LocalEngineSection(device="cpu"), small_world)
    many = {"n": 24, "max_tokens": 400}
    wanted = [
        request(id="user", **many),
        request(id="bot", speaker="assistant", conversation=ask("walk up"), **many),
    ]
    found = list(engine.generate(wanted))
    engine.close()
    user = [reply for reply in found if reply.request_id == "user"]
    bot = [reply for reply in found if reply.request_id == "bot"]
    assert {reply.num_prompt_tokens for reply in user} == {1}
    # Two of about a hundred words end the user's turn, one the bot's: about half as many tokens.
    mean = [sum(reply.num_tokens for reply in replies) / 24 for replies in (user, bot)]
    assert mean[0] < 0.75 * mean[1]
    assert all(reply.finish == "stop" for reply in user)


def test_prompts_are_written_by_a_model_alone(small_world):
    engine = LocalEngine(LocalEngineSection(device="cpu"), small_world)
    section = PromptsSection(method="synthesis", count=6, block=4, temperature=1, top_p=1, max_tokens=200)
    made = records_of(write_prompts(section, engine, [], seed=1))
    engine.close()
    assert len({item.text for item in made}) == 6
    assert all(item.demonstrations == () for item in made)
    assert not any("<|" in item.text for item in made)
