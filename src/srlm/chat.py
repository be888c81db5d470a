"""Talk with a model, or with two side by side."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from srlm.config import LocalEngineSection, ModelSection, Sampling
from srlm.engines.base import Engine, Request
from srlm.engines.opening import open_engine
from srlm.errors import PromptTooLong
from srlm.models import resolve
from srlm.records import Conversation, Message, content_id, seed_for


def chat(
    references: Sequence[str], sampling: Sampling, read: Callable[[], str | None], console: Console
) -> None:
    """Answer each text that `read` gives by every model, until it gives None.

    Every model keeps a conversation of its own. An empty text is asked again, `/new` forgets, and a
    conversation that has outgrown the context says so and waits.
    """
    with ExitStack() as stack:
        section = LocalEngineSection()
        models = [resolve(ModelSection(name=reference), name=reference) for reference in references]
        engines = [stack.enter_context(open_engine(section, model)) for model in models]
        histories: list[Conversation] = [() for _ in references]
        while (text := read()) is not None:
            if text.strip() == "/new":
                histories = [() for _ in references]
            elif text.strip():
                asked = [(*history, Message(role="user", content=text)) for history in histories]
                try:
                    answers = [_answer(*pair, sampling) for pair in zip(engines, asked, strict=True)]
                except PromptTooLong as error:
                    console.print(Text(f"{error}, or forget the conversation with /new"), style="red")
                    continue
                histories = [
                    (*history, Message(role="assistant", content=answer or " "))
                    for history, answer in zip(asked, answers, strict=True)
                ]
                show(references, answers, console)


def show(names: Sequence[str], answers: Sequence[str], console: Console) -> None:
    """The answers as plain text, never as markup: what a model writes must not style the terminal."""
    width = console.width // len(names) - 1
    panels = [
        Panel(Text(_printable(answer)), title=Text(name), width=width, border_style="cyan")
        for name, answer in zip(names, answers, strict=True)
    ]
    console.print(Columns(panels) if len(panels) > 1 else panels[0])


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable() or character in "\n\t")


def _answer(engine: Engine, conversation: Conversation, sampling: Sampling) -> str:
    key = content_id("chat", [message.model_dump() for message in conversation])
    request = Request(
        id=key,
        conversation=conversation,
        purpose="response",
        seed=seed_for(key),
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
    )
    return next(iter(engine.generate([request]))).text
