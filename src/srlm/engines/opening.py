"""From a config section and a model to an engine; from a role's name to the engine that plays it."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager

from srlm.config import (
    Config,
    EngineSection,
    LocalEngineSection,
    ModelSection,
    OpenAIEngineSection,
    RayEngineSection,
    VllmEngineSection,
    is_server,
)
from srlm.engines.base import Engine
from srlm.engines.scripted import ScriptedEngine
from srlm.errors import ConfigError
from srlm.models import Model, resolve

FIRST = "M1"
"""The name by which a role asks for the M1 of the run itself."""


@contextmanager
def open_engine(section: EngineSection, model: Model | None) -> Iterator[Engine]:
    """The engine of a section for a model, closed at the end. A server (`openai`) has a model of its own.

    Raises ConfigError where a model is needed and there is none.
    """
    engine = make_engine(section, model)
    try:
        yield engine
    finally:
        engine.close()


def check_engine(section: EngineSection) -> None:
    """Raise ConfigError or EngineError where an engine over a cluster could not begin."""
    if isinstance(section, RayEngineSection):
        from srlm.engines.ray import cluster  # loads Ray

        cluster.check(section)


def make_engine(section: EngineSection, model: Model | None) -> Engine:
    """The engine of a section for a model; it loads nothing before it is asked. Raises ConfigError."""
    if isinstance(section, RayEngineSection):
        from srlm.engines.ray.engine import RayEngine  # loads Ray

        return RayEngine(section, model, make_engine(section.engine, model).digest)
    if isinstance(section, OpenAIEngineSection):
        from srlm.engines.openai import OpenAIEngine  # loads an HTTP client

        return OpenAIEngine(section)
    if model is None:
        raise ConfigError(
            f"engine.kind={section.kind} without a model",
            "a server has a model of its own, any other engine needs one",
            "name one with --model, or set engine.kind=openai and engine.model",
        )
    if isinstance(section, LocalEngineSection):
        from srlm.engines.local import LocalEngine  # loads torch

        return LocalEngine(section, model)
    if isinstance(section, VllmEngineSection):
        from srlm.engines.vllm import VllmEngine  # loads transformers

        return VllmEngine(section, model)
    return ScriptedEngine(name=f"scripted {model.digest}")


def resolve_others(config: Config) -> dict[str, Model]:
    """The models that have a role besides the one in training, found before any work begins.

    M1 of the run itself is none of them, for it is still to be made.
    """
    own = [None if name == FIRST else name for name in (config.prompts.writer, config.judge.judge)]
    return resolve_roles(config, (*own, config.evaluation.judge.model))


def resolve_roles(config: Config, roles: Iterable[str | None]) -> dict[str, Model]:
    """The models of some roles by their names; the names in `servers` are no models and are left out."""
    trust = config.model.trust_remote_code
    names = [name for name in dict.fromkeys(roles) if name and name not in config.servers]
    return {name: resolve(ModelSection(name=name, trust_remote_code=trust), name=name) for name in names}


def open_named(config: Config, name: str, others: Mapping[str, Model]) -> AbstractContextManager[Engine]:
    """The engine that plays a role: a server of the config's by its name, or one of the other models."""
    if name in config.servers:
        return open_engine(config.servers[name], None)
    if name not in others:
        raise ConfigError(
            f"the role of {name!r}",
            "it is that of a run's own M1, and there is none here"
            if name == FIRST
            else "no such model is open",
            "name a model or one of `servers`, or leave the role to the current model",
        )
    # A server would answer instead of the model.
    return open_engine(LocalEngineSection() if is_server(config.engine) else config.engine, others[name])


@contextmanager
def open_roles(
    config: Config, model: Model, others: Mapping[str, Model]
) -> Iterator[tuple[Engine, Engine, Engine]]:
    """Who writes prompts, answers and judges in a round: the current model, or whom the config names."""
    with ExitStack() as stack:
        wanted = (config.prompts.writer, None, config.judge.judge)
        opened = {
            name: stack.enter_context(
                open_named(config, name, others) if name else open_engine(config.engine, model)
            )
            for name in dict.fromkeys(wanted)
        }
        writer, engine, judging = (opened[name] for name in wanted)
        yield writer, engine, judging
