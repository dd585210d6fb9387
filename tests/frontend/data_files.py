"""Writes small data sets in the formats in which they are published."""

from __future__ import annotations

import gzip
import pickle

import numpy as np

PARTS = (("train", 12), ("t10k", 5))


def idx(array):
    """An array of bytes as an IDX file."""
    array = np.ascontiguousarray(array, np.uint8)
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def mnist(folder, *, packed=True, seed=0):
    """The four files of a small MNIST; returns its arrays by the name of the file."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for part, count in PARTS:
        arrays[f"{part}-images-idx3-ubyte"] = random.integers(0, 256, (count, 28, 28), np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = random.integers(0, 10, count).astype(np.uint8)
    for name, array in arrays.items():
        write(folder / name, idx(array), packed)
    return arrays


def write(path, data, packed):
    if packed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(data))
    else:
        path.write_bytes(data)


def cifar_batches(seed=0):
    """Images (n, 3, 32, 32) and labels by batch, of different sizes."""
    random = np.random.default_rng(seed)
    names = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]
    return {
        name: (random.integers(0, 256, (2 + k, 3, 32, 32), np.uint8), random.integers(0, 10, 2 + k).astype(np.uint8))
        for k, name in enumerate(names)
    }


def cifar_binary(folder, batches):
    folder.mkdir(parents=True, exist_ok=True)
    for name, (images, labels) in batches.items():
        records = np.concatenate([labels[:, None], images.reshape(len(images), -1)], axis=1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())


def python_3(images, labels, changes=None):
    """A batch of the Python version as Python 3 writes it; `changes` replace its parts."""
    content = {
        b"batch_label": b"training batch 1 of 5",
        b"labels": [int(label) for label in labels],
        b"data": images.reshape(len(images), -1),
        b"filenames": [f"leptodactylus_s_{k:06}.png".encode() for k in range(len(images))],
    }
    return pickle.dumps({**content, **(changes or {})}, 2)


def short(text):
    raw = text.encode("latin-1") if isinstance(text, str) else text
    return b"U" + bytes([len(raw)]) + raw


def number(value):
    return b"K" + bytes([value]) if value < 256 else b"M" + value.to_bytes(2, "little")


def array_2(values, code="u1", order=b"\x89"):
    """An array as numpy pickled it in Python 2."""
    head = b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85" + short("b") + b"\x87Rq\x09"
    dtype = b"cnumpy\ndtype\nq\x0a" + short(code) + b"K\x00K\x01\x87Rq\x0b"
    state = b"(K\x03" + short("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"(" + b"".join(map(number, values.shape)) + b"t"
    raw = values.tobytes(order="F" if order == b"\x88" else "C")
    return head + b"(K\x01" + shape + dtype + state + order + b"T" + len(raw).to_bytes(4, "little") + raw + b"tb"


def python_2(images, labels, order=b"\x89", code="u1"):
    """A batch as it is published: protocol 2 with the byte strings of Python 2."""
    values = b"](" + b"".join(number(int(label)) for label in labels) + b"e"
    names = b"](" + b"".join(short("leptodactylus_s_000004.png") + b"r\x00\x01\x00\x00" for _ in labels) + b"e"
    return (
        b"\x80\x02}q\x01("
        + (short("batch_label") + b"q\x02" + short("training batch 1 of 5") + b"q\x03")
        + (short("labels") + b"q\x04" + values)
        + (short("data") + b"q\x06" + array_2(images.reshape(len(images), -1), code, order))
        + (short("filenames") + b"q\x0c" + names)
        + b"u."
    )


def cifar_python(folder, batches, dump):
    folder.mkdir(parents=True, exist_ok=True)
    for name, (images, labels) in batches.items():
        (folder / name).write_bytes(dump(images, labels))
