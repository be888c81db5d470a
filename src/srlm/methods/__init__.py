"""Steps that later papers add to a round, called by the loop; each gives nothing unless the config asks.

What only changes which responses are paired, or how a loss is reckoned, stands with the pairs and the losses
(docs/methods.md).
"""

from srlm.config import Config
from srlm.methods.opponents import opponent_steps


def method_steps(config: Config, t: int) -> list[str]:
    """The steps that methods add to round t before its pairs, in order, as they are called on the disk."""
    section = config.judge_training
    taught = section.methods if t - 2 < section.rounds else ()
    return [
        *([f"M{t}/meta_judgments", f"M{t}/judge_pairs"] if "meta" in taught else []),
        *([f"M{t}/worse_responses", f"M{t}/worse_judgments"] if "self_taught" in taught else []),
        *([f"M{t}/likelihoods"] if config.pairs.needs_likelihoods else []),
        *opponent_steps(config, t),
    ]
