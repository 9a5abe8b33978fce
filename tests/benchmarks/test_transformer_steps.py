"""Both contestants train the same net, by turns, in processes of their own."""

import pytest

from chalkgrad.benchmarks import transformer_steps as steps


def test_both_have_as_many_weights():
    torch = pytest.importorskip("torch", reason="a contestant")
    from chalkgrad.benchmarks.shakespeare import network
    from chalkgrad.models import GPT

    sizes = steps.CASES["baby"]["sizes"]
    model = GPT(**sizes, dropout=0.0, activation="gelu", use_bias=False)
    model.begin()
    assert model.count_params() == sum(each.numel() for each in network(sizes).parameters())
    assert torch.get_num_threads() >= 1


@pytest.mark.deep
def test_they_are_compared(monkeypatch, capsys, tmp_path):
    pytest.importorskip("torch", reason="a contestant")
    code = steps.main(["--only", "baby", "--threads", "1", "--repeats", "1", "--out", str(tmp_path / "f.json")])
    assert code in (0, 1)  # on a busy machine it is measured, not judged
    assert "baby, 1 thread" in capsys.readouterr().out
    assert '"peak"' in (tmp_path / "f.json").read_text("utf-8")
