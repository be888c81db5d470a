"""The browser's index: it has what is committed and no more, follows a run, and can be thrown away."""

import json
import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from srlm.errors import RunError
from srlm.records import Judgment, Prompt
from srlm.web.browser import index as index_module
from srlm.web.browser.index import Index, open_index
from srlm.web.browser.overview import problems, under_way
from srlm.web.browser.querying import rows_among
from web.browsed import browse, make_run, read_lines, write_state, write_step


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


@pytest.fixture
def index(run):
    opened = open_index(run)
    opened.fill()
    yield opened
    opened.close()


def keys(index: Index, kind: str, model: str = "", word: str = "") -> list[str]:
    """The ids of the index's records of a kind, in order of making."""
    with index.reading() as connection:
        rows = connection.execute("SELECT key, model, word FROM record WHERE kind = ? ORDER BY made", [kind])
        return [row[0] for row in rows if row[1] == (model or row[1]) and row[2] == (word or row[2])]


def ids(folder: Path, step: str) -> list[str]:
    return [line["id"] for line in read_lines(folder, step)]


def scores(index: Index, kind: str, model: str) -> dict[str, float | None]:
    with index.reading() as connection:
        rows = connection.execute("SELECT key, score FROM record WHERE kind = ? AND model = ?", [kind, model])
        return dict(rows.fetchall())


def told(index: Index) -> list[str]:
    with index.reading() as connection:
        return problems(connection, index.unread)


def redo(folder: Path, step: str, records: list, began: str) -> None:
    """Forget a step as a run does, and make it again."""
    (folder / f"{step}.step.json").unlink()
    (folder / f"{step}.jsonl").unlink()
    write_step(folder, step, records, began=began)


def test_it_has_every_record_of_the_run_in_order(run, index):
    for kind in ("prompts", "responses", "pairs"):
        assert keys(index, kind) == ids(run, f"M2/{kind}") + ids(run, f"M3/{kind}")
    assert keys(index, "judgments", "M3", "round") == ids(run, "M3/judgments")
    assert keys(index, "judgments", "M3", "frozen") == ids(run, "M3/watch/frozen")
    assert keys(index, "answers")[:7] == ids(run, "M0/evaluation/answers")
    assert keys(index, "seeds") == ["seed0", "seed1", "seed2"]  # an example of judging is no demonstration
    assert told(index) == []
    assert index.path == run / "human/browser.sqlite"


def test_later_steps_say_their_word_on_earlier_records(run, index):
    said = {line["response_id"]: line["score"] for line in read_lines(run, "M2/judgments")}
    assert scores(index, "responses", "M2") == said
    with index.reading() as connection:
        roles = dict(
            connection.execute("SELECT key, role FROM record WHERE kind = 'responses' AND role > ''")
        )
    pairs = [*read_lines(run, "M2/pairs"), *read_lines(run, "M3/pairs")]
    assert roles == {line["chosen_id"]: "chosen" for line in pairs} | {
        line["rejected_id"]: "rejected" for line in pairs
    }
    groups: dict[str, list[float]] = {}
    for line in read_lines(run, "M2/judgments"):
        groups.setdefault(line["prompt_id"], []).extend([line["score"]] if line["score"] is not None else [])
    means = {key: sum(found) / len(found) if found else None for key, found in groups.items()}
    assert scores(index, "prompts", "M2") == pytest.approx(means)


@pytest.mark.parametrize("judge", ["", "server"])
def test_a_score_of_an_answer_is_the_word_of_m1(tmp_path, judge):
    folder = make_run(tmp_path / "run", judge=judge)
    index = open_index(folder)
    index.fill()
    for name, step in (("M1", "frozen" if judge else "own"), ("M3", "frozen")):
        said = {line["response_id"]: line["score"] for line in read_lines(folder, f"{name}/watch/{step}")}
        assert scores(index, "answers", name) == said
    (folder / "M1/watch/frozen.step.json").unlink(missing_ok=True)
    index.refresh()
    alone = set(scores(index, "answers", "M1").values())
    assert (alone == {None}) == bool(judge)  # another judge's word is not M1's


def test_only_what_is_committed_is_there_and_what_is_new_is_added(run, index):
    step = "M2/responses"
    lines = (run / f"{step}.jsonl").read_bytes().splitlines(keepends=True)
    (run / f"{step}.step.json").unlink()
    for number in (3, 10, 11):
        (run / f"{step}.jsonl").write_bytes(b"".join(lines[:number]) + lines[number][:20])
        write_state(run, step, number, sum(map(len, lines[:number])), done=False, began="again")
        index.refresh()
        assert keys(index, "responses", "M2") == ids_of(lines[:number])
        with index.reading() as connection:
            assert under_way(connection) == [f"{step} ({number} so far)"]
    (run / f"{step}.jsonl").write_bytes(b"".join(lines))
    write_state(run, step, len(lines), sum(map(len, lines)), began="again")
    index.refresh()
    assert keys(index, "responses", "M2") == ids_of(lines)
    said = {line["response_id"]: line["score"] for line in read_lines(run, "M2/judgments")}
    assert scores(index, "responses", "M2") == said  # judgments were there before the responses
    assert told(index) == []


def ids_of(lines: list[bytes]) -> list[str]:
    return [json.loads(line)["id"] for line in lines]


def test_growing_reads_only_what_is_new(run, index, monkeypatch):
    step = "M2/pairs"
    lines = (run / f"{step}.jsonl").read_bytes().splitlines(keepends=True)
    size = sum(map(len, lines[:4]))
    write_state(run, step, 4, size, done=False, began="again")
    index.refresh()
    taken = []
    insert = index_module.tables.insert
    monkeypatch.setattr(
        index_module.tables, "insert", lambda to, source, new: taken.extend(new) or insert(to, source, new)
    )
    write_state(run, step, 6, size + sum(map(len, lines[4:6])), done=False, began="again")
    index.refresh()
    assert [line.number for line in taken] == [5, 6]
    assert keys(index, "pairs", "M2") == ids_of(lines[:6])


@pytest.mark.parametrize(("number", "began"), [(9, "second"), (6, "second"), (4, "second"), (4, "first")])
def test_a_step_under_way_that_was_begun_again_is_read_from_its_beginning(run, index, number, began):
    step = "M2/pairs"
    lines = (run / f"{step}.jsonl").read_bytes().splitlines(keepends=True)
    (run / f"{step}.step.json").unlink()
    index.refresh()
    write_state(run, step, 6, sum(map(len, lines[:6])), done=False)
    index.refresh()
    again = [line.replace(b"over", b"OVER") for line in lines[:number]]
    (run / f"{step}.jsonl").write_bytes(b"".join(again))
    write_state(run, step, number, sum(map(len, again)), done=False, began=began)
    index.refresh()
    assert keys(index, "pairs", "M2") == ids_of(again)


@pytest.mark.parametrize("longer", [True, False])
def test_a_step_made_again_takes_the_place_of_the_old_one(run, index, longer):
    other = make_run(run.parent / "other", 25 if longer else 5, say=lambda what, text: f"new {text}")
    for name in ("prompts", "responses", "judgments", "pairs"):
        (run / f"M3/{name}.step.json").unlink()
        (run / f"M3/{name}.jsonl").unlink()
    index.refresh()
    assert keys(index, "responses", "M3") == []
    for name in ("responses", "judgments"):
        for end in (".jsonl", ".step.json"):
            os.replace(other / f"M3/{name}{end}", run / f"M3/{name}{end}")
    write_state(run, "M3/responses", 0, (run / "M3/responses.jsonl").stat().st_size, began="second")
    index.refresh()
    assert keys(index, "responses", "M3") == ids(run, "M3/responses")
    assert keys(index, "responses", "M2") == ids(run, "M2/responses")
    said = {line["response_id"]: line["score"] for line in read_lines(run, "M3/judgments")}
    assert scores(index, "responses", "M3") == said
    with browse(run, index) as client:
        assert f"{4 * (25 if longer else 5)} found" in client.get("responses?q=new&round=M3").text
        assert "0 found" in client.get("responses?q=new&round=M2").text


def test_judgments_made_again_leave_nothing_of_the_old_ones(run, index):
    fewer = [Judgment.model_validate(line) for line in read_lines(run, "M2/judgments")[:8]]
    redo(run, "M2/judgments", fewer, "second")
    index.refresh()
    said = {item.response_id: item.score for item in fewer}
    assert scores(index, "responses", "M2") == {
        key: said.get(key) for key in scores(index, "responses", "M2")
    }
    assert keys(index, "judgments", "M2", "round") == [item.id for item in fewer]
    own = {line["response_id"]: line["score"] for line in read_lines(run, "M2/watch/frozen")}
    assert scores(index, "answers", "M2") == own  # what others say of this model stays


def test_a_finished_file_that_was_edited_is_read_again(run, index):
    path = run / "M2/prompts.jsonl"
    edited = path.read_text("utf-8").replace("M2p0", "M2q0")
    path.write_text(edited, "utf-8")
    os.utime(path, ns=(1, 1))
    index.refresh()
    assert keys(index, "prompts", "M2")[0] == "M2q0"


def test_a_torn_last_line_costs_only_itself_and_is_named(run, index):
    path = run / "M2/pairs.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[:-30])  # as a copy that was broken off; its state says more
    index.refresh()
    whole = data[:-30].rpartition(b"\n")[0] + b"\n"
    assert keys(index, "pairs", "M2") == ids_of(whole.splitlines())
    assert told(index) == [f"M2/pairs.jsonl: whole lines end at byte {len(whole):,} of {len(data):,}"]
    path.write_bytes(data)
    index.refresh()
    assert told(index) == []
    assert keys(index, "pairs", "M2") == ids(run, "M2/pairs")


def test_lines_of_another_version_cost_only_themselves_and_are_named(run, index):
    path = run / "M2/responses.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"draw"', b'"sample"')
    lines[5] = b'{"id": \xff}\n'
    path.write_bytes(b"".join(lines))
    write_state(run, "M2/responses", len(lines), len(b"".join(lines)), began="second")
    index.refresh()
    there = keys(index, "responses", "M2")
    assert there == ids_of([line for n, line in enumerate(lines) if n not in {2, 5}])
    (said,) = told(index)
    assert said.startswith("M2/responses.jsonl, line 3: no Response: draw: Field required")
    assert said.endswith("and 1 more lines")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"done": true, "bytes": "x"}', "null"])
def test_a_state_that_cannot_be_read_is_named_and_its_records_are_left_out(run, index, text):
    (run / "M2/pairs.step.json").write_text(text)
    index.refresh()
    assert keys(index, "pairs", "M2") == []
    assert len(keys(index, "pairs", "M3")) > 0
    assert told(index) == ["M2/pairs.step.json: it is empty, cut short, or of another version"]
    with index.reading() as connection:
        assert not [row for row in rows_among(connection, "prompt", ["M2p0"]) if row["role"]]


def test_a_file_that_is_not_there_is_named(run, index):
    (run / "M3/prompts.jsonl").unlink()
    index.refresh()
    assert keys(index, "prompts", "M3") == []
    assert told(index) == ["M3/prompts.jsonl: it is not there"]


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError):
        open_index(tmp_path)


def test_a_run_that_has_only_begun_has_an_empty_index(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    index = open_index(tmp_path)
    index.refresh()
    assert keys(index, "responses") == []


def test_what_is_indexed_stays_for_the_next_server(run, index, monkeypatch):
    index.close()
    monkeypatch.setattr(index_module.tables, "insert", lambda *given: pytest.fail("it is read again"))
    again = open_index(run)
    again.fill()
    assert keys(again, "pairs", "M2") == ids(run, "M2/pairs")


@pytest.mark.parametrize("damage", ["version", "no database", "empty", "cut"])
def test_an_index_of_another_version_or_damaged_is_made_anew(run, index, damage):
    index.close()
    path = run / "human/browser.sqlite"
    if damage == "version":
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.execute("DELETE FROM record")
        connection.commit()
        connection.close()
    else:
        data = path.read_bytes()
        path.write_bytes({"no database": b"x" * 9000, "empty": b"", "cut": data[: len(data) // 2]}[damage])
    again = open_index(run)
    with browse(run, again) as client:
        assert client.get("responses").status_code == 200
        assert f"{len(ids(run, 'M2/responses')) * 2} in this run" in client.get("responses").text


def test_an_index_that_is_damaged_while_it_is_served_is_made_anew(run, index):
    with browse(run, index) as client:
        assert client.get("prompts").status_code == 200
        data = bytearray(index.path.read_bytes())
        for start in range(4096, len(data), 4096):
            data[start : start + 400] = os.urandom(400)
        index.path.write_bytes(data)
        for path in ("responses?q=river", "pairs", "diff", ""):
            assert client.get(path).status_code == 200
        assert f"{len(ids(run, 'M2/responses')) * 2} in this run" in client.get("responses").text


@pytest.mark.parametrize("what", ["files", "folder"])
def test_an_index_that_is_thrown_away_while_it_is_served_is_made_anew(run, index, what):
    with browse(run, index) as client:
        assert client.get("prompts").status_code == 200
        if what == "folder":
            shutil.rmtree(run / "human")
        else:
            for path in (run / "human").iterdir():
                path.unlink()
        with ThreadPoolExecutor(4) as pool:
            pages = [pool.submit(client.get, path) for path in ("responses", "", "pairs?q=river", "diff") * 2]
            assert {page.result().status_code for page in pages} == {200}
        assert f"{len(ids(run, 'M2/responses')) * 2} in this run" in client.get("responses").text
    assert index.trouble == ""


def test_where_the_run_cannot_be_written_it_lies_in_a_temporary_folder(run):
    (run / "human").write_text("in the way")
    index = open_index(run)
    index.fill()
    assert run not in index.path.parents
    assert keys(index, "pairs", "M2") == ids(run, "M2/pairs")
    index.close()
    assert not index.path.parent.exists()


def test_a_full_disk_is_told_and_ends_nothing(run, index, monkeypatch):
    def full(*given):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(index_module.tables, "insert", full)
    redo(run, "M2/pairs", [], "second")
    redo(run, "M2/prompts", [Prompt.model_validate(read_lines(run, "M3/prompts")[0])], "second")
    with browse(run, index) as client:
        page = client.get("pairs")
    assert page.status_code == 200
    assert "could not be written (database or disk is full)" in page.text


def test_a_page_reads_no_state_while_nothing_changes(run, index, monkeypatch):
    index.refresh()
    monkeypatch.setattr(index_module, "plan", lambda *given: pytest.fail("states are read"))
    index.refresh()


def test_much_that_is_new_is_read_beside_the_pages(run, monkeypatch):
    monkeypatch.setattr(index_module, "AT_ONCE", 0)
    index = open_index(run)
    with browse(run, index) as client:
        first = client.get("responses")
        assert first.status_code == 200
        assert "is being indexed" in first.text or index.progress is None
        index._thread.join()
        assert index.progress is None
        assert f"{2 * len(ids(run, 'M2/responses'))} in this run" in client.get("responses").text
    index.close()


def test_progress_is_told_and_ends_with_all(run):
    index, told_ = open_index(run), []
    index.fill(lambda done, total: told_.append((done, total)))
    assert told_ == sorted(told_)
    assert told_[-1][0] == told_[-1][1] > 300
    assert index.progress is None


def test_reading_that_was_broken_off_goes_on_where_it_was(run, monkeypatch):
    monkeypatch.setattr(index_module, "BATCH", 7)
    index, reports = open_index(run), []
    index.fill(lambda *report: (reports.append(report), len(reports) == 20 and index._ending.set()))
    part = keys(index, "responses")
    assert 0 < len(part) < 160
    index.close()
    again = open_index(run)
    again.fill()
    assert keys(again, "responses") == ids(run, "M2/responses") + ids(run, "M3/responses")
    said = {line["response_id"]: line["score"] for line in read_lines(run, "M2/judgments")}
    assert scores(again, "responses", "M2") == said


def test_many_threads_and_two_servers_at_once_index_every_record_once(run):
    indexes = [open_index(run), open_index(run)]
    wanted = ids(run, "M2/responses") + ids(run, "M3/responses")

    def look(number: int) -> list[str]:
        index = indexes[number % 2]
        index.refresh()
        with index.reading() as connection:
            rows_among(connection, "key", wanted[:3])
        return keys(index, "responses")

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(look, range(64)):
            assert len(found) == len(set(found))
    for index in indexes:
        index.refresh()
        assert keys(index, "responses") == wanted
        assert index.trouble == ""
        lines = read_lines(run, "M2/responses") + read_lines(run, "M3/responses")
        with browse(run, index) as client:
            number = sum("river" in line["text"] for line in lines)
            assert f"{number} found" in client.get("responses?q=river").text


def test_pages_are_read_by_many_threads_while_the_run_grows(run, index):
    lines = (run / "M2/judgments.jsonl").read_bytes().splitlines(keepends=True)

    def read(number: int) -> int:
        with browse(run, index) as client:
            return client.get(
                ["judgments?sort=variance", "responses?q=Moon", "", "prompt/M2p1"][number % 4]
            ).status_code

    with ThreadPoolExecutor(6) as pool:
        pages = [pool.submit(read, number) for number in range(40)]
        for end in range(0, len(lines), 7):
            write_state(run, "M2/judgments", end, sum(map(len, lines[:end])), done=False, began="again")
        assert {page.result() for page in pages} == {200}
