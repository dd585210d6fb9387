"""Grad R on a SpikingJelly network: scikit-learn's digits, a tenth of the weights, saved as a module.

Ten seconds on one core; needs the extras `train` and `frameworks`.
"""

import argparse
from pathlib import Path

import torch
from snn_compile.frontend import GradR
from snn_compile.frontend.data import load
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn
from torch.nn import functional as F

STEPS = 8
DENSITY = 0.1


def currents(samples: torch.Tensor) -> torch.Tensor:
    """(T, batch, 64): each pixel's value / 16 in every step, which is `--encoding graded --max-value 16`."""
    return (samples.float() / 16).expand(STEPS, *samples.shape)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("digits-spikingjelly.pt"))
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    digits = load("digits")
    samples, labels = torch.from_numpy(digits.train_samples), torch.from_numpy(digits.train_labels)
    net = nn.Sequential(
        layer.Linear(64, 128, bias=False),
        neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan(), detach_reset=True),
        layer.Linear(128, 10, bias=False),
        neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan(), detach_reset=True),
    )
    functional.set_step_mode(net, "m")
    batches = -(-len(samples) // 64)
    optimiser = GradR(net, density=DENSITY, steps=options.epochs * batches)
    for _ in range(options.epochs):
        for index in torch.randperm(len(samples)).split(64):
            optimiser.zero_grad()
            F.mse_loss(net(currents(samples[index])).mean(0), F.one_hot(labels[index], 10).float()).backward()
            optimiser.step()
            functional.reset_net(net)
    with torch.no_grad():
        rates = net(currents(torch.from_numpy(digits.test_samples))).mean(0)
    functional.reset_net(net)
    accuracy = (rates.argmax(1).numpy() == digits.test_labels).mean()
    torch.save(net, options.out)
    print(f"density {optimiser.connectivity():.2%}, test accuracy {accuracy:.2%}")
    print(f"snn-compile {options.out} --steps {STEPS} --encoding graded --max-value 16 --target loihi2")


if __name__ == "__main__":
    main()
