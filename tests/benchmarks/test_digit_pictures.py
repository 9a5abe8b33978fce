"""The benchmark of digits on pictures: what is drawn is drawn again, and the command keeps what it found."""

import json

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.benchmarks import digit_pictures

DIGIT = cg.datasets.load("digits")[1][0][0]


@pytest.mark.parametrize("kind", digit_pictures.KINDS)
def test_a_kind_is_drawn_by_its_seed_alone(kind):
    first, again, other = (digit_pictures.picture(kind, DIGIT, 0, index) for index in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.uint8
    assert first.min() < first.max()
    assert first.shape != other.shape or (first != other).any() or kind in {"small", "large"}


def test_the_command(tmp_path, monkeypatch, capsys):
    for kind in list(digit_pictures.KINDS)[2:]:
        monkeypatch.delitem(digit_pictures.KINDS, kind)
    layers = [cg.layers.Flatten(input_shape=(64,)), cg.layers.Dense(10, "softmax")]
    cg.Sequential(layers, seed=0).save(tmp_path / "model.safetensors")
    out = tmp_path / "out.json"
    arguments = [str(tmp_path / "model.safetensors"), "--images", "3", "--out", str(out)]
    assert digit_pictures.main(arguments) == 0
    assert json.loads(out.read_text())["accuracy"].keys() == {"the data set", "plain", "inverted"}
    assert capsys.readouterr().out.count("%") == 3
    assert digit_pictures.main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
