"""Bad luck for the workers of a Ray cluster, brought by PYTHONPATH: a scripted engine that dies, or is slow.

A request whose text holds POISON ends its process. SRLM_SECONDS_A_REQUEST makes every request take so long,
and SRLM_SLOW twenty times so long.
"""

import os
import time

from srlm.engines import scripted

plain = scripted.ScriptedEngine.generate
SECONDS = float(os.environ.get("SRLM_SECONDS_A_REQUEST", "0"))
SLOWER = 20


def generate(self, requests):
    for request in requests:
        if "POISON" in request.conversation[-1].content:
            os._exit(1)
        time.sleep(SECONDS * (SLOWER if os.environ.get("SRLM_SLOW") else 1))
        yield from plain(self, [request])


scripted.ScriptedEngine.generate = generate
