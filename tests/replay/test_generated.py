"""Generated programs that read what changes meanwhile: recorded and replayed they are the tape's, to the last bit.

CHALKGRAD_PROGRAMS is how many are tried, 15 by default.
"""

import os
import random

import numpy as np
from replaying import bits, given_tensor

import chalkgrad as cg
from chalkgrad import optim

COUNT = int(os.environ.get("CHALKGRAD_PROGRAMS", "15"))
CALLS = 14
HEAD = """
import functools, types
class Box:
    shared = 1.0
    def __init__(self, v): self.a, self.b = v, {"k": [v, 2.0]}
    @property
    def twice(self): return self.a * 2
    def times(self, y): return y * self.a
def maker(v):
    def get(): return v
    def put(new):
        nonlocal v
        v = new
    return get, put
w = cg.tensor(np.linspace(-1, 1, 3), requires_grad=True)
optimizer = optim.Adam(0.01)
counter = {"n": 0}
log = []
"""
# A source: how it begins, how it is read as a number (or, with y, used), and how it changes to {v}.
SOURCES = {
    "G": ("G{i} = 1.0", ["G{i}"], ["G{i} = {v}"]),
    "D": (
        "D{i} = {{'k': 1.0, 'z': 0.5}}",
        ["D{i}['k']", "sum(D{i}.values())", "D{i}.get('k', 2.0)", "[*D{i}.values()][0]"],
        ["D{i}['k'] = {v}", "D{i} = {{'k': {v}}}", "D{i}.update(m={v})", "D{i}['k'] = D{i}.pop('k')"],
    ),
    "L": (
        "L{i} = [1.0, 2.0]",
        ["L{i}[0]", "sum(L{i})", "max(L{i})", "len(L{i})", "L{i}[-1]"],
        ["L{i}[0] = {v}", "L{i}.append({v})", "L{i} = [{v}]", "L{i}.reverse()"],
    ),
    "O": (
        "O{i} = Box(1.0)",
        ["O{i}.a", "O{i}.b['k'][0]", "O{i}.twice", "O{i}.shared", "getattr(O{i}, 'a')", "vars(O{i})['a']",
         "(lambda o: o.b['k'][-1])(O{i})", "float(O{i}.times(1.0))"],
        ["O{i}.a = {v}", "O{i}.b['k'][0] = {v}", "O{i}.shared = {v}", "Box.shared = {v}", "O{i}.b = {{'k': [{v}]}}",
         "O{i} = Box({v})", "O{i}.times = lambda y: y * {v}", "O{i}.other = {v}"],
    ),
    "A": (
        "A{i} = np.ones(3)",
        ["float(A{i}[0])", "A{i}.sum()", "float(A{i} @ A{i})", "A{i}[A{i} > 0].size"],
        ["A{i}[0] = {v}", "A{i}[:] = {v}", "A{i} = np.full(3, {v})", "A{i} *= {v}"],
    ),
    "T": (
        "T{i} = cg.tensor(np.ones(3))",
        ["T{i}", "T{i}.sum()", "T{i}[1]", "T{i}.mean() * 2", "float(T{i}[0])"],
        ["T{i}.assign({v})", "T{i}[0] = {v}", "T{i} = cg.tensor(np.full(3, {v}))", "T{i}.assign(T{i} * {v})"],
    ),
    "C": ("get{i}, put{i} = maker(1.0)", ["get{i}()", "(get{i}() + 1)"], ["put{i}({v})"]),
    "P": (
        "H{i} = {{'k': 1.0}}; P{i} = functools.partial(lambda h, q: h['k'] + q, H{i})",
        ["P{i}(0)", "P{i}(0.5)"],
        ["H{i}['k'] = {v}", "P{i} = functools.partial(lambda q: q + {v})"],
    ),
    "F": (
        "def F{i}(y, h={{'k': [1.0]}}, *, z=1.0): return y * h['k'][0] + z",
        ["F{i}(1.0)", "F{i}(0.5)"],
        ["F{i}.__defaults__[0]['k'][0] = {v}", "F{i}.__kwdefaults__ = {{'z': {v}}}",
         "F{i}.__defaults__ = ({{'k': [{v}]}},)"],
    ),
    "N": (
        "N{i} = types.SimpleNamespace(a=1.0, b=(1.0, [2.0]))",
        ["N{i}.a", "N{i}.b[1][0]"],
        ["N{i}.a = {v}", "N{i}.b[1][0] = {v}", "N{i}.b = ({v}, [{v}])"],
    ),
}  # fmt: skip
STATEMENTS = [
    "y = y * {r}", "y = y + {r}", "y = cg.tanh(y) - {r}", "y = y * {r} + {s}", "y = helper(y, {r})",
    "y = y * 2 if {number} > 1.2 else y", "y = sum((y * k for k in ({r}, {s})), start=y)",
    "for _ in range(int({number}) % 3): y = y + 1",
    "loss = (w * y * {r}).sum(); w.grad = None; loss.backward(); optimizer.step([w]); y = y + w.detach()",
    "y = cg.where(y > {r}, y, y * 0.5)", "counter['n'] += 1; y = y * counter['n']", "log.append({number})",
    "scale = {r}; y = (lambda z: z * scale)(y)", "y = cg.stack([y, y * {r}]).sum(axis=0)",
]  # fmt: skip


def written(seed):
    """A program as text, and what changes before each of the calls."""
    draw = random.Random(seed)
    sources = [(kind, i) for i, kind in enumerate(draw.choices([*SOURCES], k=draw.randint(1, 4)))]

    def read(numbers=False):
        kind, i = draw.choice([s for s in sources if not numbers or s[0] != "T"] or [("", 0)])
        if not kind:
            return "1.5"
        return draw.choice(SOURCES[kind][1]).format(i=i)

    def filled(line):
        return line.format(r=read(), s=read(), number=read(numbers=True))

    lines = [SOURCES[kind][0].format(i=i) for kind, i in sources]
    lines += [f"def helper(y, k): return y * k + {read()}", "def f(x):", "    y = x * 1"]
    lines += [f"    {filled(draw.choice(STATEMENTS))}" for _ in range(draw.randint(1, 4))]
    changes = []
    for call in range(CALLS):
        changes.append("")
        if call and draw.random() < 0.3:
            kind, i = draw.choice(sources)
            changes[-1] = draw.choice(SOURCES[kind][2]).format(i=i, v=draw.choice((0.5, 1.0, 1.0, 1.5, 3.0)))
    return HEAD + "\n".join([*lines, "    return y.detach()"]), changes


def run(text, changes, captures):
    """What the calls give, and what they leave behind; errors too."""
    space = {"cg": cg, "np": np, "optim": optim, "__name__": "generated"}
    exec(compile(text, "<generated>", "exec"), space)
    f = cg.capture(space["f"]) if captures else space["f"]
    found = []
    for call, change in enumerate(changes):
        exec(change, space)
        try:
            found.append(bits(f(given_tensor(3, seed=call // 2))))
        except Exception as error:
            found.append(type(error).__name__)
        found.append((bits(space["w"]), space["optimizer"].iterations, space["counter"]["n"], repr(space["log"])))
    return found, f


def test_generated_programs_are_the_tapes():
    replayed = 0
    for seed in range(COUNT):
        text, changes = written(seed)
        plain, (found, f) = run(text, changes, False)[0], run(text, changes, True)
        assert found == plain, f"program {seed}:\n{text}\nchanges: {changes}\n{f.explain()}"
        replayed += any(recording.program for recording in f.recordings.values())
    assert replayed > COUNT / 3
