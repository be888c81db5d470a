"""Data files by path or by their place on the hub; the client is replaced, for there is no hub here."""

from pathlib import Path

import huggingface_hub
import pytest

from srlm.errors import DataError
from srlm.seeds.hub import data_file


def test_a_path_is_taken_as_it_is():
    assert data_file("some/where.jsonl") == Path("some/where.jsonl")
    assert data_file("datasets/owner/name/file.json") == Path("datasets/owner/name/file.json")


def test_a_place_on_the_hub_is_fetched(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda **question: asked.append(question) or tmp_path / "file"
    )
    assert data_file("hf://datasets/some-owner/a_name/folder/file.json.gz") == tmp_path / "file"
    assert asked == [
        {"repo_id": "some-owner/a_name", "filename": "folder/file.json.gz", "repo_type": "dataset"}
    ]


def test_a_place_that_cannot_be_had_names_the_way_out(monkeypatch):
    def fetch(**_):
        raise OSError("no route")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    with pytest.raises(DataError) as caught:
        data_file("hf://datasets/owner/name/file.json")
    assert caught.value.given == "hf://datasets/owner/name/file.json"
    assert "https://huggingface.co/datasets/owner/name" in caught.value.todo
