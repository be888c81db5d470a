"""Conversations as a model's tokens: its chat template, its end token, and text that stays text.

`load_tokenizer` is the one place where a chat template, the end token and padding are set. Whatever is
tokenized goes through `chat_text` or `without_controls`.
"""

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
    messages = [
        {"role": turn.role, "content": without_controls(tokenizer, turn.content)} for turn in conversation
    ]
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text


def without_controls(tokenizer: Any, text: str) -> str:
    """The text with a space inside whatever spells a control token such as ``<|im_end|>``.

    Tokenized as it stands, it would end its turn, and a response could speak as the judge.
    """
    controls = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    for token in sorted({*controls, *tokenizer.all_special_tokens}, key=len, reverse=True):
        text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def _end_of_turn(tokenizer: Any) -> str:
    """The token with which the chat template ends an answer, or the end token where it uses none."""
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}]
    after = tokenizer.apply_chat_template(turns, tokenize=False).rpartition("answer")[2]
    ids = tokenizer(after, add_special_tokens=False)["input_ids"]
    special = [token for token in ids if getattr(tokenizer.added_tokens_decoder.get(token), "special", False)]
    end: str = tokenizer.convert_ids_to_tokens(special[0]) if special else tokenizer.eos_token
    return end
