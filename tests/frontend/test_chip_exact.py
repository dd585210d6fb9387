import numpy as np
import pytest

torch = pytest.importorskip("torch")

from snn_compile.compiler.fixed import FixedInput, FixedNetwork, FixedPopulation, FixedProjection  # noqa: E402
from snn_compile.compiler.synapses import Synapses  # noqa: E402
from snn_compile.errors import DataError  # noqa: E402
from snn_compile.frontend import chip_exact  # noqa: E402

torch.set_num_threads(1)


def population(name, size=1, du=4095, dv=0, vth=1000, offset=0, bias=0, exp=0):
    index = np.arange(size)
    return FixedPopulation(name, (size,), index, du, dv, vth, np.full(size, bias), np.full(size, exp), offset)


def projection(source, target, matrix, exponent=0, delays=None, host=False):
    return FixedProjection(source, target, Synapses.from_dense(np.array(matrix, np.int16), delays), exponent, host)


def pixels(size=1, encoding="graded", levels=16):
    return FixedInput("x", (size,), encoding, 16, levels)


def run(populations, projections, samples, source=None, outputs=("y",), steps=4):
    network = FixedNetwork((source or pixels(),), tuple(populations), tuple(projections), outputs, steps)
    return chip_exact.forward(network, np.array(samples, np.uint8), traces=True)


def test_decay_of_v_truncates_toward_zero_and_the_threshold_is_strict():
    # a = -3 * 1 per step: u = -192; v = tz(v * 2048, 12) + u: -192, -288, -336, -360
    result = run([population("y", dv=2048)], [projection("x", "y", [[-3]])], [[1]])
    assert result.traces["y"].u[0, :, 0].tolist() == [-192] * 4
    assert result.traces["y"].v[0, :, 0].tolist() == [-192, -288, -336, -360]
    # odd negative value: v = -193 -> |v| * 2048 >> 12 = 96 (floor would give -97)
    result = run([population("y", dv=2048, bias=-193)], [projection("x", "y", [[1]])], [[0]], steps=2)
    assert result.traces["y"].v[0, :, 0].tolist() == [-193, -96 - 193]
    # v = vth << 6 does not fire, one more does
    for bias, spikes in ((640, [0]), (641, [1])):
        result = run([population("y", vth=10, bias=bias)], [projection("x", "y", [[1]])], [[0]], steps=1)
        assert result.traces["y"].spikes[0, :, 0].tolist() == spikes


def test_u_keeps_its_memory_and_is_not_reset():
    # du = 2047: u = tz(u * 2048, 12) + 64 a; vth 1: fires when v > 64
    result = run([population("y", du=2047, dv=4096 - 1, vth=1)], [projection("x", "y", [[1]])], [[1]], steps=3)
    assert result.traces["y"].u[0, :, 0].tolist() == [64, 96, 112]
    # v = tz(v, 12) + u = 64 (no spike), 96 (spike, 0), 112 (spike, 0)
    assert result.traces["y"].v[0, :, 0].tolist() == [64, 0, 0]
    assert result.counts.tolist() == [[2]]


def test_v_saturates():
    result = run(
        [population("y", du=-1, vth=2**17 - 1, bias=-4096, exp=7)], [projection("x", "y", [[-256]], 4)], [[16]]
    )
    assert result.traces["y"].v[0, :2, 0].tolist() == [-524288 - 4194304, -(2**23 - 1)]


def test_exponents_shift_each_projection_for_itself():
    # two inputs of -3 each into one projection >> 1: floor(-6 / 2) = -3; two projections: -2 + -2
    both = run([population("y")], [projection("x", "y", [[-3, -3]], -1)], [[1, 1]], pixels(2))
    assert both.traces["y"].u[0, 0, 0] == -3 * 64
    network = FixedNetwork(
        (FixedInput("p", (1,), "graded", 16, 16), FixedInput("q", (1,), "graded", 16, 16)),
        (population("y"),),
        (projection("p", "y", [[-3]], -1), projection("q", "y", [[-3]], -1)),
        ("y",),
        4,
    )
    one = np.ones((1, 1), np.uint8)
    result = chip_exact.forward(network, {"p": one, "q": one}, traces=True)
    assert result.traces["y"].u[0, 0, 0] == -4 * 64
    left = run([population("y")], [projection("x", "y", [[-3]], 2)], [[1]])
    assert left.traces["y"].u[0, 0, 0] == -12 * 64
    with pytest.raises(DataError, match=r"q: is an input without samples; give one array per input"):
        chip_exact.forward(network, {"p": one})
    with pytest.raises(DataError, match=r"samples: differ in number between the inputs"):
        chip_exact.forward(network, {"p": one, "q": np.ones((2, 1), np.uint8)})


def test_each_delay_is_shifted_for_itself_and_arrives_later():
    delays = np.array([[0, 2]])
    result = run([population("y")], [projection("x", "y", [[-3, -3]], -1, delays)], [[1, 1]], pixels(2))
    assert (result.traces["y"].u[0, :, 0] // 64).tolist() == [-2, -2, -4, -4]


def test_layers_meet_in_the_same_local_step():
    populations = [population("y", offset=1, vth=0), population("h", offset=0, vth=10)]  # listed out of order
    result = run(populations, [projection("x", "h", [[5]]), projection("h", "y", [[2]])], [[1]], steps=6)
    # h: v = 5, 10, 15 -> spike, 5, 10, 15 -> spike; y fires in the same local step
    assert result.traces["h"].spikes[0, :, 0].tolist() == [0, 0, 1, 0, 0, 1]
    assert result.traces["y"].spikes[0, :, 0].tolist() == [0, 0, 1, 0, 0, 1]
    assert result.activity.spikes["h"].tolist() == [2]
    assert result.activity.spikes["x"].tolist() == [6]
    assert result.activity.synops == 6 + 2


def test_recurrence_and_skipped_layers_arrive_later():
    # y excites itself with lag 1; x also reaches z (offset 1) directly, one step after its window begins
    populations = [population("y", vth=3, offset=0), population("z", vth=100, offset=0)]
    projections = [projection("x", "y", [[4]]), projection("y", "y", [[-4]]), projection("y", "z", [[1]])]
    result = run(populations, projections, [[1]], outputs=("y", "z"))
    # step 0: v = 4 fires; step 1: 4 - 4 = 0; step 2: 4 fires; ...
    assert result.traces["y"].spikes[0, :, 0].tolist() == [1, 0, 1, 0]
    assert (result.traces["z"].u[0, :, 0] // 64).tolist() == [0, 1, 0, 1]
    assert result.counts.tolist() == [[2, 0]]


def test_the_host_adds_to_the_bias_mantissa():
    host = [projection("x", "y", [[-3, 7]], -1, host=True)]
    result = run([population("y", bias=10, exp=2)], host, [[1, 0], [0, 1]], pixels(2, "bias"))
    # floor(-3 / 2) = -2, floor(7 / 2) = 3
    assert result.traces["y"].v[:, 0, 0].tolist() == [(10 - 2) << 2, (10 + 3) << 2]
    assert result.activity.synops == 0


def test_rate_input_chunks_and_no_samples(monkeypatch):
    source = pixels(encoding="rate", levels=1)
    samples = [[0], [4], [8], [16], [16]]
    parts = ([population("y", vth=0)], [projection("x", "y", [[1]])])
    whole = run(*parts, samples, source)
    assert whole.counts.tolist() == [[0], [1], [2], [4], [4]]
    monkeypatch.setattr(chip_exact, "CHUNK", 2)
    chunked = run(*parts, samples, source)
    assert chunked.output_spikes_sha256 == whole.output_spikes_sha256
    assert np.array_equal(chunked.traces["y"].v, whole.traces["y"].v)
    assert run(*parts, np.zeros((0, 1)), source).counts.shape == (0, 1)
