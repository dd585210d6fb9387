"""`fold`: everything between two populations becomes one linear layer or convolution.

Batch norm, scaling, the input's normalisation and average pooling are affine, so they go into the weights and biases
of the one synaptic layer on their path; dropout is the identity and flatten a change of shape; max pooling of
spikes becomes neurons. The constant part of a normalisation becomes a bias, so that a black pixel sends nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import UnsupportedError
from .fold_layers import fold_chain
from .network import Network
from .nodes import (
    LIF,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Delay,
    Dropout,
    Flatten,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Normalise,
    Population,
)

POOL_SPIKES = "put it behind spiking neurons, or train with average pooling"
NO_LEAK = 1e9
"""A time constant beyond what 12 bits of decay can tell from none."""


def fold(network: Network) -> Network:
    """The same network with one `Linear` or `Conv2d` (and `Flatten` where shapes ask for it) on each path.

    A `Delay` stays, next to the population whose values it holds back.

    Shapes of populations, outputs and steps stay; every value stays the same up to rounding of float64.

    Raises:
        UnsupportedError: two synaptic layers with no neurons between them, or a pooling that cannot be folded.

    >>> from .nodes import Scale
    >>> net = Network((Input("x", shape=(2,), max_value=4), Scale("half", factor=np.array([0.5])),
    ...                Linear("fc", weight=np.eye(2)), LIF("y")), (("x", "half"), ("half", "fc"), ("fc", "y")), steps=4)
    >>> fold(net).by_name["fc"].weight.tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    network = _pools_as_neurons(network)
    populations = [node for node in network.nodes if isinstance(node, (Input, Population))]
    nodes: list[Node] = []
    edges: list[tuple[str, str]] = []
    taken = {node.name for node in populations}
    for population in populations:
        nodes.append(population)
        for edge_source, target in network.edges:
            if target != population.name:
                continue
            source, chain = path(network, edge_source)
            early, chain, late = take_delays(chain)
            layer = fold_chain(chain, network.shapes[source], f"{source}-{target}")
            layer = replace(layer, name=free_name(layer.name, taken))
            folded = _with_flatten(layer, free_name(f"{layer.name}-flat", taken), network, source, target)
            folded = [*early, *folded, *late]
            nodes += folded
            taken |= {node.name for node in folded}
            edges += itertools.pairwise([source, *(node.name for node in folded), target])
    return replace(network, nodes=tuple(nodes), edges=tuple(edges))


def take_delays(chain: Sequence[Node]) -> tuple[list[Delay], list[Node], list[Delay]]:
    """(delays of the source's values, the other nodes, delays of the target's) of a path."""
    layers = [i for i, node in enumerate(chain) if isinstance(node, (Linear, Conv2d))]
    first = layers[0] if layers else len(chain)
    for i, node in enumerate(chain):
        if isinstance(node, Delay) and isinstance(node.steps, np.ndarray):
            between = chain[:i] if i < first else chain[i + 1 :]
            mixing = [n.name for n in between if isinstance(n, (Linear, Conv2d, AvgPool2d))]
            if mixing:
                problem = f"has delays that differ, and {mixing[0]} mixes them"
                raise UnsupportedError(node.name, problem, "put it right before or behind neurons, or use one delay")
    _check_constants(chain, first)
    early = [node for node in chain[:first] if isinstance(node, Delay)]
    late = [node for node in chain[first:] if isinstance(node, Delay)]
    return early, [node for node in chain if not isinstance(node, Delay)], late


def _check_constants(chain: Sequence[Node], first: int) -> None:
    """Only the bias that a layer has before the delay behind it can be as late as its values."""
    waiting = [i for i, node in enumerate(chain) if isinstance(node, Delay) and bool(np.any(node.steps))]
    for i, node in enumerate(chain):
        crossed = [chain[d].name for d in waiting if (d > i if d < first else d < i)]
        if crossed and _has_constant(node):
            problem = f"adds a constant, and the delay {crossed[0]} between the neurons would move it"
            raise UnsupportedError(node.name, problem, "put the delay next to neurons, and constants on one side of it")


def _has_constant(node: Node) -> bool:
    if isinstance(node, (Linear, Conv2d)):
        return node.bias is not None and bool(node.bias.any())
    return isinstance(node, (BatchNorm, Normalise)) and bool(np.any(node.affine()[1]))


def _pools_as_neurons(network: Network) -> Network:
    """Max pooling of spikes as a population of OR neurons: weight 1 from each neuron of the window, threshold 1/2.

    A neuron that gets a spike fires and is 0 again, one that gets none stays 0, so nothing leaks or adds up.
    """
    nodes: list[Node] = []
    edges = dict.fromkeys(network.edges)
    taken = {node.name for node in network.nodes}
    for node in network.nodes:
        if isinstance(node, MaxPool2d):
            (before,) = (s for s, t in network.edges if t == node.name)
            source, chain = path(network, before)
            spikes = isinstance(network.by_name[source], Population) and all(
                isinstance(step, Dropout) for step in chain
            )
            if not spikes:
                raise UnsupportedError(
                    node.name,
                    f"pools the result of {before}, no spikes",
                    POOL_SPIKES,
                )
            channels = network.shapes[source][0]
            window = np.ones((channels, 1, *node.kernel))
            layer = Conv2d(free_name(f"{node.name}-or", taken), weight=window, stride=node.stride, groups=channels)
            nodes += [layer, LIF(node.name, tau=NO_LEAK, threshold=0.5, decay_input=False)]
            del edges[before, node.name]
            edges |= {(before, layer.name): None, (layer.name, node.name): None}
        else:
            nodes.append(node)
    return replace(network, nodes=tuple(nodes), edges=tuple(edges))


def free_name(name: str, taken: set[str]) -> str:
    """`name`, or with a number behind it where that is taken; taken from now on."""
    numbered = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
    chosen = next(candidate for candidate in numbered if candidate not in taken)
    taken.add(chosen)
    return chosen


def _with_flatten(layer: Linear | Conv2d, name: str, network: Network, source: str, target: str) -> list[Node]:
    nodes: list[Node] = [layer]
    if isinstance(layer, Linear) and len(network.shapes[source]) > 1:
        nodes.insert(0, Flatten(name))
    if isinstance(layer, Conv2d) and len(network.shapes[target]) == 1:
        nodes.append(Flatten(name))
    return nodes


def path(network: Network, name: str) -> tuple[str, list[Node]]:
    """The population that a path comes from, and the stateless nodes on the way, first to last."""
    chain: list[Node] = []
    node = network.by_name[name]
    while not isinstance(node, (Input, Population)):
        chain.append(node)
        node = network.by_name[next(s for s, t in network.edges if t == node.name)]
    return node.name, chain[::-1]
