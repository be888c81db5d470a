"""The tables of the browser's index, and how records come into them.

A row says where its record lies (file, byte, bytes) and what records are filtered and sorted by; texts stay
in the record files, of which ``search_*`` know the words alone. What a later step says of an earlier one's
record is written into that record's row: the judge's score into the response's, chosen or rejected too.
"""

import json
import re
import sqlite3
from collections.abc import Sequence
from typing import Any

from srlm.records import Example, Judgment, Pair, Prompt, Record, Response
from srlm.web.browser.filling import Extent, Known, Line, Source, Work

VERSION = 1
"""Of the tables and of what stands in them; an index of another one is made anew."""

SEARCHED = ("prompts", "responses", "judgments", "pairs", "answers")
"""The kinds whose words are searched; the prompts are all that anything belongs to, held-out ones too."""

_SCHEMA = """
CREATE TABLE step (
  name TEXT PRIMARY KEY, kind TEXT NOT NULL, model TEXT NOT NULL, file TEXT NOT NULL, began TEXT NOT NULL,
  bytes INTEGER NOT NULL, records INTEGER NOT NULL, digest TEXT NOT NULL, stamp TEXT NOT NULL,
  line INTEGER NOT NULL, lacking TEXT NOT NULL);
CREATE TABLE fault (step TEXT NOT NULL, line INTEGER NOT NULL, why TEXT NOT NULL);
CREATE TABLE prompt (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);
CREATE TABLE record (
  id INTEGER PRIMARY KEY AUTOINCREMENT, step TEXT NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL,
  word TEXT NOT NULL, made INTEGER NOT NULL, line INTEGER NOT NULL, offset INTEGER NOT NULL,
  size INTEGER NOT NULL, key TEXT NOT NULL, prompt TEXT NOT NULL, subject TEXT, other TEXT, draw INTEGER,
  length INTEGER NOT NULL, score REAL, own REAL, variance REAL, gap REAL, flagged INTEGER, reasons TEXT,
  role TEXT);
CREATE INDEX record_made ON record (kind, made);
CREATE INDEX record_key ON record (key, kind);
CREATE INDEX record_prompt ON record (prompt, kind);
CREATE INDEX record_subject ON record (subject, kind) WHERE subject IS NOT NULL;
CREATE INDEX record_model ON record (model, kind, word, score, length);
CREATE INDEX record_reasons ON record (kind, reasons) WHERE reasons IS NOT NULL;
""" + "".join(
    f"CREATE VIRTUAL TABLE search_{kind} USING fts5(words, content='', columnsize=0, "
    "tokenize='unicode61 remove_diacritics 2');\n"
    for kind in SEARCHED
)
_COLUMNS = (
    *("id", "step", "kind", "model", "word", "made", "line", "offset", "size", "key", "prompt", "subject"),
    *("other", "draw", "length", "score", "variance", "gap", "flagged", "reasons"),
)
_INSERT = f"INSERT INTO record ({', '.join(_COLUMNS)}) VALUES (:{', :'.join(_COLUMNS)})"  # noqa: S608
_WORDS = {kind: f"INSERT INTO search_{kind} (rowid, words) VALUES (?, ?)" for kind in SEARCHED}  # noqa: S608

_SAID = "score = said.score, variance = said.variance, flagged = said.flagged, reasons = said.reasons"
_OF = "FROM record AS said WHERE said.id >= :first AND +said.model = :model AND +record.model = :model AND"
"""The pluses keep SQLite from the index of models: it is to go through new rows and find others by key."""
_LINKS = (
    f"UPDATE record SET {_SAID} {_OF} said.kind = 'judgments' AND said.word = 'round' "  # noqa: S608
    "AND record.kind = 'responses' AND record.key = said.subject",
    "UPDATE record SET own = said.score, variance = said.variance, flagged = said.flagged, "  # noqa: S608
    f"reasons = said.reasons, score = iif(:is_frozen, said.score, record.score) {_OF} "
    "said.kind = 'judgments' AND said.word = 'own' AND record.kind = 'answers' AND record.key = said.subject",
    f"UPDATE record SET {_SAID} {_OF} said.kind = 'judgments' AND said.word = 'frozen' "  # noqa: S608
    "AND record.kind = 'answers' AND record.key = said.subject",
    f"UPDATE record SET role = 'chosen' {_OF} said.kind = 'pairs' "  # noqa: S608
    "AND record.kind = 'responses' AND record.key = said.subject",
    f"UPDATE record SET role = 'rejected' {_OF} said.kind = 'pairs' "  # noqa: S608
    "AND record.kind = 'responses' AND record.key = said.other",
    "UPDATE record SET score = (SELECT avg(score) FROM record AS mine WHERE mine.prompt = record.key "
    "AND mine.kind = 'responses' AND +mine.model = :model) WHERE kind = 'prompts' AND model = :model AND key "
    "IN (SELECT prompt FROM record WHERE id >= :first AND +kind = 'judgments' AND +model = :model)",
)
"""What judgments say of responses and answers, pairs of responses, those of prompts; from a row's id on."""

_UNSPACED = re.compile("([\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")
"""Letters of scripts that put no space between words."""


def make_tables(connection: sqlite3.Connection) -> None:
    """The tables of this version, in an empty database."""
    for statement in filter(str.strip, _SCHEMA.split(";\n")):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def known_steps(connection: sqlite3.Connection) -> dict[str, Known]:
    """What the index has of every step, by its name."""
    rows = connection.execute("SELECT name, began, bytes, records, digest, stamp, line FROM step")
    return {row[0]: Known(Extent(*row[1:5]), tuple(json.loads(row[5])), row[6]) for row in rows}


def forget_step(connection: sqlite3.Connection, name: str) -> None:
    """Remove a step, and what judgments and pairs said of its model's records: to be linked again from row 0.

    Its words stay behind and lead nowhere.
    """
    row = connection.execute("SELECT model FROM step WHERE name = ?", [name]).fetchone()
    for table, column in (("record", "step"), ("fault", "step"), ("step", "name")):
        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", [name])  # noqa: S608
    if row:
        connection.execute(
            "UPDATE record SET score = NULL, own = NULL, variance = NULL, flagged = NULL, reasons = NULL, "
            "role = NULL WHERE model = ? AND kind IN ('responses', 'answers', 'prompts')",
            row,
        )


def insert(connection: sqlite3.Connection, source: Source, lines: Sequence[Line]) -> None:
    """Put lines of a record file into the tables; those that hold no record are named as faults."""
    faults = [(source.step, line.number, line.why) for line in lines if not line.record]
    connection.executemany("INSERT INTO fault VALUES (?, ?, ?)", faults)
    found = [(line, line.record) for line in lines if line.record and not _is_eft(line.record)]
    common: dict[str, Any] = dict.fromkeys(_COLUMNS)
    common |= {"step": source.step, "kind": source.form.kind, "model": source.model, "word": source.form.word}
    rows, words, prompts, made = [], [], {}, source.made
    for number, (line, record) in enumerate(found, next_id(connection)):
        where = {"made": made + line.number, "line": line.number, "offset": line.offset, "size": line.size}
        rows.append(common | where | {"id": number, "key": record.id} | _own_columns(record))
        words.append((number, _spaced(_text(record))))
        prompts.update(_prompt(record))
    connection.executemany(_INSERT, rows)
    if source.form.kind in {"responses", "judgments", "pairs", "answers"}:
        connection.executemany(_WORDS[source.form.kind], words)
    _insert_prompts(connection, prompts)


def keep_step(connection: sqlite3.Connection, work: Work, end: int, line: int, lacking: str) -> None:
    """Note how far a step was read: to which byte, which line, and what its file lacks."""
    source, extent = work.source, work.extent
    values = [source.step, source.form.kind, source.model, source.file, extent.began, end, extent.records]
    values += [extent.digest, json.dumps(work.stamp), line, lacking]
    connection.execute(f"INSERT OR REPLACE INTO step VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608


def next_id(connection: sqlite3.Connection) -> int:
    """The id of the next row, which no row ever had: search_* may know the words of one that is gone."""
    (number,) = connection.execute("SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence").fetchone()
    return int(number)


def link(connection: sqlite3.Connection, model: str, first: int, *, is_frozen: bool = False) -> None:
    """Write what rows from `first` on say of others' into those; `is_frozen`: its own judge is M1."""
    for statement in _LINKS:
        connection.execute(statement, {"model": model, "first": first, "is_frozen": is_frozen})


def phrases(query: str) -> list[str]:
    """The words and "quoted phrases" of a query; what has neither a letter nor a digit is left out."""
    found = (quoted or word for quoted, word in re.findall(r'"([^"]*)"?|([^\s"]+)', query))
    cleaned = (" ".join(item.replace("\0", " ").split()) for item in found)
    return [item for item in cleaned if any(letter.isalnum() for letter in item)]


def matching(query: str) -> str:
    """A query as FTS5 takes it: every word and phrase has to be there. It holds quoted strings alone."""
    return " ".join(f'"{_spaced(item)}"' for item in phrases(query))


def _is_eft(record: Record) -> bool:
    """Whether an example teaches judging: it is no demonstration of a prompt."""
    return isinstance(record, Example) and record.kind == "eft"


def _insert_prompts(connection: sqlite3.Connection, prompts: dict[str, str]) -> None:
    """Make the words of prompts known, of each prompt once."""
    for key, text in prompts.items():
        done = connection.execute("INSERT OR IGNORE INTO prompt (key) VALUES (?)", [key])
        if done.rowcount:
            connection.execute(_WORDS["prompts"], [done.lastrowid, _spaced(text)])


def _own_columns(record: Record) -> dict[str, Any]:
    """What a kind of record has of its own; `length` in characters, of a pair that of its chosen."""
    match record:
        case Response():
            return {"prompt": record.prompt_id, "length": len(record.text), "draw": record.draw}
        case Judgment():
            reasons = sorted({reason for reason in record.reasons if reason})
            return {
                "prompt": record.prompt_id,
                "subject": record.response_id,
                "length": sum(map(len, record.replies)),
                "score": record.score,
                "variance": record.variance,
                "flagged": record.flagged,
                "reasons": "\n".join(["", *reasons, ""]) if reasons else None,
            }
        case Pair():
            return {
                "prompt": record.prompt_id,
                "subject": record.chosen_id,
                "other": record.rejected_id,
                "length": len(record.chosen),
                "score": record.chosen_score,
                "gap": record.chosen_score - record.rejected_score,
            }
    return {"prompt": record.id, "length": len(_text(record))}


def _text(record: Record) -> str:
    """What is searched of a record."""
    match record:
        case Judgment():
            return "\n".join(record.replies)
        case Pair():
            return f"{record.chosen}\n{record.rejected}"
        case Prompt() | Response():
            return record.text
        case Example():
            return record.prompt
    return ""


def _prompt(record: Record) -> dict[str, str]:
    """The prompt of a record by its id, where the record holds its text."""
    match record:
        case Prompt():
            return {record.id: record.text}
        case Response() | Pair():
            return {record.prompt_id: record.prompt}
    return {}


def _spaced(text: str) -> str:
    """A text as it is searched: each letter of a script without spaces is a word."""
    return _UNSPACED.sub(r" \1 ", text.encode("utf-8", "replace").decode())
