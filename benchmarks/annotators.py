"""Fifty annotators at once on loopback, and a server that is killed under them.

Every annotator reads a ballot, votes, and writes down what the server acknowledged; sometimes a vote is sent
twice. In the end the box must hold exactly that. Prints the time of a vote, and what was lost or doubled:
``python benchmarks/annotators.py [--annotators 50] [--ballots 40] [--kills 2]``.
"""

import argparse
import asyncio
import json
import random
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import httpx2

from srlm.config import Config
from srlm.people.ballots import ballots, said
from srlm.people.votes import open_box
from srlm.records import Prompt, Response, content_id


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--annotators", type=int, default=50)
    parser.add_argument("--ballots", type=int, default=40)
    parser.add_argument("--kills", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "demo"
        make_run(folder, asked.ballots)
        for kills in dict.fromkeys((0, asked.kills)):
            for path in (folder / "human").glob("*"):
                path.unlink()
            print(f"{asked.annotators} annotators, {asked.ballots} ballots each, server killed {kills} times")
            Trial(folder, asked.annotators, asked.ballots, kills).go()


def make_run(folder: Path, prompts: int) -> None:
    """A run with answers of two models."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"srlm": "0.1.0"}))
    (folder / "config.json").write_text(json.dumps({"config": Config().model_dump(mode="json")}))
    for number, model in enumerate(("M1", "M2")):
        step = folder / model / "evaluation/answers"
        step.parent.mkdir(parents=True)
        lines = []
        for place in range(prompts):
            prompt = Prompt.of(f"Question {place}?", (), 0)
            id_, text = content_id(model, place), f"{model} says {place}. " * 60
            lines.append(Response.given(id_, prompt, text).model_dump_json() + "\n")
        step.with_suffix(".jsonl").write_text("".join(lines))
        state = {"step": f"{model}/evaluation/answers", "number": number, "done": True, "records": prompts}
        Path(f"{step}.step.json").write_text(json.dumps(state))


class Trial:
    """A server, its annotators, and what they were told."""

    def __init__(self, folder: Path, annotators: int, each: int, kills: int) -> None:
        self.folder, self.annotators, self.each, self.kills = folder, annotators, each, kills
        self.total = annotators * each
        self.acknowledged: dict[tuple[int, int], str] = {}
        self.times: list[float] = []
        self.resent = 0
        self.start(port=0)
        self.port = int(self.links[0].split(":")[2].split("/")[0])

    def start(self, port: int) -> None:
        command = [sys.executable, "-m", "srlm.cli", "annotate", str(self.folder), "--port", str(port)]
        command += ["--annotators", str(self.annotators)]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        said_so: list[str] = []
        while not said_so or not said_so[-1].startswith("Ctrl-C"):
            said_so.append(self.server.stdout.readline())
            if not said_so[-1]:
                raise SystemExit(f"the server did not start: {''.join(said_so)}")
        self.links = re.findall(r"http\S+/a/\S+", "".join(said_so))

    def go(self) -> None:
        began = time.monotonic()
        asyncio.run(self.everybody())
        seconds = time.monotonic() - began
        self.server.kill()
        self.server.wait()
        votes = len(self.acknowledged)
        most, p95 = (1000 * statistics.quantiles(self.times, n=100)[place] for place in (98, 94))
        print(
            f"  {votes} votes in {seconds:.1f} s ({votes / seconds:.0f} a second, each with its page); "
            f"a vote: median {1000 * statistics.median(self.times):.0f} ms, p95 {p95:.0f} ms, "
            f"p99 {most:.0f} ms; {self.resent} sent again to a server that was away"
        )
        lost, more, doubled = self.compare()
        print(f"  {lost} lost or changed, {more} that nobody cast, {doubled} doubled")

    async def everybody(self) -> None:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(limits=limits, timeout=30) as client, asyncio.TaskGroup() as group:
            for number, link in enumerate(self.links, 1):
                group.create_task(self.one(client, number, link))
            group.create_task(self.kill())

    async def kill(self) -> None:
        """Kill the server after equal parts of all votes, and start it again."""
        for number in range(1, self.kills + 1):
            while len(self.acknowledged) < self.total * number / (self.kills + 1):
                await asyncio.sleep(0.01)
            self.server.kill()
            await asyncio.to_thread(self.server.wait)
            await asyncio.to_thread(self.start, self.port)

    async def one(self, client: httpx2.AsyncClient, number: int, link: str) -> None:
        chance = random.Random(number)
        for position in range(1, self.each + 1):
            address, value = f"{link}ballot/{position}", chance.choice("12345")
            page = await self.until(client.get, address)
            form = re.findall(r'name="form" value="([^"]+)"', page.text)[0]
            data = {"form": form, "todo": "vote", "choice": value, "note": f"{number}.{position}"}
            for _ in range(1 + (chance.random() < 0.1)):  # a double click
                began = time.monotonic()
                answer = await self.until(client.post, address, data=data)
                self.times.append(time.monotonic() - began)
                answer.raise_for_status() if answer.status_code != 303 else None
            self.acknowledged[number, position] = value

    async def until(self, send, *given, **more) -> httpx2.Response:
        """The server's answer; asked again while it is away."""
        for _ in range(600):
            try:
                return await send(*given, **more)
            except httpx2.TransportError:
                self.resent += "data" in more
                await asyncio.sleep(0.1)
        raise TimeoutError("the server did not come back")

    def compare(self) -> tuple[int, int, int]:
        """How many acknowledged votes the box has lost or changed, how many more it holds, how many twice."""
        with closing(open_box(self.folder / "human/votes.sqlite")) as box:
            kept = {(vote.annotator, vote.item): vote.choice for vote in box.votes()}
            meant = {}
            for number in range(1, self.annotators + 1):
                for one in ballots(box.items, number, box.study.seed):
                    meant[number, one.item.id] = said(one, self.acknowledged[number, one.position])
        with closing(sqlite3.connect(self.folder / "human/votes.sqlite")) as rows:
            (lines,) = rows.execute("SELECT count(*) FROM vote").fetchone()
        lost = [key for key in meant if kept.get(key) != meant[key]]
        return len(lost), len(kept.keys() - meant.keys()), lines - len(kept)


if __name__ == "__main__":
    main()
