"""Bad luck for the workers of a Ray cluster, brought by PYTHONPATH: a scripted engine that dies, or is slow.

A request whose text holds POISON ends its process. SRLM_SECONDS_A_REQUEST makes every request take so long,
one with TIMES 7 in its text seven times so long, and SRLM_SLOW all of them twenty times so long.
"""

import os
import re
import time

from srlm.engines import scripted

plain = scripted.ScriptedEngine.generate
SECONDS = float(os.environ.get("SRLM_SECONDS_A_REQUEST", "0"))
SLOWER = 20


def generate(self, requests):
    for request in requests:
        text = request.conversation[-1].content
        if "POISON" in text:
            os._exit(1)
        times = re.search(r"TIMES (\d+)", text)
        time.sleep(SECONDS * int(times[1] if times else 1) * (SLOWER if os.environ.get("SRLM_SLOW") else 1))
        yield from plain(self, [request])


scripted.ScriptedEngine.generate = generate
