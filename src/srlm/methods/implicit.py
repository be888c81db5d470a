"""The implicit rewards of DPO: how likely a round's responses are to the models so far."""

from srlm.config import LocalEngineSection
from srlm.methods.turn import Turn
from srlm.records import Likelihood, Response
from srlm.stages.likelihoods import weigh
from srlm.store.jsonl import Records


def implicit_rewards(at: Turn, responses: Records[Response]) -> list[Records[Likelihood]]:
    """How likely a round's responses are to the model that wrote them, the one before it, and M0.

    No records where the pairs do not ask.
    """
    config, models = at.config, at.models
    if not config.pairs.needs_likelihoods:
        return []
    from srlm.engines.likelihood import Witnesses  # loads torch

    witnesses = dict.fromkeys((models[-1], models[-2], models[0]))
    section = config.engine if isinstance(config.engine, LocalEngineSection) else LocalEngineSection()
    given = (Witnesses(section, list(witnesses)), responses)
    return [at.run.records(f"M{at.t}/likelihoods", Likelihood, weigh, config.responses, *given)]
