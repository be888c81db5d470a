import gzip
import json
import zlib
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from srlm.errors import DataError
from srlm.seeds.source import (
    DAMAGED,
    ENDS_EARLY,
    NOT_JSON,
    NOT_UTF8,
    TOO_DEEP,
    TOO_LONG,
    Bad,
    Fault,
    Source,
    as_object,
    kind_of,
    listed,
    numbered,
    parsed,
    reason_of,
    shown,
)

LINES = [{"n": n, "text": str(n**n)} for n in range(100)]


def source(data):
    return Source(Path("any"), data)


def values(data):
    return [(number, value.reason if isinstance(value, Bad) else value) for number, value in source(data)]


def as_lines(items):
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        (b"{", NOT_JSON, "Expecting property name enclosed in double quotes at column 2"),
        (b'"\xff"', NOT_UTF8, "invalid start byte"),
        (b"[" * 100_000, TOO_DEEP, ""),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, TOO_DEEP, ""),
        (b"9" * 5000, TOO_LONG, ""),
    ],
)
def test_a_line_without_a_value_says_why(text, reason, detail):
    bad = parsed(text)
    assert isinstance(bad, Bad)
    assert (bad.reason, bad.detail) == (reason, detail)


def test_a_mark_of_byte_order_is_no_part_of_a_line():
    assert parsed(b"\xef\xbb\xbf[1]") == [1]
    assert values(b"\xef\xbb\xbf[1, 2]") == [(1, 1), (2, 2)]
    assert values(b'\xef\xbb\xbf{"a": 1}\n\xef\xbb\xbf{"a": 2}') == [(1, {"a": 1}), (2, {"a": 2})]


def test_lines_are_numbered_with_the_empty_ones():
    assert list(numbered([b"a\n", b" \r\n", b"", b"b"])) == [(1, b"a\n"), (4, b"b")]
    assert values(b"1\r\n\r\n\n2\n3") == [(1, 1), (4, 2), (5, 3)]


def test_a_source_can_be_read_again():
    one = source(b"1\n{\n2")
    assert [number for number, _ in one] == [number for number, _ in one] == [1, 2, 3]


def test_too_long_a_number_in_an_array():
    got = values(b'[{"a": 1}, ' + b"9" * 5000 + b", 2]")
    assert got == [(1, {"a": 1}), (2, TOO_LONG)]


# --- gzip ---


def test_members_follow_each_other_and_zeros_may_pad_the_last():
    members = b"".join(gzip.compress(as_lines([line])) for line in LINES)
    whole = list(enumerate(LINES, 1))
    assert values(members) == whole
    assert values(members + bytes(512)) == whole
    assert values(members + bytes(100_000)) == whole
    assert values(members + b"rest") == [*whole, (100, DAMAGED)]
    assert values(members + b"\0\0rest") == [*whole, (100, DAMAGED)]
    assert values(members + b"\x1f") == [*whole, (100, ENDS_EARLY)], "the first byte of one more member"


def test_a_cut_file_gives_all_lines_before_the_cut_and_one_fault():
    packed = gzip.compress(as_lines(LINES))
    usable = set()
    for end in range(2, len(packed)):
        *before, (number, reason) = values(packed[:end])
        assert before == list(enumerate(LINES, 1))[: len(before)]
        assert reason == ENDS_EARLY
        assert number in (max(len(before), 1), len(before) + 1), "the last line, or the one that is torn"
        usable.add(len(before))
    assert len(usable) > 50


@pytest.mark.parametrize("num", [1, 5, 100])
def test_what_a_damaged_file_gives_before_the_damage_is_kept_to_the_last_byte(num):
    pack = zlib.compressobj(wbits=31)
    packed = pack.compress(as_lines(LINES[:num])) + pack.flush(zlib.Z_FULL_FLUSH)
    unknown_kind_of_block = b"\x07" + b"x" * 50
    assert values(packed + unknown_kind_of_block) == [*enumerate(LINES[:num], 1), (num, DAMAGED)]


def test_a_wrong_checksum_costs_no_line():
    packed = bytearray(gzip.compress(as_lines(LINES)))
    packed[-6] ^= 0xFF
    assert values(bytes(packed)) == [*enumerate(LINES, 1), (100, DAMAGED)]


def test_nothing_but_the_beginning_of_a_gzip():
    assert values(b"\x1f\x8b") == [(1, ENDS_EARLY)]
    assert values(b"\x1f\x8b" + b"x" * 50) == [(1, DAMAGED)]


# --- Opening ---


def test_the_words_of_an_unreadable_file(tmp_path, monkeypatch):
    for path in (tmp_path, tmp_path / "gone", Path("a\0b"), Path("~nobody-here/x")):
        with pytest.raises(DataError, match="it cannot be read") as caught:
            Source.read(path, "what was given", "what to do")
        assert (caught.value.given, caught.value.todo) == ("what was given", "what to do")
    (tmp_path / "a").write_bytes(b"1")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list(Source.read(Path("~/a"), "", "")) == [(1, 1)]


def test_an_empty_file_can_be_read_but_not_opened(tmp_path):
    path = tmp_path / "a\x1b.jsonl"
    path.write_bytes(b"\n")
    assert list(Source.read(path, "", "")) == []
    with pytest.raises(DataError, match="holds no lines") as caught:
        Source.open(path)
    assert caught.value.given.isprintable()


# --- Words ---


def test_only_objects_are_objects():
    assert as_object({"a": 1}) == {"a": 1}
    for value, kind in ((True, "true or false"), (1.5, "a number"), ("x", "text"), ([], "a list")):
        assert kind_of(value) == kind
        with pytest.raises(Bad) as caught:
            as_object(value)
        assert str(caught.value) == f"not a JSON object ({kind})"
    with pytest.raises(Bad, match="null"):
        as_object(None)
    with pytest.raises(Bad, match="not JSON"):
        as_object(Bad("not JSON"))


def test_reasons_are_printable_and_short():
    for said in (Bad("a\x1b[2J", "b\n\ud800"), Fault(1, "a\x1b[2J", "b\n\ud800"), Bad("a" * 1000)):
        assert str(said).isprintable()
        assert len(str(said)) <= 500
    assert str(Fault(3, "why")) == "why"
    assert shown("a\nb" * 100, 5) == "a\\nba…"
    assert listed(["a", "b\n", "c"], 2) == "`a`, `b\\n` and 1 more"
    assert listed([]) == "nothing"


def test_what_pydantic_says_comes_with_its_place():
    class Thing(BaseModel):
        model_config = ConfigDict(extra="forbid")
        items: tuple[int, ...] = ()

        @model_validator(mode="after")
        def _is_not_empty(self):
            if not self.items:
                raise ValueError("there are no items")
            return self

    for value, reason in (
        ({"items": [1, "x"], "itms": 1}, "items.1: Input should be a valid integer"),
        ({"items": [1], "itms": 1}, "itms: Extra inputs are not permitted"),
        ({}, "there are no items"),
    ):
        with pytest.raises(ValidationError) as caught:
            Thing.model_validate(value)
        assert reason_of(caught.value).startswith(reason)
