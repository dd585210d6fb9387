"""Grad R on lava-dl's slayer blocks: scikit-learn's digits, a tenth of the weights, saved as a `.net` of integers.

Twenty seconds on one core; needs the extras `train` and `lava-dl` (Python 3.10).
"""

import argparse
from pathlib import Path

import h5py
import torch
from lava.lib.dl import slayer
from snn_compile.frontend import GradR
from snn_compile.frontend.data import load
from torch import nn
from torch.nn import functional as F

STEPS = 8
DENSITY = 0.1
NEURON = {"current_decay": 1.0, "voltage_decay": 0.5, "tau_grad": 1.0, "scale_grad": 1.0}


class Net(nn.Module):
    """Two dense blocks whose weights are 8-bit in every forward pass; layers hear each other in the same step."""

    def __init__(self) -> None:
        super().__init__()
        first, second = ({"threshold": threshold, **NEURON} for threshold in (8.0, 2.0))
        self.blocks = nn.ModuleList(
            [
                slayer.block.cuba.Dense(first, 64, 128, delay_shift=False),
                slayer.block.cuba.Dense(second, 128, 10, delay_shift=False),
            ]
        )

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """The firing rates (batch, 10); a pixel's value, 0 to 16, enters in every step as it is."""
        x = samples.float().unsqueeze(-1).expand(*samples.shape, STEPS).contiguous()
        for block in self.blocks:
            x = block(x)
        return x.mean(-1)

    def export_hdf5(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            layers = file.create_group("layer")
            for number, block in enumerate(self.blocks):
                block.export_hdf5(layers.create_group(f"{number}"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("digits-slayer.net"))
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    digits = load("digits")
    samples, labels = torch.from_numpy(digits.train_samples), torch.from_numpy(digits.train_labels)
    net = Net()
    batches = -(-len(samples) // 64)
    optimiser = GradR(net, density=DENSITY, steps=options.epochs * batches, lr=0.03)
    for _ in range(options.epochs):
        for index in torch.randperm(len(samples)).split(64):
            optimiser.zero_grad()
            F.mse_loss(net(samples[index]), F.one_hot(labels[index], 10).float()).backward()
            optimiser.step()
    with torch.no_grad():
        rates = net(torch.from_numpy(digits.test_samples))
    accuracy = (rates.argmax(1).numpy() == digits.test_labels).mean()
    net.export_hdf5(options.out)
    print(f"density {optimiser.connectivity():.2%}, test accuracy {accuracy:.2%}")
    print(f"snn-compile {options.out} --steps {STEPS} --encoding graded --max-value 16 --target loihi2")


if __name__ == "__main__":
    main()
