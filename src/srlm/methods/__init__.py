"""Steps that later papers add to a round, called by the loop; each gives nothing unless the config asks.

What only changes which responses are paired, or how a loss is reckoned, stands with the pairs and the losses
(docs/methods.md).
"""

from srlm.config import Config
from srlm.judging.checkers import load_checker
from srlm.judging.rubric import comparing_rubric
from srlm.methods.opponents import opponent_steps
from srlm.templates import load_template


def check_named(config: Config) -> None:
    """Raise ConfigError, before any work, where a text or a program that a method names cannot be read."""
    section = config.judge_training
    if "meta" in section.methods:
        comparing_rubric(section.rubric)
    if "self_taught" in section.methods:
        load_template(section.other_task, "task")
    if config.pairs.checker:
        load_checker(config.pairs.checker)


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
