"""A study's votes as files that others can read: each vote, what they say, and grades as seed data."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from srlm.people.figures import study_figures
from srlm.people.ranked import ranked_lines
from srlm.people.study import HELD_OUT
from srlm.people.votes import BallotBox
from srlm.store.files import write_atomically


def export_study(folder: Path, box: BallotBox) -> tuple[list[Path], dict[str, Any], Counter[str]]:
    """The files written beside the votes, the figures, and which grades are no seed data and why.

    ``STUDY.votes.jsonl``, a line a vote; ``STUDY.figures.json``; where people gave grades
    ``STUDY.ranked.jsonl``, ranked answers as `srlm seed check` and `data.ranked` take them.
    """
    figures, left_out = study_figures(folder, box), Counter[str]()
    text = json.dumps(figures, indent=1, ensure_ascii=False)
    files = {"votes.jsonl": _lines(_votes(box)), "figures.json": text + "\n"}
    if box.study.kind == "rating":
        held_out = box.study.prompts == HELD_OUT
        ranked, left_out = ranked_lines(box.items, box.votes(), held_out=held_out)
        files["ranked.jsonl"] = _lines(line.model_dump_json(exclude_none=True) for line in ranked)
    paths = []
    for name, content in files.items():
        paths.append(box.path.with_name(f"{box.path.stem}.{name}"))
        write_atomically(paths[-1], content)
    return paths, figures, left_out


def _votes(box: BallotBox) -> Iterator[str]:
    """Every vote with the answers that it is about; `choice` is by their order here, not by sides."""
    items = {item.id: item for item in box.items}
    for vote in box.votes():
        item = items[vote.item]
        line = {
            "annotator": vote.annotator,
            "choice": vote.choice,
            "reasons": vote.reasons,
            "note": vote.note,
        }
        line |= {"at": vote.at, "check": item.check, "prompt_id": item.prompt_id, "prompt": item.prompt}
        line["answers"] = [{"model": one.model, "id": one.id, "text": one.text} for one in item.answers]
        yield json.dumps(line, ensure_ascii=False)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
