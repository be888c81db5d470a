import json

import pytest

from srlm.errors import ModelError
from srlm.models import num_parameters
from srlm.planning.shapes import KNOWN, parse_size, shape_of, shape_of_folder


def test_parameters_are_counted_from_headers(tiny):
    # 49,152 x 32 embeddings and as many in the head;
    # a layer: q, o 32x32, k, v 16x32, three of 64x32, two norms of 32.
    layer = 2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32 + 2 * 32
    assert num_parameters(tiny.path) == 2 * 49152 * 32 + 2 * layer + 32


def test_a_folder_says_its_shape(tiny):
    shape = shape_of_folder(tiny.path)
    assert (shape.layers, shape.hidden, shape.kv_heads, shape.head_dim) == (2, 32, 2, 8)
    assert shape.cached == 2 * 2 * 2 * 8
    assert shape_of(str(tiny.path)) == shape


def test_known_models_have_the_weights_that_they_are_published_with():
    """Llama 2 70B: 80 layers of 2 x 8192² + 2 x 8192 x 1024 + 3 x 8192 x 28672 + 2 x 8192 = 855,654,400,

    embeddings and head of 32,000 x 8,192 each, and a last norm of 8,192: 68,976,648,192.
    """
    published = {"llama-2-70b": 68_976_648_192, "llama-3-8b": 8_030_261_248, "smollm2-135m": 134_515_008}
    assert {name: KNOWN[name].parameters for name in published} == published


@pytest.mark.parametrize(
    ("reference", "known"),
    [
        ("meta-llama/Llama-2-70b-hf", "llama-2-70b"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama-3-8b"),
        ("meta-llama/Llama-3.1-405B", "llama-3-405b"),
        ("HuggingFaceTB/SmolLM2-1.7B-Instruct", "smollm2-1.7b"),
    ],
)
def test_a_name_says_its_shape(reference, known):
    assert shape_of(reference) == KNOWN[known]


def test_a_size_takes_a_known_shape_or_one_of_the_same_proportions():
    near = shape_of("whatever", 70_000_000_000)
    assert (near.layers, near.hidden, near.parameters) == (80, 8192, 70_000_000_000)
    derived = shape_of("whatever", 30_000_000_000)
    assert derived.parameters == 30_000_000_000
    assert derived.layers * 13 * derived.hidden**2 == pytest.approx(30e9, rel=0.02)
    assert derived.heads * derived.head_dim == derived.hidden


@pytest.mark.parametrize(("text", "size"), [("70e9", 70e9), ("70B", 70e9), ("135M", 135e6), ("1.5t", 1.5e12)])
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "large", "-7B", "70", "nan", "1e99"])
def test_other_sizes_are_refused(text):
    with pytest.raises(ModelError, match="write for example"):
        parse_size(text)


def test_an_unknown_model_is_refused_with_the_ways_out(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({}))
    for reference in ("nobody/llama-2-700b", "x/smollm2-135", str(tmp_path)):
        with pytest.raises(ModelError, match="--parameters"):
            shape_of(reference)
