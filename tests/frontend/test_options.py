import subprocess
import sys
from pathlib import Path

import pytest
from snn_compile.errors import UnsupportedError
from snn_compile.frontend.options import TrainOptions


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"method": "magic"}, "--method: is magic; use grad-r or deep-r or stds or rigl or set or dense"),
        ({"reset": "no"}, "--reset: is no; use hard or soft"),
        ({"encoding": "bias"}, "--encoding: is bias; use graded or rate"),
        ({"density": 0.0}, "--density: is 0.0; choose a share above 0"),
        ({"density": 1.5}, "--density: is 1.5"),
        ({"validation": 0.9}, "--validation: is 0.9; choose a share above 0 and up to 0.5"),
        ({"alpha": -1.0}, "--alpha: is -1.0; choose 0 or more"),
        ({"alpha": 0.1, "method": "set"}, "--alpha: is 0.1; leave it out, or use --method grad-r, whose prior it is"),
        ({"count": "bits"}, "--count: is bits; use weights or synapses"),
        ({"count": "synapses", "method": "set"}, "--count: is synapses; leave it out, or use --method grad-r"),
        ({"fit": "loihi2", "cores": 1, "method": "set"}, "--fit: is loihi2; leave it out, or use --method grad-r"),
        ({"fit": "loihi2", "cores": 1, "alpha": 0.1}, "--fit: is loihi2; leave out --alpha"),
        ({"fit": "loihi2", "cores": 1, "count": "synapses"}, "--fit: is loihi2; leave out --count"),
        ({"fit": "loihi3", "cores": 1}, "--fit: is loihi3; use loihi1 or loihi2"),
        ({"fit": "loihi1", "cores": 1, "quantise_aware": True}, "--fit: is loihi1; leave out --quantise-aware"),
        ({"fit": "loihi2", "cores": 1025}, "--cores: is 1025; the largest board of loihi2 has 1024"),
        ({"fit": "loihi2"}, "--fit: is loihi2; say with --cores how many"),
        ({"cores": 2}, "--cores: is 2; say with --fit of which chip"),
        ({"fit": "loihi2", "cores": 0}, "--cores: is 0; choose 1 or more"),
        ({"epochs": 0}, "--epochs: is 0; choose 1 or more"),
        ({"steps": 0}, "--steps: is 0"),
        ({"batch": 0}, "--batch: is 0"),
        ({"seed": -1}, "--seed: is -1"),
        ({"hidden": (4, 0)}, r"--hidden: is \(4, 0\)"),
        ({"lr": 0.0}, "--lr: is 0.0"),
        ({"tau": 0.5}, "--tau: is 0.5; choose 1 or more"),
        ({"threshold": float("nan")}, "--threshold: is nan"),
    ],
)
def test_an_option_out_of_range_is_a_sentence(settings, sentence):
    with pytest.raises(UnsupportedError, match=sentence):
        TrainOptions(**settings)


def test_the_command_repeats_the_run():
    options = TrainOptions(method="dense", hidden=(32, 16), lr=0.5, epochs=3, out=Path("a/b.pt"))
    assert options.command == (
        "snn-train --data digits --method dense --epochs 3 --seed 0 --hidden 32,16 --lr 0.5 --out a/b.pt"
    )


def test_the_command_has_what_decides_the_weights():
    options = TrainOptions(augment=True, data_dir="d", resume="r", log="l", out="m.pt")
    assert options.command == (
        "snn-train --data digits --method grad-r --density 0.1 --epochs 200 --seed 0 --augment --out m.pt"
    )


def test_the_methods_are_the_rules():
    pytest.importorskip("torch")
    from snn_compile.frontend.options import METHODS
    from snn_compile.frontend.rules import RULES

    assert tuple(RULES) == METHODS


def test_options_data_and_readers_need_no_torch():
    code = (
        "import sys; import snn_compile.frontend.options, snn_compile.frontend.data, snn_compile.frontend.progress, "
        "snn_compile.frontend.readers; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
