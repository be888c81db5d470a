"""Deterministic text without a model: to try a config, and to test a stage or a judge of your own.

ScriptedEngine()                                   plausible words by name, scores spread over 0 to 5
ScriptedEngine(lambda request, draw: "Score: 3")   whatever a test needs
ScriptedEngine(weigh=lambda request: [0.9, 0.1])   probabilities of the continuations asked for
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from srlm.engines.base import Reply, Request, refuse_empty
from srlm.records import seed_for

WORDS = [
    "amber",
    "bridge",
    "candle",
    "desert",
    "engine",
    "forest",
    "garden",
    "harbor",
    "island",
    "jacket",
    "kettle",
    "ladder",
    "meadow",
    "needle",
    "orchard",
    "pepper",
    "quarry",
    "ribbon",
    "saddle",
    "temple",
    "umbrella",
    "valley",
    "window",
    "yellow",
    "zephyr",
    "acorn",
    "butter",
    "copper",
    "dragon",
    "ember",
    "falcon",
    "ginger",
    "hammer",
    "indigo",
    "jungle",
    "lantern",
    "marble",
    "nectar",
    "oyster",
    "pillow",
    "river",
    "silver",
    "tunnel",
]

Script = Callable[[Request, int], str]
Weigh = Callable[[Request], Sequence[float]]


class ScriptedEngine:
    """Answers from a function of (request, draw); tokens are words."""

    def __init__(
        self, script: Script | None = None, name: str = "scripted", weigh: Weigh | None = None
    ) -> None:
        self._script, self._weigh = script or partial(_words, name), weigh or _chances
        self.digest = hashlib.sha256(name.encode()).hexdigest()

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        for request in requests:
            refuse_empty(request)
            for draw in range(request.n):
                yield self._reply(request, draw)

    def _reply(self, request: Request, draw: int) -> Reply:
        text = self._script(request, draw)
        for stop in request.stop:
            text = text.partition(stop)[0]
        words = text.split(" ")
        finish = "length" if len(words) > request.max_tokens else "stop"
        return Reply(
            request_id=request.id,
            draw=draw,
            text=" ".join(words[: request.max_tokens]),
            finish=finish,  # type: ignore[arg-type]
            num_tokens=min(len(words), request.max_tokens),
            num_prompt_tokens=sum(len(message.content.split()) for message in request.conversation),
            probabilities=tuple(self._weigh(request)) if request.continuations else (),
        )

    def close(self) -> None:
        """Nothing to give back."""


def _chances(request: Request) -> list[float]:
    """Probabilities that differ by request and leave a little to everything else."""
    chance = random.Random(request.seed)  # noqa: S311  not for security
    weights = [chance.random() for _ in request.continuations]
    return [0.9 * weight / sum(weights) for weight in weights]


def _words(name: str, request: Request, draw: int) -> str:
    chance = random.Random(seed_for(name, request.seed, draw))  # noqa: S311  not for security
    text = " ".join(chance.choices(WORDS, k=chance.randint(6, 18))).capitalize()
    if request.purpose == "judgment":
        return f"{text}.\nScore: {chance.randint(0, 5)}"
    return f"{text}."
