"""Modules that pickle as SpikingJelly's do, under its class paths, without the library."""

import contextlib
import sys
import types

import torch

JELLY = "spikingjelly.activation_based."


def _stand_in(path, base=torch.nn.Module):
    module, _, name = path.rpartition(".")
    return type(name, (base,), {"__module__": module, "__qualname__": name})


CLASSES = {
    path: _stand_in(path, base)
    for path, base in {
        **{f"{JELLY}neuron.{n}": torch.nn.Module for n in ("LIFNode", "IFNode", "ParametricLIFNode", "QIFNode")},
        **{f"{JELLY}neuron.{file}.{name}": torch.nn.Module
           for file, name in (("lif", "LIFNode"), ("plif", "ParametricLIFNode"), ("integrate_and_fire", "IFNode"))},
        f"{JELLY}surrogate.Sigmoid": torch.nn.Module,
        f"{JELLY}layer.Linear": torch.nn.Linear,
        f"{JELLY}layer.Conv2d": torch.nn.Conv2d,
        f"{JELLY}layer.VotingLayer": torch.nn.Module,
        f"{JELLY}layer.NeuNorm": torch.nn.Module,
        f"{JELLY}layer.SeqToANNContainer": torch.nn.Sequential,
        f"{JELLY}layer.stateless_wrapper.Linear": torch.nn.Linear,
        f"{JELLY}model.parametric_lif_net.MNISTNet": torch.nn.Module,
        "snntorch._neurons.leaky.Leaky": torch.nn.Module,
        "somebody.Net": torch.nn.Module,
    }.items()
}  # fmt: skip


def make(path, *args, **attributes):
    """An instance of the stand-in for a class path, with attributes and, for neurons, a surrogate function."""
    module = CLASSES[path](*args)
    for key, value in attributes.items():
        setattr(module, key, value)
    if ".neuron." in path:
        module.surrogate_function = CLASSES[f"{JELLY}surrogate.Sigmoid"]()
        module.surrogate_function.spiking = attributes.get("spiking", True)
    return module


def neuron(name, file="", **attributes):
    defaults = {"v_threshold": 1.0, "v_reset": 0.0, "tau": 2.0, "decay_input": True}
    return make(f"{JELLY}neuron.{file}{name}", **{**defaults, **attributes})


@contextlib.contextmanager
def importable():
    """While pickling, the classes must be found under their paths."""
    before = dict(sys.modules)
    for path, cls in CLASSES.items():
        parts = path.split(".")
        for end in range(1, len(parts)):
            name = ".".join(parts[:end])
            if name not in sys.modules or name.startswith(("spikingjelly", "snntorch", "somebody")):
                sys.modules.setdefault(name, types.ModuleType(name))
        setattr(sys.modules[path.rpartition(".")[0]], cls.__name__, cls)
    try:
        yield
    finally:
        for name in set(sys.modules) - set(before):
            if name.startswith(("spikingjelly", "snntorch", "somebody")):
                del sys.modules[name]


def save(module, path, **how):
    """`torch.save` of a module made of stand-ins."""
    with importable():
        torch.save(module, path, **how)
    return path
