"""What the heads of a model's attention look at: shown as the engine computes it."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.blackboard import heads as of_heads
from chalkgrad.blackboard.heads import FEATURES, heads_of, heads_page, scenes
from chalkgrad.blackboard.terminal import Terminal
from chalkgrad.errors import DataError, UsageError
from chalkgrad.models import BERT, GPT

OPACITIES = "all => all.map(r => Number(r.getAttribute('fill-opacity')))"
IDS, TOKENS = [3, 1, 4, 1, 5], ["c", " ", "a", "\n", "b"]
SMALL = {"width": 12, "depth": 2, "heads": 3, "positions": 6, "vocabulary": 7, "seed": 2}


@pytest.fixture(scope="module", params=[GPT, BERT])
def model(request):
    made = request.param(**SMALL)
    made.begin()
    for w in made.weights:
        w.assign(w * 8.0)
    return made


def test_weights_and_numbers_are_the_engines(model):
    heads = heads_of(model, IDS, TOKENS, "small")
    assert [len(layer) for layer in heads.layers] == [3, 3]
    for one in (one for layer in heads.layers for one in layer):
        scores = np.where(np.tri(5) > 0, one.scores, -np.inf) if isinstance(model, GPT) else one.scores
        np.testing.assert_allclose(one.weights, cg.softmax(scores).numpy(), atol=1e-6)
        np.testing.assert_allclose(one.weights @ one.values, one.outputs, atol=1e-6)


def test_they_are_told(model):
    heads = heads_of(model, IDS, TOKENS, "small")
    told = [*scenes(heads, 2, 3, token=2)]
    table = told[1].blocks[0].rows
    assert [row[1] for row in told[0].blocks[2].rows] == ["c", "␣", "a", "↵", "b"]
    assert len(table) == (3 if isinstance(model, GPT) else 6)  # the keys that it looks at, and the sum
    assert float(table[-1][3]) == pytest.approx(1)
    assert [*Terminal().parts(told)]
    page = heads_page(heads, 1, 2, "zh", token=2)
    assert '"row":1' in page
    assert page.count('"weights":') == 6
    assert f'"v[{FEATURES}]"' not in page


@pytest.mark.deep
@pytest.mark.filterwarnings("default")  # of the libraries that drive the browser
@pytest.mark.parametrize(("scheme", "width", "lang"), [("light", 1280, "en"), ("dark", 390, "zh")])
def test_its_page_shows_what_is_chosen_and_is_for_everybody(model, opened, accessible, scheme, width, lang):
    heads = heads_of(model, IDS, TOKENS, "small")
    tab = opened(heads_page(heads, 1, 1, lang), width=width, scheme=scheme)
    accessible(tab)
    for label, place in (("layer", 1), ("heads.head", 2), ("token", 3)):
        tab.locator(f"select[id='{label}']").select_option(index=place)
    one = heads.head(2, 3)
    shown = tab.locator("svg.heads rect[data-row]").evaluate_all(OPACITIES)
    wanted = one.weights / one.weights.max(axis=1, keepdims=True)
    np.testing.assert_allclose(np.reshape(shown, wanted.shape), wanted, atol=1e-6)
    last = tab.locator("#heads table tr").last.locator("td, th").all_inner_texts()
    np.testing.assert_allclose(
        [float(x.replace("−", "-")) for x in last[3:]], one.outputs[3, :FEATURES], rtol=2e-3, atol=1e-6
    )
    tab.locator("svg.heads rect[data-row='1']").first.click()
    assert "2" in tab.locator("#heads caption").inner_text()
    accessible(tab)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_page_has_a_size(model, monkeypatch):
    monkeypatch.setattr(of_heads, "MOST_PAIRS", 149)
    with pytest.raises(UsageError, match="5 tokens have 150 weights in all heads of small, a page 149"):
        heads_page(heads_of(model, IDS, TOKENS, "small"), 1, 1)


def test_what_is_refused(model):
    heads = heads_of(model, IDS, TOKENS, "small")
    with pytest.raises(UsageError, match="--head 4: small has the heads 1 to 3"):
        heads_page(heads, 1, 4)
    with pytest.raises(UsageError, match="--token 9"):
        next(scenes(heads, 1, 1, token=9))
    with pytest.raises(UsageError, match="--token 9: the text has the tokens 1 to 5"):
        heads_page(heads, 1, 1, token=9)
    for ids in ([], [1] * 7):
        with pytest.raises(DataError, match=f"the text has {len(ids)} tokens; small takes 1 to 6"):
            heads_of(model, ids, ["a"] * len(ids), "small")
