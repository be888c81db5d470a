"""A round on many replicas: its steps as stages of tasks, one after the other, then its training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from srlm.config import Config
from srlm.planning.layout import Cluster
from srlm.planning.lengths import Lengths
from srlm.planning.simulation import Fleet, Stage, StageTime, Task, fleet, simulate
from srlm.planning.steps import Requests, Step
from srlm.planning.times import StepTime
from srlm.records import seed_for


@dataclass(frozen=True)
class RoundTime:
    """A simulated round: its stages; seconds of its training, with those that failures are to cost it."""

    replicas: int
    stages: tuple[StageTime, ...]
    training: float

    @property
    def writing(self) -> float:
        """Seconds of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def seconds(self) -> float:
        """Of the whole round: training and writing do not overlap."""
        return self.writing + self.training

    @property
    def busy(self) -> float:
        """Share of the replicas' time that counted while they wrote."""
        return sum(stage.useful for stage in self.stages) / max(self.replicas * self.writing, 1e-12)


def stages(step: Step, lengths: Lengths, cluster: Cluster, replicas: int, seed: int) -> list[Stage]:
    """The stages of a step: one for each kind of request, answers drawn from `lengths`."""
    kind = step.name.rpartition("/")[2]
    return [
        Stage(
            step.name,
            tuple(_tasks(asked, kind, lengths, cluster.task, seed_for(seed, step.name, place))),
            asked.head,
            cluster.open_blocks(asked, replicas),
        )
        for place, asked in enumerate(step.requests)
    ]


def _tasks(asked: Requests, kind: str, lengths: Lengths, size: int, seed: int) -> Iterator[Task]:
    drawn = lengths.draw(kind, asked.budget, asked.generations, np.random.default_rng(seed)).tolist()
    for start in range(0, asked.count, asked.block):
        end = min(start + asked.block, asked.count)
        for first in range(start, end, size):
            last = min(first + size, end)
            answers = tuple(drawn[first * asked.samples : last * asked.samples])
            yield Task(start // asked.block, (last - first) * asked.prompt, answers)


def fleet_of(cluster: Cluster, replicas: int, *, speculate: bool = True, seed: int = 0) -> Fleet:
    """So many of a cluster's replicas, with the stragglers and failures that are assumed."""
    given = cluster.given
    return fleet(
        cluster.cost,
        replicas,
        stragglers=given.stragglers,
        slower=given.slower,
        mtbf=3600 * given.mtbf_hours / cluster.tensor_parallel,
        restart=given.restart,
        speculate=speculate,
        seed=seed,
    )


def simulate_round(
    cluster: Cluster,
    config: Config,
    steps: Sequence[Step],
    training: StepTime,
    lengths: Lengths,
    *,
    replicas: int | None = None,
    seed: int = 0,
) -> RoundTime:
    """The round of `steps` (prompts, responses, judgments) on so many replicas, the cluster's own by default.

    A change of model is a load. A failure costs the training half of `save_steps` and a restart.
    """
    number = replicas or cluster.replicas
    of_round = fleet_of(cluster, number, seed=seed)
    done: list[StageTime] = []
    loaded: str | None = "nothing yet"
    for step in steps:
        wanted = _model_of(config, step)
        for stage in stages(step, lengths, cluster, number, seed):
            place = seed_for(seed, step.name, len(done))
            done.append(simulate(stage, of_round, loads=wanted != loaded, seed=place))
            loaded = wanted
    return RoundTime(number, _together(done), _with_failures(cluster, config, training))


def round_steps(steps: Sequence[Step], model: str) -> list[Step]:
    """The steps of a plan in which the model's round writes: prompts, responses, judgments."""
    names = [f"{model}/{part}" for part in ("prompts", "responses", "judgments")]
    return [step for step in steps if step.name in names]


def _model_of(config: Config, step: Step) -> str | None:
    """Who writes a step; None: the model of the round."""
    writers = {"prompts": config.prompts.writer, "judgments": config.judge.judge}
    return writers.get(step.name.rpartition("/")[2])


def _together(done: Sequence[StageTime]) -> tuple[StageTime, ...]:
    """One time a step: a judge that writes and then weighs has two stages."""
    sums: dict[str, StageTime] = {}
    for stage in done:
        before = sums.get(stage.name)
        sums[stage.name] = stage if before is None else _sum(before, stage)
    return tuple(sums.values())


def _sum(one: StageTime, other: StageTime) -> StageTime:
    fields = ("seconds", "useful", "loading", "copied", "failed", "waiting", "tail", "failures")
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in fields})


def _with_failures(cluster: Cluster, config: Config, training: StepTime) -> float:
    """Seconds of a training with the failures that are to be expected."""
    update = training.seconds / max(training.step.updates, 1)
    lost = cluster.given.restart + cluster.cost.load + update * config.dpo.save_steps / 2
    failures = training.seconds * cluster.gpus / (3600 * cluster.given.mtbf_hours)
    return training.seconds + failures * lost
