"""Machines of a Ray cluster on this one: each in a network namespace of its own, so that one can be cut off.

Needs root and iproute2. The head, which has no cores to give, is in this namespace at 10.77.0.1.
"""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RAY = str(Path(sys.executable).with_name("ray"))
HEAD = "10.77.0.1"
ADDRESS = f"{HEAD}:6379"


def run(*words: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | (env or {}))
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@dataclass(frozen=True)
class Machine:
    """A node of the cluster, in the namespace srlmN at 10.77.0.(N + 1)."""

    number: int

    @property
    def name(self) -> str:
        return f"srlm{self.number}"

    def start(self, **env: str) -> None:
        """Join the cluster with a core."""
        ip = f"10.77.0.{self.number + 1}"
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", f"{self.name}h", "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "link", "set", f"{self.name}h", "master", "srlmbr", "up")
        inside = ("ip", "netns", "exec", self.name)
        run(*inside, "ip", "addr", "add", f"{ip}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            run(*inside, "ip", "link", "set", device, "up")
        run(
            *inside, RAY, "start", f"--address={ADDRESS}", f"--node-ip-address={ip}", "--num-cpus=1",
            "--object-store-memory=100000000", env=env,
        )  # fmt: skip

    def pids(self) -> list[int]:
        return [int(pid) for pid in run("ip", "netns", "pids", self.name).split()]

    def workers(self) -> list[int]:
        """The processes that hold an engine."""
        found = []
        for pid in self.pids():
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if line.startswith(b"ray::Replica"):
                found.append(pid)
        return found

    def kill(self) -> None:
        """Lose the machine: all of its processes at once."""
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)

    def cut(self, seconds: float) -> None:
        """Cut its network off for a while."""
        run("ip", "link", "set", f"{self.name}h", "down")
        time.sleep(seconds)
        run("ip", "link", "set", f"{self.name}h", "up")

    def remove(self) -> None:
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        run("ip", "netns", "del", self.name)


@contextmanager
def cluster(num: int, *, slow: int = 0, **env: str) -> Iterator[list[Machine]]:
    """A head and so many machines, the last `slow` of them twenty times slower (unlucky/sitecustomize.py)."""
    made: list[Machine] = []
    shared = {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(Path(__file__).with_name("unlucky")), **env}
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # for drivers, too
    run("ip", "link", "add", "srlmbr", "type", "bridge")
    try:
        run("ip", "addr", "add", f"{HEAD}/24", "dev", "srlmbr")
        run("ip", "link", "set", "srlmbr", "up")
        run(
            RAY, "start", "--head", f"--node-ip-address={HEAD}", "--port=6379", "--num-cpus=0",
            "--include-dashboard=false", "--object-store-memory=100000000", env=shared,
        )  # fmt: skip
        for number in range(1, num + 1):
            made.append(Machine(number))
            made[-1].start(**shared, **({"SRLM_SLOW": "1"} if number > num - slow else {}))
        yield made
    finally:
        for machine in made:
            machine.remove()
        subprocess.run([RAY, "stop", "--force"], capture_output=True, check=False)
        run("ip", "link", "del", "srlmbr")
