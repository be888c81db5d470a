"""What a recipe costs on this machine."""

from dataclasses import dataclass

from srlm.config import Config, LocalEngineSection, RayEngineSection
from srlm.errors import ModelError
from srlm.models import resolve
from srlm.planning.hardware import GIB
from srlm.planning.memory import disk_bytes, generation_gib, training_memory
from srlm.planning.rates import Rates, calibrate
from srlm.planning.shapes import shape_of_folder
from srlm.planning.steps import Step, plan_steps
from srlm.seeds import load_seed


@dataclass(frozen=True)
class MachinePlan:
    """Steps; rates, None when not measured; sizes in GiB, None when the model is not here, and why not."""

    steps: list[Step]
    rates: Rates | None = None
    parameters: int | None = None
    training_gib: float = 0.0
    generation_gib: float = 0.0
    disk_gib: float = 0.0
    missing: str = ""


def plan_machine(config: Config, *, calibrated: bool) -> MachinePlan:
    """The plan of a run on this machine; with `calibrated` its rates are measured first."""
    steps = plan_steps(config, load_seed(config.data))
    try:
        model = resolve(config.model)
    except ModelError as error:
        return MachinePlan(steps, missing=f"{error.given}: {error.why}")
    shape = shape_of_folder(model.path)
    config = one_machine(config)
    local = isinstance(config.engine, LocalEngineSection)
    return MachinePlan(
        steps,
        calibrate(config, model) if calibrated and local else None,
        shape.parameters,
        max(training_memory(shape, section).total for section in (config.sft, config.dpo)) / GIB,
        generation_gib(shape, config),
        sum(disk_bytes(shape, config, steps).values()) / GIB,
    )


def one_machine(config: Config) -> Config:
    """The recipe with its engine alone, where Ray would spread it."""
    if isinstance(config.engine, RayEngineSection):
        return config.model_copy(update={"engine": config.engine.engine})
    return config
