"""State dicts as people have them: behind prefixes, beside other things, under any key."""

from dataclasses import replace

import pytest
from snn_compile.compiler.findings import UnsupportedModelError
from snn_compile.errors import ModelFileError, SnnCompileError
from snn_compile.frontend.readers.options import ReadOptions
from snn_compile.frontend.readers.pytorch.file import read_torch

torch = pytest.importorskip("torch")
nn = torch.nn
OPTIONS = ReadOptions(steps=8, encoding="graded", max_value=255)
TOML = '{}[[layer]]\nkind = "linear"\nname = "{}"\n[[layer]]\nkind = "lif"\n'


def read(tmp_path, content, name="fc", extra=""):
    torch.save(content, tmp_path / "net.pt")
    (tmp_path / "net.toml").write_text(TOML.format(extra, name))
    return read_torch(tmp_path / "net.pt", replace(OPTIONS, architecture=tmp_path / "net.toml"))


def assumed(network):
    return [(f.layer, f.text) for f in network.findings if f.kind == "assumed"]


def state(prefix="", **more):
    return {f"{prefix}fc.weight": torch.ones(2, 3), f"{prefix}fc.bias": torch.ones(2), **more}


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "net.", "network.", "module._orig_mod.model.net."]
)
def test_prefixes_of_wrappers(tmp_path, prefix):
    network = read(tmp_path, state(prefix))
    assert network.dump() == read(tmp_path, state()).dump()
    assert assumed(read(tmp_path, state())) == []
    assert assumed(network) == [("tensors", f"the {prefix} before all their names is left out")]
    own = read(tmp_path, state(prefix), name=f"{prefix}fc")
    assert assumed(own) == []
    assert f"{prefix}fc" in own.by_name
    with pytest.raises(ModelFileError, match=r"holds 1 tensors that no layer of .* has \(log_vars\)"):
        read(tmp_path, state(prefix, log_vars=torch.ones(2)), name=f"{prefix}fc")


def test_an_averaged_model(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

    averaged = torch.optim.swa_utils.AveragedModel(Net())
    assert "n_averaged" in averaged.state_dict()
    network = read(tmp_path, averaged.state_dict())
    assert assumed(network) == [("tensors", "the module. before all their names is left out")]


def test_tensors_that_belong_to_no_layer(tmp_path):
    content = state("model.", log_vars=torch.ones(2), **{"model.head.weight": torch.ones(1)})
    with pytest.raises(UnsupportedModelError, match=r"tensors: no layer .* they are called model.fc.weight, mo"):
        read(tmp_path, content)
    with pytest.raises(ModelFileError, match=r'\(head.weight\); describe all layers, or write ignore = \["head.'):
        read(tmp_path, content, extra='ignore = ["log_vars"]\n')
    for name in ("head", "model.head", "head.weight"):
        network = read(tmp_path, content, extra=f'ignore = ["log_vars", "{name}"]\n')
        assert network.dump() == read(tmp_path, state()).dump()
    for wrong in ("hea", "head.w", ""):
        with pytest.raises(ModelFileError, match=r"holds 1 tensors that no layer"):
            read(tmp_path, content, extra=f'ignore = ["log_vars", "{wrong}"]\n')
    used = read(tmp_path, state(), extra='ignore = ["fc.bias"]\n')
    assert used.by_name["fc"].bias is not None  # a layer has what is its own


def test_names_that_fit_no_layer(tmp_path):
    content = {f"encoder.{key}": value for key, value in {**state(), "a": torch.ones(1), "b": torch.ones(1)}.items()}
    sentence = r"tensors: no layer of .*net.toml has any of them, they are called encoder.fc.weight, encoder.fc.bias, "
    with pytest.raises(UnsupportedModelError, match=sentence + r"encoder.a, …; name the layers like them") as caught:
        read(tmp_path, content)
    assert [f.layer for f in caught.value.findings if f.kind == "unsupported"] == ["tensors", "fc"]


def test_dicts_of_tensors_beside_other_things(tmp_path):
    dump = read(tmp_path, state()).dump()
    for content in (
        {"weights": state(), "epoch": 3}, {"snn": state(), "optimizer": {"state": {0: {"step": 1}}, "lr": [0.1]}},
        {"loss": torch.ones(()), "weights": state()}, {"model": state(), "ema": state()},
    ):  # fmt: skip
        assert read(tmp_path, content).dump() == dump
    for content, sentence in (
        ({"a": state(), "b": state()}, r"holds 2 dicts of tensors \(a, b\)"),
        (state(epoch=3), r"holds beside its tensors epoch, a int; save"),
        (state(**{"a\x1b[31m": None}), r"holds beside its tensors a\?\[31m, a NoneType"),
        ({1: torch.ones(1), "b": torch.ones(1)}, r"holds beside its tensors 1, a ndarray"),
        ({"epoch": 3}, "holds neither a module nor a state dict"),
        ([torch.ones(1)], "holds neither a module nor a state dict"),
    ):
        with pytest.raises(SnnCompileError, match=sentence):
            read(tmp_path, content)


def test_names_and_lists_without_end_take_no_time(tmp_path):
    with pytest.raises(UnsupportedModelError, match=r"they are called net\.net\.net\.") as caught:
        read(tmp_path, {"net." * 2**20 + "w": torch.ones(1)})
    assert len(str(caught.value)) < 500
    with pytest.raises(ModelFileError, match=r"ignores 501 names, 500 are possible"):
        read(tmp_path, state(), extra=f"ignore = {['a'] * 501}\n")
