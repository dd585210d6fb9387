import math

import pytest

torch = pytest.importorskip("torch")

from snn_compile.frontend import controller  # noqa: E402


def test_the_wanted_share_falls_geometrically_and_stays():
    shares = [controller.wanted(0.05, step, 1000) for step in (0, 300, 600, 601, 1000)]
    assert shares == pytest.approx([1.0, math.sqrt(0.05), 0.05, 0.05, 0.05])
    assert controller.wanted(0.05, 1, 1) == pytest.approx(0.05)


def test_the_last_step_is_a_control_point():
    assert [done for done in range(1, 451) if controller.is_control_point(done, 450)][-2:] == [448, 450]
    assert controller.is_control_point(1, 1)
