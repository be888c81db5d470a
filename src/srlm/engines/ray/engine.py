"""Any engine spread over a Ray cluster: the same requests in, the same replies out, from many machines.

A call of `generate` is cut into blocks, which replicas take one after the other (dispatch.py). Several
threads may call at once: the stages do, so that no machine waits for the end of a block of records
(`capacity`). Who is asked, and where, changes nothing that is written: the digest is that of the engine
inside, and a run that was begun on one machine goes on over a cluster.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue

from srlm.config import RayEngineSection
from srlm.engines.base import Reply, Request, refuse_empty
from srlm.engines.ray import cluster
from srlm.engines.ray.dispatch import Replicas
from srlm.engines.ray.replica import Answered
from srlm.errors import PromptTooLong, Unanswerable
from srlm.models import Model

Outcome = list[Reply] | Unanswerable


class RayEngine:
    """The engine of a section in as many processes of a cluster as asked for, or as have room. Thread-safe.

    Replicas start at the first request, and end with `close`. Nothing comes back before all of a call is
    there; what was answered before some request failed is kept, and answers the next call.
    """

    def __init__(self, section: RayEngineSection, model: Model | None, digest: str) -> None:
        self.digest = digest
        self._section, self._model = section, model
        self._opening = threading.Lock()
        self._replicas: Replicas | None = None
        self._is_ours = False
        self._known: dict[Request, Outcome] = {}
        self._counting = threading.Lock()
        self._counts: Counter[str] = Counter()

    @property
    def capacity(self) -> int:
        """Requests that keep all replicas busy."""
        return cluster.AHEAD * self._open().num * self._section.block

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        for request in requests:
            refuse_empty(request)
        found = {one: outcome for one in requests if (outcome := self._known.get(one)) is not None}
        unknown = [request for request in dict.fromkeys(requests) if request not in found]
        found |= self._ask(unknown) if unknown else {}
        refused = [outcome for outcome in found.values() if isinstance(outcome, Unanswerable)]
        if refused:
            self._known |= found
            raise _together(refused)
        for request in found:
            self._known.pop(request, None)
        for request in requests:
            yield from found[request]  # type: ignore[misc]  # none is refused

    def spent(self) -> Counter[str]:
        """What servers behind the replicas counted since this was last asked."""
        with self._counting:
            found, self._counts = self._counts, Counter()
        return found

    def close(self) -> None:
        """End the replicas, and the cluster where this process started it."""
        with self._opening:
            replicas, self._replicas = self._replicas, None
        if replicas:
            try:
                replicas.close()
            finally:
                self._leave()

    def _open(self) -> Replicas:
        with self._opening:
            if self._replicas is None:
                self._is_ours = cluster.reach(self._section.address)
                try:
                    share = cluster.placed(self._section, is_ours=self._is_ours)
                    self._replicas = Replicas(self._section, self._model, share)
                except BaseException:
                    self._leave()
                    raise
            return self._replicas

    def _leave(self) -> None:
        """Give up the cluster, where this process started it for this engine."""
        if self._is_ours:
            cluster.leave()

    def _ask(self, requests: Sequence[Request]) -> dict[Request, Outcome]:
        """The outcome of every request; raises EngineError and what else is no single request's fault."""
        replicas, size = self._open(), self._section.block
        parts = [requests[start : start + size] for start in range(0, len(requests), size)]
        under_way: dict[Future[Answered], Sequence[Request]] = {}
        done: SimpleQueue[Future[Answered]] = SimpleQueue()

        def ask(part: Sequence[Request]) -> None:
            future = replicas.answer(part)
            under_way[future] = part
            future.add_done_callback(done.put)

        for part in parts:
            ask(part)
        found: dict[Request, Outcome] = {}
        while under_way:
            future = done.get()
            part = under_way.pop(future)
            outcomes = self._outcomes(part, future)
            found |= outcomes
            if rest := [request for request in part if request not in outcomes]:
                ask(rest)
        return found

    def _outcomes(self, part: Sequence[Request], future: Future[Answered]) -> dict[Request, Outcome]:
        """What came of a block: of all its requests, or, where some are too long, of those alone."""
        answered = future.result()
        with self._counting:
            self._counts += answered.spent
        failure = answered.failure
        if failure and not isinstance(failure, Unanswerable):
            raise failure
        found: dict[Request, Outcome] = {}
        if isinstance(failure, Unanswerable):
            found = {one: failure for one in part if one.id in failure.request_ids}
        replied: dict[str, list[Reply]] = {}
        for reply in answered.replies:
            replied.setdefault(reply.request_id, []).append(reply)
        return found | {one: replied[one.id] for one in part if one.id in replied}


def _together(refused: Sequence[Unanswerable]) -> Unanswerable:
    """The failures of one kind as one: those too long, or else those that ended their workers."""
    kind = next((type(one) for one in refused if isinstance(one, PromptTooLong)), type(refused[0]))
    alike = [one for one in refused if type(one) is kind]
    ids = tuple(dict.fromkeys(key for one in alike for key in one.request_ids))
    return kind(alike[0].given, alike[0].why, alike[0].todo, ids)
