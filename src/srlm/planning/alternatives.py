"""What a changed setting would cost: a few that matter for what dominates, and the user's own."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from srlm.config import Config
from srlm.errors import ConfigError, ModelError
from srlm.planning.times import StepTime
from srlm.recipes import override

WORTH_TELLING = 0.01
"""Share of the run that a suggestion must change."""

Outcome = Callable[[Config], tuple[float, str]]
"""By a config the hours of its whole run, and what would make its trainings fit, empty where they do."""


@dataclass(frozen=True)
class Alternative:
    """Overrides, the hours by which they change the run, and what would make it fit, empty where it does."""

    words: tuple[str, ...]
    hours: float
    mends: str = ""


def alternatives(
    config: Config, times: Sequence[StepTime], outcome: Outcome, own: Sequence[str] = ()
) -> list[Alternative]:
    """The user's own overrides, then those that what dominates suggests, with the change of wall time.

    Each of `own` is one override or several with spaces between. Raises ConfigError for one that is none,
    ConfigError or ModelError for one that cannot be on this cluster; a suggestion that cannot is left out.
    """
    before, _ = outcome(config)
    found: list[Alternative] = []
    for text in own:
        words = tuple(text.split())
        changed = override(config, words)
        if changed == config:
            raise ConfigError(
                f"--what-if {text!r}", "it changes nothing in this recipe", "give another value"
            )
        hours, mends = outcome(changed)
        found.append(Alternative(words, hours - before, mends))
    for words in [*_always(config), *_for(dominating(times), config)]:
        try:
            hours, mends = outcome(override(config, words))
        except (ConfigError, ModelError):
            continue
        gain = hours - before
        if abs(gain) > WORTH_TELLING * before and words not in [one.words for one in found]:
            found.append(Alternative(words, gain, mends))
    return found


def dominating(times: Sequence[StepTime]) -> str:
    """The kind of step that takes most of the wall time: prompts, responses, judgments, dpo, sft ..."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for one in times:
        seconds[one.step.name.rpartition("/")[2]] += one.seconds
    return max(seconds, key=lambda kind: seconds[kind])


def _always(config: Config) -> list[tuple[str, ...]]:
    """What people ask first."""
    asked: list[tuple[str, ...]] = []
    if config.judge.justify:
        asked.append((f"judge.samples={config.judge.samples + 2}",))
        asked.append(("judge.scoring=expected", "judge.justify=false"))
    asked.append((f"responses.samples={2 * config.responses.samples}",))
    asked.append((f"iterations={config.iterations + 1}",))
    return asked


def _for(kind: str, config: Config) -> list[tuple[str, ...]]:
    """What would shorten the step that takes longest."""
    batch = {section: getattr(config, section).batch_size for section in ("sft", "dpo")}
    found: dict[str, list[tuple[str, ...]]] = {
        "prompts": [(f"prompts.block={8 * config.prompts.block}",)],
        "responses": [
            (f"responses.max_tokens={max(1, config.responses.max_tokens // 2)}",),
            (f"responses.block={4 * config.responses.block}",),
        ],
        "judgments": [
            (f"judge.max_tokens={max(1, config.judge.max_tokens // 2)}",),
            (f"judge.block={4 * config.judge.block}",),
        ],
        "dpo": [(f"dpo.batch_size={4 * batch['dpo']}",)],
        "sft": [(f"sft.batch_size={4 * batch['sft']}",)],
    }
    return found.get(kind, [])
