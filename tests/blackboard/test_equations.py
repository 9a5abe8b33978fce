"""Every equation that is shown of a net is true of it: read as it stands there, it gives the engine's numbers."""

import math
import re
from functools import cache, partial, reduce

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.blackboard.board import board_of
from chalkgrad.blackboard.documented import NAMES
from chalkgrad.blackboard.explain import explain
from chalkgrad.blackboard.explanation import Return, Step
from chalkgrad.blackboard.matching import documented_in
from chalkgrad.blackboard.scenes import Formula
from chalkgrad.blackboard.story import story, what_of
from chalkgrad.blackboard.texts import text
from chalkgrad.blackboard.worked import convolution_example, worked_example
from chalkgrad.equation.styles import STYLES, Style
from chalkgrad.equation.symbols import gradient_of, is_numeral, symbol_of

SPACE = set("iabr")
"""Indices that run over all axes of space, where there is one for several."""


class Code(Style):
    """Writes equations as Python code, for `Reader`."""

    name, stacks = "code", True

    def symbol(self, symbol, indices=(), layer=""):
        if is_numeral(symbol):
            return symbol.base.replace("−", "-")
        return f"at({', '.join([repr(str(symbol)), *indices])})"

    def number(self, text, at=""):
        return text.replace("−", "-").replace("∞", "inf")

    def operator(self, sign):
        return {
            "·": "*",
            "−": "-",
            "=": "==",
            "←": "==",
            "≤": "<=",
            "≥": ">=",
            "≠": "!=",
            "∧": " and ",
            "∨": " or ",
        }.get(sign, sign)

    def enclosed(self, inner, left="(", right=")"):
        return {"(": f"({inner})", "|": f"abs({inner})", "⌊": f"floor({inner})"}[left]

    def fraction(self, top, bottom):
        return f"(({top}) / ({bottom}))"

    def power(self, base, exponent):
        return f"({base})**({exponent})"

    def root(self, inner):
        return f"sqrt({inner})"

    def call(self, name, arguments):
        return f"call({name!r}, {', '.join(arguments)})"

    def over(self, name, indices, body):
        return f"over({name!r}, {list(indices)!r}, lambda: {body})"

    def cases(self, cases, otherwise):
        for value, condition in reversed(cases):
            otherwise = f"where({condition}, lambda: {value}, lambda: {otherwise})"
        return otherwise

    def lines(self, lines):
        return "\n".join(lines)


@pytest.fixture(autouse=True)
def code(monkeypatch):
    monkeypatch.setitem(STYLES, "code", Code())


FUNCTIONS = {"max": partial(reduce, np.maximum), "min": partial(reduce, np.minimum)}
OVER = {"sum": sum, "max": max, "min": min, "mean": lambda values: sum(values) / len(values)}


class Places(np.ndarray):
    """An index over several axes: compared as one."""

    def __eq__(self, other):
        return bool(np.all(np.asarray(self) == np.asarray(other)))

    def __le__(self, other):
        return bool(np.all(np.asarray(self) <= np.asarray(other)))

    def __lt__(self, other):
        return bool(np.all(np.asarray(self) < np.asarray(other)))

    __hash__ = None


class Reader:
    """Computes what is written, by loops over the indices; arrays by what they are called."""

    def __init__(self, arrays, functions=None):
        self.arrays = {name: np.asarray(a) for name, a in arrays.items()}
        self.functions = functions or {}
        self.indices, self.extents = {}, {}

    def at(self, name, *places):
        if name in self.indices:
            return self.indices[name]
        if not places:
            return self.arrays[name]
        place = tuple(int(p) for part in places for p in np.atleast_1d(part))
        array = self.arrays[name]
        return array.flat[place[0]] if len(place) == 1 else array[place]

    def over(self, name, indices, body):
        letters = [re.fullmatch(r"at\('(.+)'\)", index)[1] for index in indices]
        for letter in letters:  # over a window
            axis = letter.lstrip("ab")
            self.extents.setdefault(letter, np.atleast_1d(self.arrays.get(f"size{axis}")))
        kept, values = dict(self.indices), []
        for place in np.ndindex(*(n for letter in letters for n in self.extents[letter])):
            self.indices |= self.spread(letters, place)
            values.append(body())
        self.indices = kept
        return OVER[name](values)

    def spread(self, letters, place):
        found, at = {}, 0
        for letter in letters:
            count = len(self.extents[letter])
            found[letter], at = np.array(place[at : at + count]).view(Places), at + count
        return found

    def call(self, name, *arguments):
        if name == "border":
            x, padding, value = arguments
            return np.pad(x, [(0, 0), *padding, (0, 0)], constant_values=value)
        if name == "before":
            return arguments[0][0]  # of one axis
        if name in FUNCTIONS:
            return FUNCTIONS[name](arguments)
        return (self.functions.get(name) or getattr(np, name))(*arguments)

    def where(self, condition, value, otherwise):
        if np.ndim(condition):
            return np.where(condition, value(), otherwise())
        return value() if condition else otherwise()

    def evaluate(self, written):
        names = {"at": self.at, "over": self.over, "call": self.call, "where": self.where, "sqrt": np.sqrt}
        return eval(written, {**names, "floor": np.floor, "abs": np.abs, "inf": np.inf})

    def learn(self, line, arrays):
        """The lengths that indices run over: those of the axes where they stand."""
        references = re.findall(r"at\('([^']+)', ((?:at\('[^']+'\)(?:, )?)+)\)", line)
        flat = "i" if len({arrays[name].shape for name, _ in references}) > 1 == len({i for _, i in references}) else ""
        for name, listed in references:
            letters, shape = re.findall(r"at\('([^']+)'\)", listed), arrays[name].shape
            if letters == list(flat):  # the elements in a row
                shape = (math.prod(shape),)
            several = [letter for letter in letters if letter in SPACE] or letters
            more = (len(shape) - len(letters)) // len(several) if len(shape) > len(letters) else 0
            at = 0
            for letter in letters:
                count = 1 + more * (letter in several)
                self.extents.setdefault(letter, shape[at : at + count])
                at += count

    def statement(self, line, name, result):
        """What the right-hand side gives, for every place that the left-hand side names."""
        left, _, right = line.partition("==")
        letters = re.findall(r"at\('([^']+)'\)?", left)[1:]
        arrays = self.arrays if result is None else {**self.arrays, name: np.asarray(result)}
        self.extents = {}
        self.learn(line if name in arrays else right, arrays)
        shape = tuple(n for letter in letters for n in self.extents[letter])
        found = np.empty(shape)
        for place in np.ndindex(shape):
            self.indices = self.spread(letters, place)
            found[place] = self.evaluate(right) if letters else 0
        self.indices = {}
        return found if letters else self.evaluate(right)


def arrays_of(explanation):
    """All arrays by what they are called."""
    found = {str(q.symbol): q.value for q in explanation.quantities}
    gradients = {str(gradient_of(q.symbol)): q.gradient for q in explanation.quantities if q.gradient is not None}
    return {**found, **gradients}


def named(values):
    """Parameters by what they are called; those of an axis with its number."""
    several = {name: value for name, value in values.items() if isinstance(value, tuple)}
    values = {f"{name}{i}": one for name, value in several.items() for i, one in enumerate(value, 1)} | values
    return {str(symbol_of(name)): value for name, value in values.items() if not isinstance(value, (str, type(None)))}


@cache
def mlp(*units, last="softmax", loss="categorical_crossentropy", optimizer="adam"):
    model = cg.Sequential([*(layers.Dense(n, "tanh") for n in units), layers.Dense(3, last)], dtype="float64")
    model.compile(optimizer, loss)
    x, y = np.random.default_rng(0).normal(size=(2, 4)), np.eye(3)[[0, 2]]
    model.fit(x, y, epochs=3, verbose=0, shuffle=False)
    return explain(model, x, y)


@cache
def cnn(padding="valid"):
    model = cg.Sequential([
        layers.Conv2D(2, 2, activation="relu", padding=padding, input_shape=(5, 5, 1)), layers.MaxPooling2D(),
        layers.Conv2D(2, 2, activation="sigmoid", use_bias=False), layers.Flatten(), layers.Dense(3, "softmax"),
    ], dtype="float64")  # fmt: skip
    model.compile("momentum", "categorical_crossentropy")
    x, y = np.random.default_rng(1).normal(size=(2, 5, 5, 1)), np.eye(3)[[0, 2]]
    model.fit(x, y, epochs=3, verbose=0, shuffle=False)
    return explain(model, x, y)


DOCUMENTED_ADAM = cg.optim.Adam(bias_correction=False)
NETS = {
    "softmax": lambda: mlp(5), "deep": lambda: mlp(4, 3), "one layer": mlp, "adamw": lambda: mlp(3, optimizer="adamw"),
    "linear": lambda: mlp(3, last=None, loss="mse", optimizer="rmsprop"), "worked": worked_example, "cnn": cnn,
    "documented Adam": lambda: mlp(3, optimizer=DOCUMENTED_ADAM),
    "convolution": convolution_example, "border": lambda: cnn("same"),
}  # fmt: skip


@pytest.mark.parametrize("net", NETS)
def test_every_equation_that_is_shown_is_the_engines(net):
    explained, checked = NETS[net](), 0
    owners = [None, *explained.forward, *explained.backward, *explained.update]
    for scene, owner in zip(story(explained, digits=12, documents=True), owners, strict=False):
        for block in scene.blocks:
            if not isinstance(block, Formula) or text("documented") in block.label or "the document has" in block.label:
                continue
            written = block.write("code")
            if block.label == text("with_values"):
                _, *others = ("" if "…" in written else written).split("==")
                for other in others:
                    assert Reader({}).evaluate(other) == pytest.approx(Reader({}).evaluate(others[-1]), 1e-9, 1e-9), (
                        written
                    )
                continue
            checked += holds(explained, owner, written)
    assert checked >= len(explained.forward) + len(explained.backward) + len(explained.update)


def holds(explained, owner, written):
    """Statements give what the engine has; how many of them are compared."""
    local, compared = {}, 0
    for line in written.split("\n"):
        name = re.findall(r"at\('([^']+)'", line)[0]
        arrays, known = before(explained, owner, name)
        found = Reader({**arrays, **local}).statement(line, name, known)
        if known is None:
            local[name] = found
        else:
            np.testing.assert_allclose(np.reshape(found, np.shape(known)), known, rtol=1e-9, atol=1e-12, err_msg=line)
            compared += 1
    return compared


def before(explained, owner, name):
    """The arrays that a statement reads, and what it gives; None for what only leads there."""
    arrays = arrays_of(explained)
    if isinstance(owner, (Step, Return)):
        step = owner if isinstance(owner, Step) else owner.step
        if isinstance(owner, Return):
            arrays[str(gradient_of(owner.operand.symbol))] = owner.contribution
        return {**named(step.parameters), **arrays}, arrays.get(name)
    by_name = {str(one.names.get(one.target) or symbol_of(one.target)): one for one in owner.assignments}
    one = by_name[name]
    return {str(one.names.get(k) or symbol_of(k)): v for k, v in one.arrays.items()}, one.after


@pytest.mark.parametrize("net", ["softmax", "cnn", "border"])
def test_every_equation_on_a_page_is_the_engines(net, monkeypatch):
    monkeypatch.setitem(STYLES, "mathml", Code())
    explained = NETS[net]()
    board = board_of(explained)
    owners = [*explained.forward, *explained.backward, *explained.update]
    steps = [*board["forward"], *board["backward"], *board["update"]]
    for owner, step in zip(owners, steps, strict=True):
        written = [step["equation"]] if "equation" in step else [one["equation"] for one in step["assignments"]]
        written += [found["here"] for found in board["documents"].values() if steps[found["at"]] is step]
        for lines in written:
            holds(explained, owner, lines)
        result = owner.result.value if isinstance(owner, Step) else getattr(owner, "contribution", None)
        for place, put in step.get("put", {}).items():
            if "…" not in put:
                assert Reader({}).evaluate(put) == pytest.approx(result.flat[place], rel=1e-3, abs=1e-3), put


def functions_of(cited):
    """σ and σ′ of a documented equation in this computation, from the primitive that is it here."""
    found = {}
    for piece in cited.pieces:
        if piece.part.argument:
            owner = piece.owner if isinstance(piece.owner, Step) else piece.owner.step

            def activation(z, step=owner):
                return step.primitive.compute((z,), step.application.parameters)

            found["σ"] = lambda z, f=activation: f(cg.tensor(np.array(z, float))).numpy()
            found["σ′"] = lambda z, f=activation: cg.grad(f)(np.array(z, float)).numpy()
    return found


@pytest.mark.parametrize("net", sorted({*NETS} - {"border"}))  # the document has none
def test_what_is_cited_holds_as_the_document_has_it(net):
    explained = NETS[net]()
    for cited in documented_in(explained):
        for piece in cited.pieces:
            if not piece.same:
                continue
            written = piece.part.symbols("code")
            name = re.findall(r"at\('([^']+)'", written)[0]
            if cited.entry.updates:
                raw, known = piece.owner.arrays, piece.owner.after
                weights = dict.fromkeys(("W", "b"), raw["theta"]) | dict.fromkeys(("gW", "gb"), raw["g"])
                arrays = {str(NAMES.get(k) or symbol_of(k)): v for k, v in {**raw, **weights}.items()}
            else:
                arrays = before(explained, piece.owner, "")[0]
                arrays |= {name: arrays[here] for name, here in cited.names.items()}
                known = arrays[name]
            found = Reader(arrays, functions_of(cited)).statement(written, name, known)
            np.testing.assert_allclose(found, known, rtol=1e-9, atol=1e-12, err_msg=f"{cited.entry.number}: {written}")


def cited_in(explained):
    return {cited.entry.number: [what_of(piece.owner) for piece in cited.differs] for cited in documented_in(explained)}


OF_TWO_LAYERS = ["D8", "D9", "D10", *(f"D{n}" for n in range(11, 17))]


def test_of_each_net_that_is_said_which_is_true():
    assert list(cited_in(worked_example())) == [*OF_TWO_LAYERS, "D3", "D17"]
    assert not any(cited_in(worked_example()).values())
    softmax = cited_in(mlp(5))
    assert list(softmax) == [*OF_TWO_LAYERS, "D4", "D5", "D6"]
    assert {number: here for number, here in softmax.items() if here} == {
        "D9": ["softmax"], **{f"D{n}": ["categorical_cross_entropy"] for n in range(10, 14)},
    }  # fmt: skip
    assert list(cited_in(mlp(3, last=None, loss="mse", optimizer="rmsprop"))) == OF_TWO_LAYERS
    assert cited_in(cnn()) == {"D2": [], "D1": ["softmax"]}, "no matrix of a hidden layer, no D8"
    assert cited_in(mlp(4, 3)) == {"D1": ["softmax"], "D4": [], "D5": [], "D6": []}
    assert cited_in(mlp(3, optimizer="adamw"))["D6"] == ["b⁽²⁾"], "decay of the weights"
    assert cited_in(explain(lambda x: cg.relu(x).sum(), [1.0, -1.0])) == {}
