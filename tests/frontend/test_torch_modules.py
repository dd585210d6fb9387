"""Pickled modules and state dicts become networks; what cannot be carried is named, layer by layer."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from snn_compile.compiler import nodes as ir
from snn_compile.compiler.findings import UnsupportedModelError
from snn_compile.errors import ModelFileError, NetworkError, SnnCompileError
from snn_compile.frontend.readers.options import ReadOptions
from snn_compile.frontend.readers.pytorch import module_tree as tree
from snn_compile.frontend.readers.pytorch.file import read_torch

sys.path.insert(0, str(Path(__file__).parent))
torch = pytest.importorskip("torch")
from stand_ins import JELLY, make, neuron, save  # noqa: E402

nn = torch.nn
OPTIONS = ReadOptions(steps=8, encoding="graded", max_value=255)


def read(tmp_path, module, options=OPTIONS, **how):
    return read_torch(save(module, tmp_path / "net.pt", **how), options)


def refused(tmp_path, module, sentence, options=OPTIONS, error=SnnCompileError):
    with pytest.raises(error, match=sentence) as caught:
        read(tmp_path, module, options)
    return caught.value


def plain(*between):
    return nn.Sequential(nn.Linear(3, 2), *between, neuron("LIFNode"))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_protocols_nesting_and_both_versions_of_class_paths(tmp_path, protocol):
    net = nn.Sequential(
        nn.Sequential(make(f"{JELLY}layer.Linear", 4, 3), neuron("LIFNode", tau=3.0, v_threshold=0.5)),
        nn.Dropout(0.2), nn.Identity(),
        make(f"{JELLY}layer.SeqToANNContainer", make(f"{JELLY}layer.stateless_wrapper.Linear", 3, 6, False)),
        neuron("IFNode", "integrate_and_fire.", v_reset=None, v_threshold=2.0),
        make(f"{JELLY}layer.VotingLayer", voting_size=3),
    )  # fmt: skip
    network = read(tmp_path, net, pickle_protocol=protocol)
    lines = network.dump().splitlines()
    assert lines == [
        "network, 8 steps",
        "  input: Input (4,) graded <-",
        "  0.0: Linear (3,) 12 weights + bias <- input",
        "  0.1: LIF (3,) tau 3 threshold 0.5 >= hard <- 0.0",
        "  1: Dropout (3,) <- 0.1",
        "  3.0: Linear (6,) 18 weights <- 1",
        "  4: LIF (6,) tau 1.15292e+18 threshold 2 >= soft <- 3.0",
    ]
    assert network.votes == 3
    assert [f.kind for f in network.findings] == ["exact"] * 7
    assert np.array_equal(network.by_name["0.0"].weight, net[0][0].weight.detach().numpy())


def test_v_reset_is_shifted_away_and_numpy_scalars_are_read(tmp_path):
    net = plain()
    net[1].v_reset, net[1].v_threshold, net[1].tau = np.float32(-0.5), np.float64(1.25), np.int64(3)
    assert read(tmp_path, net).by_name["1"].threshold == 1.75
    net[1].v_reset = 2.0
    refused(tmp_path, net, r"1: its threshold is -0\.75 above its v_reset, so that it always fires")


def test_parametric_tau(tmp_path):
    net = nn.Sequential(nn.Linear(3, 2), neuron("ParametricLIFNode", "plif."))
    net[1].w = nn.Parameter(torch.tensor(-1.0))
    assert read(tmp_path, net).by_name["1"].tau == pytest.approx(1 / torch.sigmoid(torch.tensor(-1.0)).item())
    del net[1].w
    refused(tmp_path, net, "1: has no single number w")


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (lambda: neuron("QIFNode"), r"1: is a spikingjelly.activation_based.neuron.QIFNode, which is not carried"),
        (lambda: make(f"{JELLY}layer.NeuNorm"), r"1: is a spikingjelly.activation_based.layer.NeuNorm, which is not"),
        (lambda: nn.ReLU(), r"1: is a torch.nn.modules.activation.ReLU, which is not carried"),
        (lambda: nn.LSTM(2, 2), r"1: is a torch.nn.modules.rnn.LSTM, which is not carried"),
        (lambda: nn.ModuleList([nn.ReLU()]), r"1: is a torch.nn.modules.container.ModuleList, whose file does not"),
        (lambda: neuron("LIFNode", tau=0.5), r"1: its tau is 0.5 steps, at least 1 is needed"),
        (lambda: neuron("LIFNode", tau=float("nan")), r"1: its tau is nan, a number is needed"),
        (lambda: neuron("LIFNode", tau="slow"), r"1: its tau is 'slow', a number is needed"),
        (lambda: neuron("LIFNode", decay_input=1), r"1: its decay_input is 1"),
        (lambda: neuron("LIFNode", spiking=False), "1: does not fire by a surrogate function of SpikingJelly that"),
        (lambda: nn.Flatten(0), "1: flattens the dimensions 0 to -1"),
        (lambda: nn.BatchNorm1d(2, track_running_stats=False), "1: has no running mean and variance"),
        (lambda: nn.MaxPool2d(2, padding=1), "1: pads or dilates its windows"),
        (lambda: nn.MaxPool2d(2, ceil_mode=True), "1: pools with ceil_mode True"),
        (lambda: nn.AdaptiveAvgPool2d(3), r"1: pools \(2,\) adaptively to \(3, 3\)"),
        (lambda: nn.Conv2d(2, 2, 3, padding_mode="circular"), "1: pads with 'circular' in 1 groups"),
        (lambda: nn.Linear(5, 2), r"1: takes 5 inputs, gets the shape \(2,\)"),
    ],
)
def test_unsupported_layers_are_named(tmp_path, layer, sentence):
    error = refused(tmp_path, plain(layer()), sentence, error=UnsupportedModelError)
    assert [f.kind for f in error.findings] == ["exact", "unsupported", "exact"]


def test_hooks_and_shared_neurons(tmp_path):
    net = plain()
    net[0].register_forward_hook(print)
    refused(tmp_path, net, "0: has forward hooks, so that it computes something else")
    lif = neuron("LIFNode")
    net = nn.Sequential(nn.Linear(3, 2), lif, nn.Linear(2, 2), lif)
    refused(tmp_path, net, "3: is a second time the same neurons, which share their state")


def test_pruned_layers(tmp_path):
    """`torch.nn.utils.prune` keeps weights and masks, and multiplies them in a hook."""
    from torch.nn.utils import prune

    net = plain()
    prune.l1_unstructured(net[0], "weight", 0.5)
    prune.random_unstructured(net[0], "weight", 0.5)
    prune.l1_unstructured(net[0], "bias", 1)
    wanted = net[0].weight.detach().numpy()
    assert 0 < np.count_nonzero(wanted) < 6
    assert np.array_equal(read(tmp_path, net).by_name["0"].weight, wanted)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    (tmp_path / "net.toml").write_text('[[layer]]\nkind="linear"\nname="0"\n[[layer]]\nkind="lif"')
    network = read_torch(tmp_path / "net.pt", replace(OPTIONS, architecture=tmp_path / "net.toml"))
    assert np.array_equal(network.by_name["0"].weight, wanted)
    assert np.array_equal(network.by_name["0"].bias, net[0].bias.detach().numpy())


def test_classes_of_the_user(tmp_path):
    net = make("somebody.Net")
    net.layer = plain()
    (finding,) = (f for f in read(tmp_path, net).findings if f.kind == "assumed")
    assert finding.text == "the class somebody.Net is taken to compute nothing but its only part, layer"
    net.other = nn.Linear(2, 2)
    refused(tmp_path, net, "Net: is a somebody.Net, whose file does not say in which order its 2 parts compute")
    toml = tmp_path / "net.toml"
    toml.write_text(
        '[[layer]]\nkind="linear"\nname="layer.0"\n[[layer]]\nkind="spikingjelly.LIFNode"\ntau=4.0\n'
        '[[layer]]\nkind="linear"\nname="other"\n[[layer]]\nkind="lif"\nreset="soft"\n'
    )
    network = read(tmp_path, net, replace(OPTIONS, architecture=toml))
    assert [node.name for node in network.nodes] == ["input", "layer.0", "spikingjelly.LIFNode2", "other", "lif4"]


def test_convolutions(tmp_path):
    net = nn.Sequential(
        nn.Conv2d(1, 2, (3, 5), padding="same"), nn.BatchNorm2d(2, affine=False), neuron("LIFNode"),
        nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten(), nn.Linear(4, 2), neuron("LIFNode"),
    )  # fmt: skip
    network = read(tmp_path, net, replace(OPTIONS, input_shape=(1, 8, 6)))
    assert network.by_name["0"].padding == (1, 2)
    assert network.by_name["3"].kernel == (4, 6)
    assert network.shapes["4"] == (4,)
    refused(tmp_path, net, "net.pt: does not say the shape of its input; give --input-shape", error=SnnCompileError)


def test_what_nobody_says(tmp_path):
    for field, sentence in (
        ("steps", "does not say how many steps a sample takes; give --steps"),
        ("encoding", "does not say how samples enter; give --encoding"),
        ("max_value", "does not say how large its input becomes; give --max-value"),
    ):
        refused(tmp_path, plain(), sentence, replace(OPTIONS, **{field: None}), ModelFileError)
    network = read(tmp_path, plain(), replace(OPTIONS, max_value=None, encoding="spikes"))
    assert network.findings[0].kind == "assumed"


def test_trees_are_bounded(tmp_path, monkeypatch):
    deep = nn.Linear(2, 2)
    for _ in range(tree.MAX_DEPTH + 2):
        deep = nn.Sequential(deep)
    refused(tmp_path, deep, "has a tree of more than 32 levels", error=ModelFileError)
    laugh = nn.Sequential(nn.Flatten())
    for _ in range(30):  # 2^30 modules by sharing
        laugh = nn.Sequential(laugh, laugh)
    refused(tmp_path, laugh, "has a tree of more than 2000 modules", error=ModelFileError)
    loop = plain()
    loop._modules["2"] = loop
    refused(tmp_path, loop, "has a tree of more than 32 levels", error=ModelFileError)


def test_tensors_that_are_no_plain_numbers(tmp_path):
    with torch.no_grad():
        weight = torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.qint8)
    torch.save({"a": weight}, tmp_path / "net.pt")
    with pytest.raises(ModelFileError, match=r"holds a tensor of torch.QInt8Storage"):
        read_torch(tmp_path / "net.pt", OPTIONS)
    torch.save({"a": torch.ones(2, dtype=torch.complex64)}, tmp_path / "net.pt")
    with pytest.raises(ModelFileError, match=r"holds a tensor of torch.ComplexFloatStorage"):
        read_torch(tmp_path / "net.pt", OPTIONS)
    torch.save({"a": torch.ones(2).to(torch.float8_e5m2)}, tmp_path / "net.pt")
    with pytest.raises(ModelFileError, match=r"holds a tensor of torch.float8_e5m2, which no layer has"):
        read_torch(tmp_path / "net.pt", OPTIONS)
    values = torch.tensor([1, 2], dtype=torch.int32)
    parameter = nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    parameter.note = "a parameter with attributes"
    torch.save({"a": values, "b": parameter, "c": torch.float32, "d": torch.device("cpu"), "e": torch.Size([1]),
                "f": {1, 2}, "g": torch.finfo}, tmp_path / "net.pt")  # fmt: skip
    with pytest.raises(ModelFileError, match=r"names torch.device, which is code, not data; save the model"):
        read_torch(tmp_path / "net.pt", OPTIONS)
    torch.save({"state_dict": {"a": values, "b": parameter}, "epoch": 3}, tmp_path / "net.pt")
    with pytest.raises(ModelFileError, match=r"is a state dict of 2 tensors, which does not say how they are conn"):
        read_torch(tmp_path / "net.pt", OPTIONS)


def test_programs_of_torch_are_recognised(tmp_path):
    path = tmp_path / "net.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)
    with pytest.raises(ModelFileError, match=r"is a TorchScript archive, which holds a program; save the state dict"):
        read_torch(path, OPTIONS)
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), path)
    with pytest.raises(ModelFileError, match=r"is an archive of torch.export, which holds a program; save the state"):
        read_torch(path, OPTIONS)
    torch.save(nn.Linear(2, 2), path, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelFileError, match=r"legacy format from before version 1.6"):
        read_torch(path, OPTIONS)


def test_our_own_checkpoint_is_read_too():
    assert read_torch(Path(__file__).parents[2] / "examples" / "digits.pt").steps == 8


STATE = {"fc1.weight": (3, 4), "fc1.bias": (3,), "lif1.beta": (), "lif1.threshold": (3,), "fc2.weight": (2, 3)}
TOML = """
steps = 5
votes = 2
[input]
shape = [4]
encoding = "spikes"
max_value = 3
mean = [0.5]
[[layer]]
kind = "linear"
name = "fc1"
[[layer]]
kind = "snntorch.Leaky"
name = "lif1"
[[layer]]
kind = "linear"
name = "fc2"
from = ["lif1", "out"]
[[layer]]
kind = "lif"
name = "out"
tau = 3.0
"""


def with_state(tmp_path, state, toml, options=None):
    (tmp_path / "net.toml").write_text(toml)
    options = options or (ReadOptions() if "steps =" in toml else OPTIONS)
    torch.save({k: torch.full(shape, 0.5) for k, shape in state.items()}, tmp_path / "net.pt")
    return read_torch(tmp_path / "net.pt", replace(options, architecture=tmp_path / "net.toml"))


def test_an_architecture_file(tmp_path):
    state = {**STATE, "fc2.weight": (2, 3)}
    toml = TOML.replace('"lif1", "out"', '"lif1"')
    network = with_state(tmp_path, state, toml)
    assert network.dump() == "\n".join(
        [
            "network, 5 steps",
            "  input: Input (4,) spikes <-",
            "  normalise: Normalise (4,) <- input",
            "  fc1: Linear (3,) 12 weights + bias <- normalise",
            "  lif1: LIF (3,) tau 2 threshold 0.5..0.5 > soft reset_delay 1 <- fc1",
            "  fc2: Linear (2,) 6 weights <- lif1",
            "  out: LIF (2,) tau 3 threshold 1 >= hard <- fc2",
        ]
    )
    assert network.votes == 2
    assert network.by_name["input"].max_value == 3
    assert {f.layer for f in network.findings if f.kind == "assumed"} == {"lif1"}
    parallel = {f"module.{key}": shape for key, shape in state.items()}
    assert with_state(tmp_path, parallel, toml).dump() == network.dump()


def test_a_flag_that_contradicts_the_architecture(tmp_path):
    toml = TOML.replace('"lif1", "out"', '"lif1"')
    with pytest.raises(ModelFileError, match=r"net.toml: says steps 5, --steps says 6; give one of the two"):
        with_state(tmp_path, STATE, toml, ReadOptions(steps=6))
    assert with_state(tmp_path, STATE, toml, ReadOptions(steps=5)).steps == 5


def test_skips_and_loops(tmp_path):
    """A layer that hears two is one layer of weights for each; the bias counts once; a later name closes a loop."""
    state = {"fc1.weight": (3, 4), "fc2.weight": (3, 3), "fc2.bias": (3,)}
    toml = """[[layer]]\nkind="linear"\nname="fc1"\n[[layer]]\nkind="lif"\nname="a"\n
    [[layer]]\nkind="linear"\nname="fc2"\nfrom=["a", "b"]\n[[layer]]\nkind="lif"\nname="b"\nfrom=["fc2", "a"]\n"""
    network = with_state(tmp_path, state, toml)
    assert set(network.edges) == {
        ("input", "fc1"), ("fc1", "a"), ("a", "fc2"), ("b", "fc2.from.b"), ("fc2", "b"), ("fc2.from.b", "b"),
        ("a", "b"),
    }  # fmt: skip
    assert network.by_name["fc2.from.b"].bias is None
    assert isinstance(network.by_name["fc2"], ir.Linear)
    assert network.by_name["fc2"].bias is not None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (('name = "fc2"', 'name = "fc3"'), "fc3: has no tensor fc3.weight"),
        (('kind = "lif"', 'kind = "alif"'), "out: is of kind 'alif'; use one of linear, conv2d"),
        (("tau = 3.0", "colour = 3.0"), "out: a lif has no setting 'colour'"),
        (("tau = 3.0", 'tau = "x"'), "out: tau is x"),
        (("tau = 3.0", "tau = 0.5"), "out: tau is 0.5, 1 to 1e.30 is needed"),
        (('name = "fc2"', 'name = "fc1"'), "its layer 3 has the name 'fc1'; give each its own name"),
        (('from = ["lif1", "out"]', "from = [1]"), "its layer fc2 has a from that is no list of names"),
        (('"lif1", "out"', '"lif1", "lif1"'), "its layer fc2 has a name twice in its from"),
        (('"out"]', '"nobody"]'), "hears 'nobody', which is no layer"),
        (("shape = [4]", "shape = [5]"), r"fc1: takes 4 inputs, gets the shape \(5,\)"),
        (("shape = [4]", "shape = [0]"), r"fc1: takes 4 inputs, gets the shape \(0,\)"),
        (("steps = 5", "steps = 0"), "has 0 steps per sample"),
        (("votes = 2", "votes = 0"), "fc2.from.out: takes 3 inputs"),
        (("votes = 2", "vote = 2"), "net.toml: is no description of layers"),
        (('name = "lif1"', 'name = "lif1"\nreset_delay = 1'), "lif1: its reset_delay is 1; give true or false"),
        (('name = "lif1"', 'name = "lif1"\nreset_mechanism = "x"'), "lif1: its reset_mechanism is 'x'"),
        (('name = "lif1"', 'name = "lif1"\nreadout = true'), "lif1: its membrane is read out and reset by subtract"),
        (("[[layer]]", "[[layers]]"), "net.toml: is no description of layers"),
    ],
)
def test_architectures_that_cannot_be(tmp_path, change, sentence):
    with pytest.raises(SnnCompileError, match=sentence):
        with_state(tmp_path, STATE, TOML.replace(*change))


BIG = "9" * 400


@pytest.mark.parametrize(
    "change",
    [
        ("shape = [4]", f"shape = [{BIG}]"), ("shape = [4]", "shape = [-4]"), ("steps = 5", f"steps = {BIG}"),
        ("max_value = 3", f"max_value = {BIG}"), ("mean = [0.5]", f"mean = [{BIG}]"), ("mean = [0.5]", "mean = [nan]"),
        ("mean = [0.5]", "std = [0.0]"), ("votes = 2", f"votes = {BIG}"), ("tau = 3.0", f"tau = {BIG}"),
        ("tau = 3.0", "tau = nan"), ("tau = 3.0", "tau = [1.0, 2.0]"), ("tau = 3.0", "tau = 2020-01-01"),
        ("tau = 3.0", f"refractory = {BIG}"), ("tau = 3.0", "decay_input = 1"), ("tau = 3.0", "tau = {a = 1}"),
        ('kind = "lif"\nname = "out"\ntau = 3.0', f'kind = "dropout"\nname = "out"\np = {BIG}'),
        ('kind = "lif"\nname = "out"\ntau = 3.0', f'kind = "norse.LIF"\nname = "out"\ndt = {BIG}'),
        ('kind = "lif"\nname = "out"\ntau = 3.0', 'kind = "norse.LIF"\nname = "out"\ndt = 1e-320'),
        ('kind = "lif"\nname = "out"\ntau = 3.0', 'kind = "norse.LI"\nname = "out"\ndt = 0.0'),
        ('kind = "lif"\nname = "out"\ntau = 3.0', 'kind = "snntorch.Lapicque"\nname = "out"\nR = 0.0\nC = 1.0'),
        ('kind = "lif"\nname = "out"\ntau = 3.0', 'kind = "snntorch.Lapicque"\nname = "out"\nR = 0.5\nC = 1.0'),
        ('kind = "lif"\nname = "out"\ntau = 3.0', f'kind = "snntorch.Leaky"\nname = "out"\nbeta = {BIG}'),
        ('kind = "lif"\nname = "out"\ntau = 3.0', f'kind = "maxpool"\nname = "out"\nkernel = {BIG}'),
        ('kind = "lif"\nname = "out"\ntau = 3.0', 'kind = "avgpool"\nname = "out"\nkernel = [1, 2, 3]'),
        ('kind = "lif"\nname = "out"\ntau = 3.0', 'kind = "avgpool"\nname = "out"'),
        ("steps = 5", "a = " + "[" * 20_000),
    ],
)  # fmt: skip
def test_values_beyond_measure(tmp_path, change):
    toml = TOML.replace('"lif1", "out"', '"lif1"')
    assert change[0] in toml
    with pytest.raises(SnnCompileError) as caught:
        with_state(tmp_path, STATE, toml.replace(*change))
    assert len(str(caught.value)) < 1000


def test_tensors_that_do_not_fit(tmp_path):
    toml = TOML.replace('"lif1", "out"', '"lif1"')
    for change, sentence in (
        ({"fc1.weight": (3, 4, 1)}, "fc1: weight has 3 dimensions, 2 are needed"),
        ({"fc1.bias": (2,)}, "fc1: bias has 2 values for 3 outputs"),
        ({"lif1.threshold": (2,)}, r"lif1: its threshold has the shape \(2,\), the layer has \(3,\)"),
        ({"fc2.weight": (2, 7)}, "fc2: takes 7 inputs"),
        ({"fc9.weight": (2, 7)}, r"holds 1 tensors that no layer of .* has \(fc9.weight\); describe all layers"),
    ):
        with pytest.raises((UnsupportedModelError, ModelFileError, NetworkError), match=sentence):
            with_state(tmp_path, {**STATE, **change}, toml)
    with pytest.raises(UnsupportedModelError, match=r"lif1: has no tensor lif1.beta and no setting beta; give beta"):
        with_state(tmp_path, {k: v for k, v in STATE.items() if k != "lif1.beta"}, toml)
    with pytest.raises(ModelFileError, match=r"missing.toml: does not exist; check the path"):
        read_torch(tmp_path / "net.pt", replace(OPTIONS, architecture=tmp_path / "missing.toml"))


def test_max_pools_of_what_is_no_spike(tmp_path):
    """`fold` turns a max pool of spikes into neurons, and can do nothing about one of other values."""
    options = replace(OPTIONS, input_shape=(1, 4, 4))
    sentence = "takes the largest of values of {}, which are no spikes; train with AvgPool2d, or pool the spikes behind"
    conv, lif, pool = (lambda: nn.Conv2d(1, 1, 1)), (lambda: neuron("LIFNode")), (lambda: nn.MaxPool2d(2))
    for layers, name, before in (
        ((conv(), pool(), lif()), "1", "0"), ((pool(), conv(), lif()), "0", "input"),
        ((conv(), lif(), pool(), pool()), "3", "2"), ((conv(), lif(), nn.AvgPool2d(2), pool(), lif()), "3", "2"),
    ):  # fmt: skip
        error = refused(tmp_path, nn.Sequential(*layers), f"{name}: {sentence.format(before)}", options)
        assert [f.layer for f in error.findings if f.kind == "unsupported"] == [name]
    read(tmp_path, nn.Sequential(conv(), lif(), nn.Dropout(), nn.Identity(), pool(), conv(), lif()), options)
    unknown = nn.Sequential(conv(), make(f"{JELLY}neuron.QIFNode"), pool(), conv(), lif())
    error = refused(tmp_path, unknown, "1: is a spikingjelly", options)
    assert [f.layer for f in error.findings if f.kind == "unsupported"] == ["1"]
    toml = """[input]\nshape=[1,4,4]\n[[layer]]\nkind="conv2d"\nname="c"\n[[layer]]\nkind="maxpool"\nkernel=2
    [[layer]]\nkind="lif" """
    with pytest.raises(UnsupportedModelError, match=f"maxpool2: {sentence.format('c')}"):
        with_state(tmp_path, {"c.weight": (1, 1, 1, 1)}, toml)


def test_wrappers_and_lists_of_torch(tmp_path):
    dump = read(tmp_path, nn.Sequential(plain())).dump().replace("0.", "module.")
    assert read(tmp_path, nn.DataParallel(plain())).dump() == dump
    order = "whose file does not say in which order its 2 parts compute; give --architecture"
    refused(tmp_path, nn.ModuleList(plain()), f"ModuleList: is a torch.nn.modules.container.ModuleList, {order}")
    net = make(f"{JELLY}model.parametric_lif_net.MNISTNet")
    net.a, net.b = nn.Linear(3, 2), neuron("LIFNode")
    refused(tmp_path, net, f"MNISTNet: is a .*model.parametric_lif_net.MNISTNet, {order}")
    other = make("snntorch._neurons.leaky.Leaky")
    other.recurrent = nn.Linear(2, 2)
    refused(tmp_path, plain(other), "1: is a snntorch.*, which is not read from a whole module; save the state dict")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (('name = "lif1"', 'name = "a\\u001b[31m"'), r"layer 2 has the name 'a\\x1b\[31m'; give each its"),
        (('name = "lif1"', f'name = "{"a" * 201}"'), "layer 2 has the name 'aaa.*; give each its own name of up to"),
        (('kind = "lif"', 'kind = "a\\u001b"'), r"out: is of kind 'a\\x1b'"),
        (("votes = 2", '"a\\u001b[31m" = 2'), r"is no description of layers \(Object contains unknown field `a\?\["),
        (('name = "fc1"', 'name = "fc1"\nx = 1'), "fc1: a linear has no setting 'x'; leave it out$"),
        (('name = "lif1"', 'name = "lif1"\nreset_mechanism = ["x"]'), "lif1: its reset_mechanism is a list"),
        (("lif1.beta", ""), ""),
    ],
)  # fmt: skip
def test_descriptions_that_are_odd(tmp_path, change, sentence):
    toml = TOML.replace('"lif1", "out"', '"lif1"').replace(*change)
    if not sentence:
        toml, sentence = toml.replace('name = "lif1"', 'name = "l"\nbeta = [1, [2]]'), "l: its beta is a list of lists"
    with pytest.raises(SnnCompileError, match=sentence) as caught:
        with_state(tmp_path, STATE, toml)
    assert str(caught.value).isprintable()


def test_constants_of_neurons_that_are_no_number(tmp_path):
    toml = '[[layer]]\nkind="linear"\nname="fc"\n[[layer]]\nkind="{}"\nname="n"\n'
    for kind, state, sentence in (
        ("spikingjelly.ParametricLIFNode", {"n.w": (3,)}, r"n: its w has the shape \(3,\), one number is needed"),
        ("snntorch.Leaky", {"n.beta": (), "n.graded_spikes_factor": (3,)}, "n: its graded_spikes_factor is a ndarray"),
    ):
        with pytest.raises(UnsupportedModelError, match=sentence):
            with_state(tmp_path, {"fc.weight": (3, 4), **state}, toml.format(kind))


def test_what_no_state_dict_says_about_snntorch(tmp_path):
    toml = TOML.replace('"lif1", "out"', '"lif1"')
    for given, late in (("", "its reset acts one step late, as in snnTorch by default; "), ("reset_delay = true", "")):
        network = with_state(tmp_path, STATE, toml.replace('name = "lif1"', f'name = "lif1"\n{given}'))
        (text,) = (f.text for f in network.findings if f.kind == "assumed")
        assert (
            text == f"{late}it has neither inhibition nor state_quant, which change its spikes and are in no state dict"
        )


def test_an_infinite_threshold_is_a_readout(tmp_path):
    net = nn.Sequential(nn.Linear(3, 2), neuron("LIFNode", v_threshold=float("inf"), tau=4.0))
    (readout,) = (node for node in read(tmp_path, net).nodes if isinstance(node, ir.LIF))
    assert (readout.fires, readout.tau) == ("never", 4.0)
