"""The real server in a process of its own, as a user starts it."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass(frozen=True)
class Live:
    """A server that runs: its process, the annotators' links in order, the owner's."""

    process: subprocess.Popen[str]
    links: list[str]
    owner: str


@contextmanager
def serving(folder: Path, *options: str, command: str = "annotate") -> Iterator[Live]:
    """The server on a free port, until it is left."""
    line = [sys.executable, "-m", "srlm.cli", command, str(folder), "--port", "0", *options]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        said = []
        assert process.stdout
        for text in process.stdout:
            said.append(text)
            if text.startswith("Ctrl-C"):
                break
        found = re.findall(r"http\S+", "".join(said))
        assert found, "".join(said)
        try:
            yield Live(process, found[:-1], found[-1])
        finally:
            process.terminate()
            process.wait(20)
