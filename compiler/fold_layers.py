"""The layers between two populations as one: affine maps and pooling go into weights and biases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import UnsupportedError
from .nodes import (
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Dropout,
    Flatten,
    FloatArray,
    Linear,
    Node,
    Normalise,
    Scale,
    Shape,
)

Affine = tuple[FloatArray, FloatArray]
RELAY_MAX = 2**13
"""Neurons of a flat layer that stands in a matrix of one weight each."""


def fold_chain(chain: Sequence[Node], shape: Shape, name: str) -> Linear | Conv2d:
    before: list[Node] = []
    layer: Linear | Conv2d | None = None
    after_shape = shape
    for node in chain:
        after_shape = node.output_shape(after_shape)
        if isinstance(node, (Linear, Conv2d)):
            layer = _fold_before(before, node, shape) if layer is None else _product(layer, node)
        elif layer is None:
            before.append(node)
        else:
            layer = _fold_after(layer, node)
    if layer is None:
        layer = _fold_before([], *_relay(before, shape, name))
    return layer


def _product(first: Linear | Conv2d, second: Linear | Conv2d) -> Linear:
    """Two linear layers with no neurons between them, as one with the name of the second."""
    if not (isinstance(first, Linear) and isinstance(second, Linear)):
        problem = f"follows {first.name} with no neurons between them"
        raise UnsupportedError(second.name, problem, "multiply the two, or add neurons")
    weight = second.weight.astype(np.float64) @ first.weight
    if first.bias is None:
        return replace(second, weight=weight)
    bias = second.weight @ first.bias.astype(np.float64) + (0 if second.bias is None else second.bias)
    return replace(second, weight=weight, bias=bias)


def _relay(before: Sequence[Node], shape: Shape, name: str) -> tuple[Conv2d | Linear, Shape]:
    """A path without weights of its own (pooling, scaling or nothing) as a depthwise convolution."""
    if len(shape) != 3:
        size = math.prod(shape)
        if size > RELAY_MAX:
            problem = f"connects {size} neurons one to one, {RELAY_MAX} are possible"
            raise UnsupportedError(name, problem, "give the layer the shape (channels, rows, columns)")
        layer: Linear | Conv2d = Linear(name, weight=np.eye(size))
    else:
        layer = Conv2d(name, weight=np.ones((shape[0], 1, 1, 1)), groups=shape[0])
    for node in before:
        layer = _fold_after(layer, node)
    return layer, shape


def _affine(node: Node, channels: int) -> Affine:
    if not isinstance(node, (BatchNorm, Normalise, Scale)):
        raise UnsupportedError(
            node.name, f"is a {type(node).__name__} in a place where it cannot be folded", "move it before the weights"
        )
    gain, shift = (np.asarray(a, np.float64) for a in node.affine())
    sizes = {len(gain), len(shift)} - {1, channels}
    if sizes:
        raise UnsupportedError(node.name, f"has {max(sizes)} channels, its input has {channels}", "correct the model")
    return np.broadcast_to(gain, channels), np.broadcast_to(shift, channels)


def _fold_after(layer: Linear | Conv2d, node: Node) -> Linear | Conv2d:
    """`node` applied to the result of `layer`."""
    if isinstance(node, (Dropout, Flatten)):
        return layer
    if isinstance(node, AvgPool2d):
        if not isinstance(layer, Conv2d):
            raise UnsupportedError(node.name, f"pools the result of {layer.name}, which has no rows", "leave it out")
        return _pool_after(layer, node)
    gain, shift = _affine(node, layer.weight.shape[0])
    weight = layer.weight * gain.reshape(-1, *[1] * (layer.weight.ndim - 1))
    if layer.bias is None:
        bias = shift if shift.any() else None
    else:
        flat = [1] * (layer.bias.ndim - 1)
        bias = layer.bias * gain.reshape(-1, *flat) + shift.reshape(-1, *flat)
    return replace(layer, weight=weight, bias=bias)


def _pool_after(layer: Conv2d, pool: AvgPool2d) -> Conv2d:
    """Averaging the results of a convolution: a larger kernel with a longer stride, dilation unrolled."""
    out, inside, rows, columns = layer.weight.shape
    (dy, dx), (sy, sx), (ky, kx) = layer.dilation, layer.stride, pool.kernel
    size = (dy * (rows - 1) + 1 + sy * (ky - 1), dx * (columns - 1) + 1 + sx * (kx - 1))
    weight = np.zeros((out, inside, *size))
    for y, x in np.ndindex(ky, kx):
        top, left = sy * y, sx * x
        weight[:, :, top : top + dy * (rows - 1) + 1 : dy, left : left + dx * (columns - 1) + 1 : dx] += layer.weight
    if layer.bias is not None and layer.bias.ndim == 3:
        raise UnsupportedError(pool.name, f"pools {layer.name}, whose bias differs by place", "leave the padding out")
    stride = (sy * pool.stride[0], sx * pool.stride[1])
    return replace(layer, weight=weight / (ky * kx), stride=stride, dilation=(1, 1))


def _fold_before(before: Sequence[Node], layer: Linear | Conv2d, shape: Shape) -> Linear | Conv2d:
    """`layer` applied to the result of the nodes in `before`, which see an input of `shape`."""
    gain, shift = np.ones(shape[0]), np.zeros(shape[0])
    pools: list[AvgPool2d] = []
    current = shape
    for node in before:
        if isinstance(node, Flatten):
            repeat = math.prod(current) // current[0]
            gain, shift = np.repeat(gain, repeat), np.repeat(shift, repeat)
        elif isinstance(node, AvgPool2d):
            pools.append(node)
        elif not isinstance(node, Dropout):
            more, add = _affine(node, current[0])
            gain, shift = gain * more, shift * more + add
        current = node.output_shape(current)
    layer = _affine_before(layer, gain, shift, current)
    for pool, pooled in reversed(list(zip(pools, _pooled_shapes(pools, shape), strict=True))):
        layer = _pool_before(layer, pool, pooled)
    return layer


def _pooled_shapes(pools: Sequence[AvgPool2d], shape: Shape) -> list[Shape]:
    """The shape that enters each pooling."""
    shapes = []
    for pool in pools:
        shapes.append(shape)
        shape = pool.output_shape(shape)
    return shapes


def _affine_before(layer: Linear | Conv2d, gain: FloatArray, shift: FloatArray, shape: Shape) -> Linear | Conv2d:
    """`layer` applied to gain * x + shift, both per channel of `shape`."""
    if isinstance(layer, Linear):
        weight = layer.weight * gain
        extra = layer.weight @ shift
    else:
        inside = layer.weight.shape[1]
        group = np.repeat(np.arange(layer.groups), layer.weight.shape[0] // layer.groups)
        channels = group[:, None] * inside + np.arange(inside)
        weight = layer.weight * gain[channels][:, :, None, None]
        extra = _constant_response(layer, shift[channels], shape)
    if not shift.any():
        return replace(layer, weight=weight)
    bias = extra if layer.bias is None else layer.bias.reshape(-1, *[1] * (extra.ndim - 1)) + extra
    return replace(layer, weight=weight, bias=bias)


def _constant_response(layer: Conv2d, shift: FloatArray, shape: Shape) -> FloatArray:
    """What a convolution makes of an image that is constant per channel and zero in its padding.

    (out,) without padding; (out, rows, columns) with it, where the border differs.
    """
    taps = np.einsum("ocyx,oc->oyx", layer.weight, shift)
    if layer.padding == (0, 0):
        return np.asarray(taps.sum(axis=(1, 2)))
    _, rows, columns = layer.output_shape(shape)
    inside = []
    for axis, count in ((0, rows), (1, columns)):
        place = np.arange(count)[:, None] * layer.stride[axis] - layer.padding[axis]
        place = place + np.arange(taps.shape[1 + axis]) * layer.dilation[axis]
        inside.append(((place >= 0) & (place < shape[1 + axis])).astype(np.float64))
    response: FloatArray = np.einsum("oyx,ry,cx->orc", taps, inside[0], inside[1])
    return response


def _pool_before(layer: Linear | Conv2d, pool: AvgPool2d, shape: Shape) -> Linear | Conv2d:
    """`layer` applied to the average pooling of an image of `shape`."""
    (ky, kx), (sy, sx) = pool.kernel, pool.stride
    if isinstance(layer, Linear):
        channels, rows, columns = pool.output_shape(shape)
        small = layer.weight.reshape(-1, channels, rows, columns)
        large = np.zeros((len(small), *shape))
        for y, x in np.ndindex(ky, kx):
            large[:, :, y : y + sy * (rows - 1) + 1 : sy, x : x + sx * (columns - 1) + 1 : sx] += small
        return replace(layer, weight=large.reshape(len(small), -1) / (ky * kx))
    exact = all(k == s and n % s == 0 for k, s, n in zip(pool.kernel, pool.stride, shape[1:], strict=True))
    if layer.padding != (0, 0) and not exact:
        raise UnsupportedError(
            pool.name, f"does not tile its input {shape} and {layer.name} pads its result", "pool without remainder"
        )
    out, inside, rows, columns = layer.weight.shape
    (dy, dx) = (sy * layer.dilation[0], sx * layer.dilation[1])
    weight = np.zeros((out, inside, dy * (rows - 1) + ky, dx * (columns - 1) + kx))
    for y, x in np.ndindex(ky, kx):
        weight[:, :, y : y + dy * (rows - 1) + 1 : dy, x : x + dx * (columns - 1) + 1 : dx] += layer.weight
    return replace(
        layer,
        weight=weight / (ky * kx),
        stride=(sy * layer.stride[0], sx * layer.stride[1]),
        padding=(sy * layer.padding[0], sx * layer.padding[1]),
        dilation=(1, 1),
    )
