"""Conversations as a model's tokens: its chat template, its end token, and text that stays text.

`load_tokenizer` is the one place where a chat template, the end token and padding are set. Whatever is
tokenized goes through `chat_text` or `without_controls`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srlm.errors import ModelError
from srlm.models import loading
from srlm.records import Conversation

DEFAULT_CHAT_TEMPLATE = (
    "{{ bos_token if bos_token else '' }}"
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{{ '\n' }}{% endif %}"
)
"""For base models: a label before each turn, the end token after each answer."""
_USER_TEXT = "The text of the user stands here"
"""Rendered in place of a user's text, to see what the template puts around it."""


@dataclass(frozen=True)
class UserEnd:
    """What ends a user's turn: control tokens by their ids, or texts where the template has none there."""

    tokens: frozenset[int] = frozenset()
    texts: tuple[str, ...] = ()


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a model folder, with a chat template, an end token and padding."""
    from transformers import AutoTokenizer

    with loading(folder):
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"model {folder}",
            "its tokenizer names no end token, so an answer could never end",
            "set eos_token in its tokenizer_config.json",
        )
    if tokenizer.chat_template is None:
        tokenizer.chat_template = DEFAULT_CHAT_TEMPLATE
    tokenizer.eos_token = _end_of_turn(tokenizer)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def chat_text(tokenizer: Any, conversation: Conversation) -> str:
    """A conversation in the model's chat format, up to where the assistant's answer begins."""
    text: str = tokenizer.apply_chat_template(
        _messages(tokenizer, conversation), tokenize=False, add_generation_prompt=True
    )
    return text


def user_text(tokenizer: Any, conversation: Conversation) -> str:
    """A conversation in the model's chat format, up to where the next text of the user's begins.

    Without spaces at its end: most tokenizers put a space into the token of the word that follows.
    """
    return _around_user_text(tokenizer, conversation)[0].rstrip(" ")


def end_of_user(tokenizer: Any) -> UserEnd:
    """What the chat template puts between a user's text and the answer, as far as it ends the text."""
    after = _around_user_text(tokenizer, ())[1]
    found = [(after.index(token), -len(token), token) for token in _controls(tokenizer) if token in after]
    place, _, token = min(found, default=(len(after), 0, ""))
    if token and not after[:place].strip():
        return UserEnd(tokens=frozenset({tokenizer.convert_tokens_to_ids(token)}))
    text = after[:place]
    # Line breaks before a label tell it from the same word within a sentence.
    ends = text.strip(" ").rstrip() or text
    return UserEnd(texts=(ends,) if ends else ())


def without_controls(tokenizer: Any, text: str) -> str:
    """The text with a space inside whatever spells a control token such as ``<|im_end|>``.

    Tokenized as it stands, it would end its turn, and a response could speak as the judge.
    """
    for token in sorted(_controls(tokenizer), key=len, reverse=True):
        text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def _messages(tokenizer: Any, conversation: Conversation) -> list[dict[str, str]]:
    return [
        {"role": turn.role, "content": without_controls(tokenizer, turn.content)} for turn in conversation
    ]


def _controls(tokenizer: Any) -> set[str]:
    controls = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return {*controls, *tokenizer.all_special_tokens}


def _around_user_text(tokenizer: Any, conversation: Conversation) -> tuple[str, str]:
    """(all before a further text of the user's, what follows up to the answer); raises ModelError."""
    turns = [*_messages(tokenizer, conversation), {"role": "user", "content": _USER_TEXT}]
    text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    before, found, after = text.rpartition(_USER_TEXT)
    if not found:
        raise ModelError(
            f"the chat template of {tokenizer.name_or_path}",
            "it changes what the user says, so where the user's text begins cannot be told",
            "set prompts.method=few_shot, or take a model with another chat template (prompts.writer)",
        )
    return before, after


def _end_of_turn(tokenizer: Any) -> str:
    """The token with which the chat template ends an answer, or the end token where it uses none."""
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}]
    after = tokenizer.apply_chat_template(turns, tokenize=False).rpartition("answer")[2]
    ids = tokenizer(after, add_special_tokens=False)["input_ids"]
    special = [token for token in ids if getattr(tokenizer.added_tokens_decoder.get(token), "special", False)]
    end: str = tokenizer.convert_ids_to_tokens(special[0]) if special else tokenizer.eos_token
    return end
