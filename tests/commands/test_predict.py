"""`chalkgrad predict`: digits on images of every kind."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import chalkgrad as cg
from chalkgrad.benchmarks.digit_pictures import accuracies
from chalkgrad.commands.run_folder import model_path
from chalkgrad.datasets.images import fit_square, read_image
from chalkgrad.hints import install_command


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder with a model of digits."""
    from click.testing import CliRunner

    from chalkgrad.cli import cli

    path = tmp_path_factory.mktemp("runs") / "digits"
    assert CliRunner().invoke(cli, ["train", "--verbose", "0", "--out", str(path)]).exit_code == 0
    return path


@pytest.fixture(scope="module")
def model(run):
    return cg.Sequential.load(run / "model.safetensors")


@pytest.fixture(scope="module")
def digits():
    """A hundred test digits and their labels."""
    _, (images, labels) = cg.datasets.load("digits")
    return images[:100], labels[:100]


def resized(pixels, factor=10, filtering=Image.Resampling.NEAREST):
    image = Image.fromarray(pixels)
    return image.resize((image.width * factor, image.height * factor), filtering)


def on_transparent(ink, grey):
    layers = np.full((*ink.shape, 4), grey, np.uint8)
    layers[..., 3] = ink
    return Image.fromarray(layers)


RENDERINGS = {
    "as it is": (Image.fromarray, 0.0),
    "inverted": (lambda x: Image.fromarray(255 - x), 0.0),
    "ten times larger": (resized, 0.02),
    "larger, inverted": (lambda x: resized(255 - x), 0.02),
    "larger, smooth": (lambda x: resized(255 - x, 10, Image.Resampling.BICUBIC), 0.02),
    "aside, on a grey ground": (
        lambda x: resized(np.pad(200 - (x * 0.7).astype(np.uint8), ((3, 20), (12, 2)), constant_values=200), 7),
        0.02,
    ),
    "RGB": (lambda x: resized(255 - x).convert("RGB"), 0.02),
    "black on transparent": (lambda x: on_transparent(np.asarray(resized(x)), 0), 0.02),
    "white on transparent": (lambda x: on_transparent(np.asarray(resized(x)), 255), 0.02),
    "16 bits": (lambda x: Image.fromarray(np.asarray(resized(x)).astype(np.uint16) * 257), 0.02),
    "palette": (lambda x: resized(x).convert("P"), 0.02),
    "1 bit": (lambda x: resized(x, 32, Image.Resampling.BICUBIC).convert("1"), 0.06),  # dithered
}


@pytest.mark.parametrize("name", RENDERINGS)
def test_images_of_test_digits_are_read_as_the_digits_are(name, model, digits, folder):
    render, loss = RENDERINGS[name]
    images, labels = digits
    inputs = []
    for image in images:
        render(image).save("digit.png")
        inputs.append(read_image("digit.png", 8).ravel())
    expected = (model.predict(images.reshape(100, 64).astype("float32") / 255).argmax(axis=1) == labels).mean()
    found = (model.predict(np.array(inputs)).argmax(axis=1) == labels).mean()
    assert found >= expected - loss - 1e-9


def test_what_it_prints(chalkgrad, run, model, digits):
    images, _ = digits
    names = []
    for i in range(3):
        names.append(f"{'long' * i}{i}.png")
        Image.fromarray(images[i]).save(names[-1])
    output = chalkgrad("predict", run, *names).stdout
    assert output == chalkgrad("predict", run / "model.safetensors", *names).stdout
    header, *rows = output.splitlines()
    assert header.split() == ["image", "digit", "probability", "runner-up"]
    for name, row, p in zip(names, rows, model.predict(images[:3].reshape(3, 64).astype("float32") / 255), strict=True):
        second, first = np.argsort(p)[-2:]
        assert re.split(r"\s{2,}", row) == [name, str(first), f"{p[first]:.1%}", f"{second} ({p[second]:.1%})"]
    assert len({len(row.split("%")[0]) for row in rows}) == 1  # in columns


def test_mnist_s_convention():
    """A box of 20 × 20 in 28 × 28, the centre of mass in the middle, wherever and however large it was drawn."""
    drawing = np.zeros((300, 500), np.float32)
    drawing[40:240, 300:340] = 1
    drawing[200:240, 240:340] = 1  # a mirrored L
    square = fit_square(drawing, 28)
    rows, columns = np.flatnonzero(square.any(axis=1)), np.flatnonzero(square.any(axis=0))
    assert rows[-1] - rows[0] + 1 in (20, 21)
    assert columns[-1] - columns[0] + 1 in (10, 11)
    places = np.arange(28) + 0.5
    assert (square.sum(axis=1) * places).sum() / square.sum() == pytest.approx(14.5, abs=0.05)
    assert (square.sum(axis=0) * places).sum() / square.sum() == pytest.approx(14.5, abs=0.05)
    assert square.sum() == pytest.approx(drawing.sum() / 100, rel=1e-3)  # every pixel is a mean


@pytest.mark.parametrize("shape", [(1, 90), (90, 1), (3, 3), (700, 500)])
@pytest.mark.parametrize("side", [8, 28])
def test_any_shape_stays_inside(shape, side):
    square = fit_square(np.pad(np.ones(shape, np.float32), 5), side)
    assert square.shape == (side, side)
    assert square.dtype == np.float32
    assert 0 <= square.min() < square.max() <= 1


def test_images_that_are_none(chalkgrad, run, digits):
    resized(digits[0][0]).save("good.png")
    data = Path("good.png").read_bytes()
    files = {
        "text.png": b"no image at all",
        "empty.png": b"",
        "cut.png": data[: len(data) // 2],
        "damaged.png": data[:60] + bytes(reversed(data[60:100])) + data[100:],
    }
    for name, contents in files.items():
        Path(name).write_bytes(contents)
    Image.new("L", (50, 50), 90).save("blank.png")
    result = chalkgrad("predict", run, *files, "blank.png", "nowhere.png", ".", "good.png", code=1)
    errors = result.stderr.splitlines()
    assert len(errors) == len(files) + 3
    for name, error in zip([*files, "blank.png", "nowhere.png", "."], errors, strict=True):
        assert error.startswith((f"error: {name} ", f"error: cannot read {name}: "))
    assert result.stdout.splitlines()[1].split()[0] == "good.png"  # the others do not keep it from being read


def test_digits_in_frames_are_read_as_those_without(model, digits, folder):
    """A short form of the benchmark's."""
    images, labels = digits
    kinds = ["plain", "frame, wide", "frame, grey", "box, thin", "frame, touched", "ruled paper, dark", "shadow"]
    found = accuracies(model, images[:12], labels[:12], 0, kinds)
    assert min(found.values()) >= 11 / 12, found


def test_without_pillow(chalkgrad, run, absent):
    absent("PIL")
    error = chalkgrad("predict", run, "a.png", "b.png", code=1).stderr
    assert error == f"error: reading images needs pillow, which is not installed: {install_command('plot')}\n"


def test_without_scipy(chalkgrad, run, digits, absent):
    resized(digits[0][0]).save("digit.png")
    absent("scipy")
    error = chalkgrad("predict", run, "digit.png", code=1).stderr
    assert (
        error == f"error: finding a digit on a picture needs scipy, which is not installed: {install_command('plot')}\n"
    )


def test_runs_that_are_none(chalkgrad, folder):
    (folder / "empty").mkdir()
    (folder / "text.safetensors").write_text("none")
    for name, message in (
        ("nowhere", "nowhere does not exist"),
        ("empty", "the folder empty holds no model.safetensors"),
        ("text.safetensors", "text.safetensors is no model file"),
    ):
        assert chalkgrad("predict", name, "x.png", code=1).stderr.startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("shape", "last", "message"),
    [
        ((63,), "softmax", "no square images"),
        ((4, 16), "softmax", "no square images"),
        ((1,), "softmax", "no square images"),
        ((64,), None, "no probabilities"),
        ((64,), "sigmoid", "no probabilities"),
    ],
)
def test_models_of_something_else(chalkgrad, shape, last, message):
    layers = [cg.layers.Flatten(input_shape=shape), cg.layers.Dense(10, last)]
    cg.Sequential(layers).save("other.safetensors")
    assert message in chalkgrad("predict", "other.safetensors", "x.png", code=1).stderr


@pytest.mark.parametrize("shape", [(64,), (8, 8), (8, 8, 1)])
def test_models_of_square_images(chalkgrad, shape, digits):
    layers = [cg.layers.Flatten(input_shape=shape), cg.layers.Dense(10, "softmax")]
    cg.Sequential(layers).save("square.safetensors")
    Image.fromarray(digits[0][0]).save("digit.png")
    assert "digit.png" in chalkgrad("predict", "square.safetensors", "digit.png").stdout


def test_model_path_takes_folder_and_file(run):
    assert model_path(str(run)) == model_path(str(run / "model.safetensors")) == run / "model.safetensors"


@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (2, 3)])
def test_pictures_of_a_line(folder, shape):
    pixels = np.full(shape, 255, np.uint8)
    pixels.ravel()[pixels.size // 3 : pixels.size // 2] = 0
    Image.fromarray(pixels).save("line.png")
    assert read_image("line.png", 28).shape == (28, 28)
