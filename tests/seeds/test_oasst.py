import gzip
import json
import sys
import time
from pathlib import Path

import pytest

from srlm.errors import DataError
from srlm.seeds import oasst
from srlm.seeds.oasst import fault_counts, fault_lines, read_trees, walk

REAL = Path(__file__).parents[3] / "shared/data/oasst"
FLAT, NESTED = REAL / "oasst1_en_validation.messages.jsonl.gz", REAL / "en_100_tree.jsonl.gz"
needs_real = pytest.mark.skipif(
    not (FLAT.exists() and NESTED.exists()), reason=f"no Open Assistant in {REAL}"
)


def flat(key, parent=None, **more):
    role = "prompter" if parent is None else "assistant"
    return {
        "message_id": key,
        "parent_id": parent,
        "text": f"text of {key}",
        "role": role,
        "lang": "en",
    } | more


def nested(key, *replies, answer=True, **more):
    return flat(key, role="assistant" if answer else "prompter") | {"replies": list(replies)} | more


def tree(key, *replies, **more):
    return {"message_tree_id": key, "prompt": nested(key, *replies, answer=False, **more)}


def as_bytes(lines):
    return b"".join((x if isinstance(x, bytes) else json.dumps(x).encode()) + b"\n" for x in lines)


def read(tmp_path, *lines, name="a.jsonl"):
    path = tmp_path / name
    path.write_bytes(as_bytes(lines))
    return read_trees(str(path))


def found(forest):
    return [(fault.line, fault.reason) for fault in forest.faults]


def ids(forest):
    return [message.id for root in forest.trees for message in walk(root)]


def test_both_forms_give_the_same_trees(tmp_path):
    labels = {"name": ["quality", "spam"], "value": [0.75, None], "count": [3, 3]}
    rows = [
        flat("r", review_result=True),
        flat("b", "r", rank=1),
        flat("a", "r", rank=0, labels=labels, deleted=False, synthetic=True),
        flat("c", "a", role="prompter"),
    ]
    one = read(tmp_path, *rows, name="odd.trees.jsonl")  # the name says the other form
    deep = nested("c", role="prompter", parent_id="a")
    a = nested(
        "a", deep, rank=0, labels={"quality": {"value": 0.75}, "spam": {"value": None}}, synthetic=True
    )
    other = read(tmp_path, tree("r", nested("b", rank=1), a, review_result=True), name="odd.messages.jsonl")
    assert not one.faults
    assert not other.faults
    for forest in (one, other):
        (root,) = forest.trees
        assert [m.id for m in walk(root)] == ["r", "b", "a", "c"]
        assert (root.parent_id, root.review_result, root.rank, root.lang) == (None, True, None, "en")
        best = root.replies[1]
        assert (best.parent_id, best.rank, best.synthetic, best.deleted) == ("r", 0, True, False)
        assert best.labels == {"quality": 0.75}
        assert best.replies[0].role == "prompter"


def test_parents_may_stand_after_their_replies(tmp_path):
    forest = read(tmp_path, flat("a", "r"), flat("b", "a"), flat("r"))
    assert ids(forest) == ["r", "a", "b"]
    assert not forest.faults


def test_first_good_line_decides_the_form(tmp_path):
    forest = read(tmp_path, b"oops", {"x": 1}, flat("r"), tree("t"))
    assert ids(forest) == ["r"]
    assert [line for line, _ in found(forest)] == [1, 2, 4]
    assert "nested form" in forest.faults[-1].reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"message_id": ', "not JSON"),
        (b'{"message_id": "x\xff"}', "not UTF-8"),
        (b"[1]", "no JSON object"),
        (b'"text"', "no JSON object"),
        (b"null", "no JSON object"),
        (b"9" * 5000, "too long"),
        (b"[" * 100_000, "too deep"),
        ({"text": "x"}, "neither a tree"),
        ({"prompt": "a text"}, "neither a tree"),
        (flat("x", "r", text=True), "text is true or false where text should be"),
        (flat("x", "r", text=3), "text is not text"),
        (flat("x", "r", text=None), "no text"),
        ({k: v for k, v in flat("x", "r").items() if k != "text"}, "no text"),
        (flat("x", "r", text=" \n"), "text is empty"),
        (flat("x", "r", text="half \ud83d"), "half a character"),
        (flat(None, "r"), "no message_id"),
        (flat("", "r"), "message_id is empty"),
        (flat([[1]], "r"), "message_id is not text"),
        (flat("x", 7), "parent_id is not text"),
        (flat("x", "r", role="judge"), "neither prompter nor assistant"),
        (flat("x", "r", lang=1), "lang is not text"),
        (flat("x", "r", deleted="no"), "deleted is neither true nor false"),
        (flat("x", "r", review_result=1), "review_result is neither true nor false"),
        (flat("x", "r", synthetic="x"), "synthetic is neither true nor false"),
        (flat("x", "gone"), oasst.NO_PARENT),
        (flat("x", ""), oasst.NO_PARENT),
        (flat("a", "r"), oasst.TWICE),
        (flat("x", "x"), oasst.IN_A_CIRCLE),
    ],
)
def test_bad_line_is_named_and_the_rest_is_read(tmp_path, line, reason):
    forest = read(tmp_path, flat("r"), flat("a", "r"), line, flat("z", "a"))
    assert ids(forest) == ["r", "a", "z"]
    ((number, said),) = found(forest)
    assert number == 3
    assert reason in said


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"rank": True}, "rank is true or false"),
        ({"rank": -1}, "rank is below 0"),
        ({"rank": "0"}, "rank is no number"),
        ({"rank": 0.5}, "rank is no whole number"),
        ({"rank": float("nan")}, "rank is no number"),
        ({"rank": float("inf")}, "rank is no number"),
        ({"rank": None}, oasst.NO_RANK),
        ({"rank": 0}, oasst.TIED),
        ({"rank": 1, "labels": [1]}, "labels are no object"),
        ({"rank": 1, "labels": {"quality": True}}, "labels are no numbers"),
        ({"rank": 1, "labels": {"quality": {"value": 7}}}, "labels are no numbers"),
        ({"rank": 1, "labels": {"name": [[1]], "value": [0.5]}}, "labels are no numbers"),
    ],
)
def test_bad_rank_or_labels_cost_only_themselves(tmp_path, more, reason):
    forest = read(tmp_path, flat("r"), flat("a", "r", rank=0), flat("x", "r", **more), flat("y", "x"))
    assert ids(forest) == ["r", "a", "x", "y"]
    ((number, said),) = found(forest)
    assert number == (2 if reason == oasst.TIED else 3)
    assert reason in said
    bad = forest.trees[0].replies[1]
    assert bad.labels == {}
    assert bad.rank == {oasst.TIED: 0, oasst.NO_RANK: None}.get(reason, 1 if "labels" in reason else None)


@pytest.mark.parametrize("more", [{"deleted": True}, {"review_result": False}, {"role": "prompter"}])
def test_nobody_ranks_what_was_deleted_or_refused(tmp_path, more):
    assert not read(tmp_path, flat("r"), flat("a", "r", rank=0), flat("x", "r", **more)).faults


def test_large_and_whole_decimal_ranks_are_read(tmp_path):
    forest = read(tmp_path, flat("r"), flat("a", "r", rank=1.0), flat("b", "r", rank=10**400))
    assert [reply.rank for reply in forest.trees[0].replies] == [1, 10**400]
    assert isinstance(forest.trees[0].replies[0].rank, int)
    assert not forest.faults


def test_circle_is_left_out_and_what_hangs_on_it(tmp_path):
    lines = [
        flat("r"),
        flat("a", "c"),
        flat("b", "a"),
        flat("c", "b"),
        flat("d", "c"),
        flat("e", "gone"),
        flat("f", "e"),
    ]
    forest = read(tmp_path, *lines)
    assert ids(forest) == ["r"]
    below, circle = oasst.BELOW_LEFT_OUT, oasst.IN_A_CIRCLE
    assert found(forest) == [
        (2, circle),
        (3, circle),
        (4, circle),
        (5, below),
        (6, oasst.NO_PARENT),
        (7, below),
    ]
    assert "'b'" in str(forest.faults[1])


def test_bad_places_in_a_nested_tree(tmp_path):
    orphan = nested("o", text=None, answer=True)
    bad = nested("t", nested("lost"), text=True)
    nameless = nested(None, nested("lost too"))
    lines = [
        tree("r", bad, nameless, 5, nested("ok", rank=0), nested("s", replies=False), orphan),
        tree("q", nested("ok", nested("below")), nested("w", replies=None)),
        tree("e") | {"prompt": {}},
    ]
    forest = read(tmp_path, *lines)
    assert ids(forest) == ["r", "ok", "s", "q", "w"]
    counts = fault_counts(forest.faults)
    assert counts.pop(oasst.NO_PARENT) == 2
    assert counts == {
        "its text is true or false where text should be": 1,
        "it has no message_id": 2,
        "a reply is no object": 1,
        "its replies are no list": 1,
        "it has no text": 1,
        oasst.TWICE: 1,
        oasst.NO_RANK: 1,
    }


def test_gzip_that_ends_early_keeps_what_was_read(tmp_path):
    lines = [flat("r", text="x" * 1000)] + [flat(f"a{n}", "r", text=str(n**n)) for n in range(200)]
    packed = gzip.compress(as_bytes(lines))
    path = tmp_path / "m.jsonl.gz"
    path.write_bytes(packed[: len(packed) // 2])
    forest = read_trees(str(path))
    assert 10 < len(ids(forest)) < 200
    assert [reason for _, reason in found(forest)] == [oasst.ENDS_EARLY]
    for cut in range(1, 30):  # in the checksum, and just before
        path.write_bytes(packed[:-cut])
        assert [reason for _, reason in found(read_trees(str(path)))] == [oasst.ENDS_EARLY]
    path.write_bytes(packed[:-8])
    assert len(ids(read_trees(str(path)))) == 201


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_array_of_trees_is_read_like_lines(tmp_path, pack):
    path = tmp_path / "trees.json"
    path.write_bytes(pack(json.dumps([tree("r", nested("a")), tree("s")], indent=1).encode()))
    forest = read_trees(str(path))
    assert ids(forest) == ["r", "a", "s"]
    assert not forest.faults


@pytest.mark.parametrize("place", [0.5, -6])
def test_damaged_gzip_keeps_what_was_read(tmp_path, place):
    lines = [flat("r", text="x" * 1000)] + [flat(f"a{n}", "r", text=str(n**n)) for n in range(200)]
    packed = bytearray(gzip.compress(as_bytes(lines)))
    place = int(len(packed) * place) if place > 0 else place
    packed[place : place + 4] = b"\xff\x00\xff\x00"
    path = tmp_path / "m.jsonl.gz"
    path.write_bytes(packed)
    forest = read_trees(str(path))
    assert len(ids(forest)) > 10
    assert oasst.ENDS_EARLY in fault_counts(forest.faults)


def test_gzip_members_padding_and_what_follows(tmp_path):
    path = tmp_path / "m.jsonl.gz"
    one, two = gzip.compress(as_bytes([flat("r")])), gzip.compress(as_bytes([flat("a", "r")]))
    path.write_bytes(one + two + b"\0" * 10)
    whole = read_trees(str(path))
    assert ids(whole) == ["r", "a"]
    assert not whole.faults
    path.write_bytes(one + b"rubbish")
    assert found(read_trees(str(path))) == [(1, oasst.ENDS_EARLY)]
    path.write_bytes(as_bytes([flat("r")]))  # not gzipped, whatever the name says
    assert ids(read_trees(str(path))) == ["r"]


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"\x1f\x8b\x08", b"\x1f", b'{"prompt": {}}', b'{"a": 1}', b"\xff"]
)
def test_nothing_usable_is_an_error_in_three_parts(tmp_path, data):
    path = tmp_path / "m.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_trees(str(path))
    assert str(path) in caught.value.given
    assert "no message tree" in caught.value.why
    assert "Open Assistant export" in caught.value.todo


def test_unreadable_sources(tmp_path):
    for source in (str(tmp_path), str(tmp_path / "gone.jsonl"), "a\0b", "~nobody-here/x"):
        with pytest.raises(DataError, match="cannot be read") as caught:
            read_trees(source)
        assert caught.value.given == source


def test_home_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "m.jsonl").write_bytes(as_bytes([flat("r")]))
    assert ids(read_trees("~/m.jsonl")) == ["r"]


def test_deep_trees_need_no_recursion(tmp_path):
    depth = 20 * sys.getrecursionlimit()
    rows = [flat("0")] + [flat(str(n), str(n - 1)) for n in range(1, depth)]
    forest = read(tmp_path, *reversed(rows))
    assert len(ids(forest)) == depth
    assert forest.trees[0] == forest.trees[0]
    repr(forest)
    # Nested, a deep tree is a line that no JSON reader takes; the next line still counts.
    text = b'{"message_id": "a", "replies": [' * depth + b"]}" * depth
    after = read(tmp_path, b'{"prompt": ' + text + b"}", tree("r"))
    assert ids(after) == ["r"]
    assert "nested too deep" in after.faults[0].reason


def test_long_circle_and_long_answers_are_quick(tmp_path):
    ring = [flat(f"c{n}", f"c{(n + 1) % 20_000}") for n in range(20_000)]
    answers = [flat(f"a{n}", "r", text="word " * 20_000, rank=n) for n in range(100)]
    start = time.process_time()
    forest = read(tmp_path, flat("r"), *ring, *answers)
    assert time.process_time() - start < 10
    assert len(ids(forest)) == 101
    assert fault_counts(forest.faults) == {oasst.IN_A_CIRCLE: 20_000}


def test_faults_in_words_are_bounded(tmp_path):
    forest = read(tmp_path, flat("r"), *[flat(f"x{n}", "gone") for n in range(30)])
    lines = fault_lines(forest.faults)
    assert len(lines) == 21
    assert lines[0].endswith("a.jsonl, line 2: its parent is not there ('x0')")
    assert lines[-1] == "and 10 more"
    named = read(tmp_path, flat("r"), flat("\ud800" + "y" * 10_000, "r")).faults[0]
    assert len(str(named).encode()) < 1000


def test_trees_of_an_earlier_source_are_left_out(tmp_path):
    (tmp_path / "one").write_bytes(as_bytes([tree("a", nested("b")), tree("c")]))
    (tmp_path / "two").write_bytes(as_bytes([flat("d"), flat("e", "d"), flat("c", text="other")]))
    (tmp_path / "three").write_bytes(as_bytes([flat("f"), flat("b", "f")]))
    forest = read_trees(*(str(tmp_path / name) for name in ("one", "two", "three")))
    assert ids(forest) == ["a", "b", "c", "d", "e"]
    assert forest.trees[1].text == "text of c"
    assert forest.shared == ["c", "f"]


@pytest.mark.parametrize(
    ("source", "repository", "filename"),
    [
        ("oasst1", "OpenAssistant/oasst1", "2023-04-12_oasst_ready.trees.jsonl.gz"),
        ("OpenAssistant/oasst1", "OpenAssistant/oasst1", "2023-04-12_oasst_ready.trees.jsonl.gz"),
        ("oasst2", "OpenAssistant/oasst2", "2023-11-05_oasst2_ready.trees.jsonl.gz"),
    ],
)
def test_hub_names(tmp_path, monkeypatch, source, repository, filename):
    hub = pytest.importorskip("huggingface_hub")
    path = tmp_path / "fetched"
    path.write_bytes(gzip.compress(as_bytes([tree("r")])))
    asked = []

    def fetch(**question):
        asked.append(question)
        return str(path)

    monkeypatch.setattr(hub, "hf_hub_download", fetch)
    assert ids(read_trees(source)) == ["r"]
    assert asked == [{"repo_id": repository, "filename": filename, "repo_type": "dataset"}]


@pytest.mark.parametrize("error", [OSError("no route"), ConnectionError(), ValueError("x"), RuntimeError("")])
def test_unreachable_hub(monkeypatch, error):
    hub = pytest.importorskip("huggingface_hub")

    def fetch(**_):
        raise error

    monkeypatch.setattr(hub, "hf_hub_download", fetch)
    with pytest.raises(DataError) as caught:
        read_trees("oasst1")
    assert caught.value.given == "oasst1"
    assert "cannot be fetched" in caught.value.why
    assert "download the file elsewhere and give its path" in caught.value.todo


@needs_real
def test_real_exports():
    with gzip.open(FLAT, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert (len(rows), len({row["message_tree_id"] for row in rows})) == (1358, 127)
    forest = read_trees(str(FLAT))
    # Two of the 127 trees lie there as one refused message each, whose prompts are not in the file.
    assert (len(forest.trees), len(ids(forest))) == (125, 1356)
    assert fault_counts(forest.faults) == {oasst.NO_PARENT: 2}
    labelled = sum(bool(message.labels) for root in forest.trees for message in walk(root))
    assert labelled == sum(bool(row["labels"]) for row in rows) - 2
    other = read_trees(str(NESTED))
    assert (len(other.trees), len(ids(other))) == (70, 791)
    assert fault_counts(other.faults) == {oasst.NO_RANK: 1}
    both = read_trees(str(FLAT), str(NESTED))
    assert len(both.shared) == 3
    assert len(both.trees) == 125 + 70 - 3
    assert len(set(ids(both))) == len(ids(both))
