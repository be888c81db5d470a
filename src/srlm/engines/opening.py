"""From a config section and a model to an engine."""

from collections.abc import Iterator
from contextlib import contextmanager

from srlm.config import EngineSection, LocalEngineSection, OpenAIEngineSection
from srlm.engines.base import Engine
from srlm.engines.scripted import ScriptedEngine
from srlm.models import Model


@contextmanager
def open_engine(section: EngineSection, model: Model) -> Iterator[Engine]:
    """The engine of a section for a model, closed at the end. A server (`openai`) has a model of its own."""
    engine: Engine
    if isinstance(section, LocalEngineSection):
        from srlm.engines.local import LocalEngine  # loads torch

        engine = LocalEngine(section, model)
    elif isinstance(section, OpenAIEngineSection):
        from srlm.engines.openai import OpenAIEngine  # loads an HTTP client

        engine = OpenAIEngine(section)
    else:
        engine = ScriptedEngine(name=f"scripted {model.digest}")
    try:
        yield engine
    finally:
        engine.close()
