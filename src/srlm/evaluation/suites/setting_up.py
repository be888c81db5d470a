"""From a suite's section to its bench: the one list of all suites."""

from collections.abc import Callable, Sequence

from srlm.config import (
    AlpacaEvalSuite,
    CheckedSuite,
    DiversitySuite,
    GSM8KSuite,
    HarnessSuite,
    HeadToHeadSuite,
    IFEvalSuite,
    MTBenchSuite,
    Suite,
)
from srlm.evaluation.suites.alpaca_eval import AlpacaEval
from srlm.evaluation.suites.bench import Bench
from srlm.evaluation.suites.diversity import Diversity
from srlm.evaluation.suites.harness import Harness
from srlm.evaluation.suites.head_to_head import HeadToHead
from srlm.evaluation.suites.mt_bench import MTBench
from srlm.evaluation.suites.verifiable import GSM8K, Checked, IFEval
from srlm.records import Prompt

_BENCHES: dict[type[Suite], Callable[..., Bench]] = {
    AlpacaEvalSuite: AlpacaEval,
    CheckedSuite: Checked,
    GSM8KSuite: GSM8K,
    HarnessSuite: Harness,
    IFEvalSuite: IFEval,
    MTBenchSuite: MTBench,
}
_ON_HELDOUT: dict[type[Suite], Callable[..., Bench]] = {
    DiversitySuite: Diversity,
    HeadToHeadSuite: HeadToHead,
}


def set_up(section: Suite, heldout: Sequence[Prompt]) -> Bench:
    """The bench of a suite, its data read; raises DataError or ConfigError."""
    if type(section) in _ON_HELDOUT:
        return _ON_HELDOUT[type(section)](section, heldout)
    return _BENCHES[type(section)](section)
