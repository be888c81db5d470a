"""Ask an engine for a block of requests; a request that cannot be asked costs only itself."""

from collections.abc import Sequence

from srlm.engines.base import Engine, Reply, Request
from srlm.errors import PromptTooLong

Replies = dict[tuple[str, int], Reply]


def replies_to(engine: Engine, requests: Sequence[Request]) -> tuple[Replies, set[str]]:
    """Every reply by request id and draw, and the ids of requests too long for the model's context.

    One overlong text must not end a run of weeks, so it is left out, named, and the rest asked.
    """
    try:
        return {(reply.request_id, reply.draw): reply for reply in engine.generate(requests)}, set()
    except PromptTooLong as error:
        too_long = set(error.request_ids)
        rest = [request for request in requests if request.id not in too_long]
        return {(reply.request_id, reply.draw): reply for reply in engine.generate(rest)}, too_long
