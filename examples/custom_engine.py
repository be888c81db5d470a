"""An engine of your own: anything with `digest`, `generate` and `close` can write text for a stage.

This one answers in capitals and judges by politeness. Put a call to your server in its place.
Run it: ``python examples/custom_engine.py``.
"""

import hashlib
from collections.abc import Iterator, Sequence

from srlm.config import JudgeSection, PairsSection, ResponsesSection
from srlm.engines.base import Reply, Request
from srlm.judging.rubric import load_rubric
from srlm.records import Pair, Prompt, seed_for
from srlm.stages import records_of
from srlm.stages.judgments import judge
from srlm.stages.pairs import make_pairs
from srlm.stages.responses import respond


class PoliteEngine:
    """Satisfies `srlm.engines.base.Engine`; no base class is needed."""

    digest = hashlib.sha256(b"polite 1").hexdigest()

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        for request in requests:
            for draw in range(request.n):
                text = self._judge(request) if request.purpose == "judgment" else self._answer(request, draw)
                yield Reply(request.id, draw, text, "stop", len(text.split()), 0)

    def close(self) -> None:
        """Nothing to give back."""

    def _answer(self, request: Request, draw: int) -> str:
        polite = seed_for(request.seed, draw) % 2  # all randomness comes from the request
        return request.conversation[-1].content.upper() + (" THANK YOU." if polite else "")

    def _judge(self, request: Request) -> str:
        polite = "THANK YOU" in request.conversation[-1].content
        return f"It is {'polite' if polite else 'curt'}.\nScore: {5 if polite else 1}"


def main() -> list[Pair]:
    engine = PoliteEngine()
    prompts = [Prompt.of(f"Tell me about mountain number {number}.", (), number) for number in range(3)]
    responses = records_of(respond(ResponsesSection(), engine, prompts))
    judgments = records_of(judge(JudgeSection(samples=1), engine, load_rubric("additive"), responses))
    pairs = records_of(make_pairs(PairsSection(), responses, judgments))
    for pair in pairs:
        print(f"+ {pair.chosen}\n- {pair.rejected}")
    return pairs


if __name__ == "__main__":
    main()
