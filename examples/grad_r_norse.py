"""Grad R on a Norse network: scikit-learn's digits, a tenth of the weights, saved as a state dict.

Ten seconds on one core; needs the extras `train` and `frameworks`.
"""

import argparse
from pathlib import Path

import norse.torch as norse
import torch
from snn_compile.frontend import GradR
from snn_compile.frontend.data import load
from torch import nn
from torch.nn import functional as F

STEPS = 8
DENSITY = 0.1
DT = 0.001
TAU_MEM_INV = 500.0  # dt * tau_mem_inv = 0.5: tau is 2 steps
ARCHITECTURE = f"""\
steps = {STEPS}

[input]
shape = [64]
encoding = "graded"
max_value = 16

[[layer]]
kind = "linear"
name = "fc1"

[[layer]]
kind = "norse.LIFBox"
name = "lif1"
dt = {DT}
tau_mem_inv = {TAU_MEM_INV}

[[layer]]
kind = "linear"
name = "fc2"

[[layer]]
kind = "norse.LIFBox"
name = "lif2"
dt = {DT}
tau_mem_inv = {TAU_MEM_INV}
"""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        neuron = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(TAU_MEM_INV), alpha=torch.tensor(5.0))
        self.fc1, self.lif1 = nn.Linear(64, 128), norse.LIFBoxCell(neuron, dt=DT)
        self.fc2, self.lif2 = nn.Linear(128, 10), norse.LIFBoxCell(neuron, dt=DT)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """The firing rates (batch, 10); a pixel's value / 16 enters in every step: graded, max_value 16."""
        first, second, spikes = None, None, []
        for _ in range(STEPS):
            sent, first = self.lif1(self.fc1(samples.float() / 16), first)
            sent, second = self.lif2(self.fc2(sent), second)
            spikes.append(sent)
        return torch.stack(spikes).mean(0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("digits-norse.pt"))
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    digits = load("digits")
    samples, labels = torch.from_numpy(digits.train_samples), torch.from_numpy(digits.train_labels)
    net = Net()
    batches = -(-len(samples) // 64)
    optimiser = GradR(net, density=DENSITY, steps=options.epochs * batches)
    for _ in range(options.epochs):
        for index in torch.randperm(len(samples)).split(64):
            optimiser.zero_grad()
            F.mse_loss(net(samples[index]), F.one_hot(labels[index], 10).float()).backward()
            optimiser.step()
    with torch.no_grad():
        rates = net(torch.from_numpy(digits.test_samples))
    accuracy = (rates.argmax(1).numpy() == digits.test_labels).mean()
    architecture = options.out.with_suffix(".toml")
    torch.save(net.state_dict(), options.out)
    architecture.write_text(ARCHITECTURE)
    print(f"density {optimiser.connectivity():.2%}, test accuracy {accuracy:.2%}")
    print(f"snn-compile {options.out} --architecture {architecture} --target loihi2")


if __name__ == "__main__":
    main()
