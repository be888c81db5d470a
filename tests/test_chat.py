import io

from rich.console import Console

from srlm.chat import chat, show
from srlm.config import Sampling


def talk(monkeypatch, lines, references, script):
    from contextlib import contextmanager

    from srlm.engines.scripted import ScriptedEngine

    @contextmanager
    def opened(section, model, **_):
        yield ScriptedEngine(lambda request, draw: script(model, request))

    monkeypatch.setattr("srlm.chat.open_engine", opened)
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    said = iter([*lines, None])
    chat(references, Sampling(max_tokens=50), lambda: next(said), console)
    return console.file.getvalue()


def test_two_models_answer_side_by_side_and_each_keeps_its_own_conversation(monkeypatch, tiny, tmp_path):
    (tmp_path / "M1").mkdir()
    (tmp_path / "M1/model").symlink_to(tiny.path)
    references = [str(tiny.path), str(tmp_path / "M1")]
    seen = {reference: [] for reference in references}

    def script(model, request):
        seen[model.name].append([message.content for message in request.conversation])
        return f"I am {model.name[-5:]}."

    shown = talk(monkeypatch, ["Who are you?", "", "Really?", "/new", "And now?"], references, script)
    for reference in references:
        own = f"I am {reference[-5:]}."
        assert own in shown
        assert seen[reference] == [["Who are you?"], ["Who are you?", own, "Really?"], ["And now?"]]


def test_what_a_model_writes_does_not_style_the_terminal():
    console = Console(file=io.StringIO(), width=60, force_terminal=True)
    show(["M1"], ["[red]no markup[/red] \x1b[31mno escape\x07"], console)
    shown = console.file.getvalue()
    assert "[red]no markup[/red]" in shown
    assert "\x1b[31m" not in shown
    assert "\x07" not in shown


def test_a_conversation_that_outgrew_the_context_says_so_and_waits(monkeypatch, tiny):
    from srlm.errors import PromptTooLong

    def script(model, request):
        if "long" in request.conversation[-1].content:
            raise PromptTooLong("a prompt", "the context is short", "shorten it", (request.id,))
        return "Fine."

    shown = talk(monkeypatch, ["so long", "short"], [str(tiny.path)], script)
    assert "/new" in shown
    assert "Fine." in shown
