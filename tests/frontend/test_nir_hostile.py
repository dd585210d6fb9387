"""Files that are damaged or lie: one sentence each, no more memory than they deserve, and nothing outside of them."""

import re
import resource
import struct
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snn_compile.errors import ModelFileError, NetworkError, SnnCompileError
from snn_compile.frontend.readers import hdf5_child, hdf5_tree, nir_file
from snn_compile.frontend.readers.nir_graph import read_nir
from snn_compile.frontend.readers.options import ReadOptions

sys.path.insert(0, str(Path(__file__).parent))
from nir_files import TEXT, chain, read, read_here, save, small

WEIGHT = "node/nodes/fc/weight"


def refused(tmp_path, sentence, change=None, graph=None, error=ModelFileError):
    with pytest.raises(error, match=sentence):
        read(tmp_path, graph or small(), change)


def replaced(path, **settings_):
    def change(file):
        if path in file:
            del file[path]
        file.create_dataset(path, **settings_)

    return change


def test_the_small_file_is_valid(tmp_path):
    assert read(tmp_path, small()).dump().splitlines()[1:] == [
        "  in: Input (2,) spikes <-",
        "  fc: Linear (1,) 2 weights + bias <- in",
        "  lif: LIF (1,) tau 10 threshold 1 > hard <- fc",
    ]


def test_no_file_and_no_nir_file(tmp_path):
    for name, content, sentence in (
        ("missing", None, "does not exist"), ("empty", b"", "is empty"), ("text", b"NIR", "is cut off or damaged"),
    ):  # fmt: skip
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match=sentence):
            read_nir(tmp_path / name, ReadOptions(steps=1))
    with pytest.raises(ModelFileError, match="is a directory"):
        read_nir(tmp_path, ReadOptions(steps=1))
    with h5py.File(tmp_path / "other", "w") as file:
        file["layer"] = 1
    with pytest.raises(ModelFileError, match="without the group node, so no NIR file"):
        read_nir(tmp_path / "other", ReadOptions(steps=1))


def test_steps_and_dt_are_needed(tmp_path):
    with pytest.raises(ModelFileError, match="does not say how many steps a sample has; give --steps"):
        read(tmp_path, small(), steps=None)
    with pytest.raises(ModelFileError, match=r"is read with dt = 0.0 s, 1e-12 to 1e6 is possible; give --dt"):
        read(tmp_path, small(), dt=0.0)


def test_a_file_cut_off_anywhere(tmp_path):
    content = save(tmp_path / "whole.nir", small()).read_bytes()
    cut = tmp_path / "cut.nir"
    for length in range(1, len(content), len(content) // 40):
        cut.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match="cut off or damaged"):
            read_here(cut)


def external_link(file):
    del file["node/nodes/fc"]
    file["node/nodes/fc"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(file):
    del file["node/nodes/fc"]
    file["node/nodes/fc"] = h5py.SoftLink("/node/nodes/lif")


def loop(file):
    file["node/nodes/again"] = file["node"]


def twice(file):
    file["node/nodes/again"] = file["node/nodes/fc"]


def external_data(file):
    del file[WEIGHT]
    file.create_dataset(WEIGHT, (1, 2), "f8", external=[("/etc/passwd", 0, 16)])


def virtual(file):
    layout = h5py.VirtualLayout((1, 2), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (1, 2))
    del file[WEIGHT]
    file.create_virtual_dataset(WEIGHT, layout)


def nested(file):
    group = file["node/nodes"]
    for _ in range(40):
        group = group.create_group("g")
        group.create_dataset("type", data="NIRGraph", dtype=TEXT)
        group.create_dataset("edges", data=np.zeros((0, 2)), dtype=TEXT)
        group = group.create_group("nodes")


def crowd(file):
    for i in range(600):
        file["node/nodes"].create_group(f"n{i}")


def long_name(file):
    del file["node/nodes/fc/type"]
    file.create_dataset("node/nodes/fc/type", data="x" * 10**6, dtype=TEXT)


def edges(data):
    return replaced("node/edges", data=data, dtype=TEXT)


@pytest.mark.parametrize(("change", "sentence"), [
    (external_link, "'fc' is a ExternalLink, not in the file itself"),
    (soft_link, "'fc' is a SoftLink"),
    (loop, "node/nodes/again stands at two places"),
    (twice, "stands at two places"),
    (external_data, "lies in another file"),
    (virtual, "lies in another file"),
    (nested, "nests graphs deeper than 16"),
    (crowd, "members, 500 are possible"),
    (long_name, "no text of up to 500 bytes"),
    (edges([("in", "nowhere")]), "an edge at 'nowhere', which is no node of node"),
    (edges([("a", "b", "c")] * 5), "the shape .5, 3., .n, 2. is needed"),
    (edges([("in", "fc")] * 1001), "more than 1000 edges"),
    (replaced("node/edges", data=np.ones((2, 2))), "holds something that is no text"),
    (replaced(WEIGHT, data=np.array([[1.0, np.nan]])), "weight holds NaN or infinity"),
    (replaced(WEIGHT, data=np.array([[1.0, 1e300]])), "holds values beyond 1e.30"),
    (replaced(WEIGHT, data=np.ones((1, 2), complex)), "has the dtype complex128, numbers are needed"),
    (replaced(WEIGHT, data=np.zeros((1, 2), [("a", "f4")])), "numbers are needed"),
    (replaced(WEIGHT, data=["a", "b"], dtype=TEXT), "its text .* has the shape .2,."),
    (replaced(WEIGHT, data=h5py.Empty("f8")), "has the shape None"),
    (replaced("node/type", data="Linear", dtype=TEXT), "holds one Linear, a NIRGraph is needed"),
    (replaced("node/nodes/fc/type", data=3), "its node node/nodes/fc has no type"),
    (lambda file: file.__delitem__("node/nodes/fc/type"), "its node node/nodes/fc has no type"),
    (lambda file: file.__delitem__("node/edges"), "its graph node has no edges"),
    (lambda file: file.__delitem__("node/nodes"), "its graph node has no nodes"),
    (replaced(WEIGHT, data=np.ones((1, 2)), compression="lzf"), r"packed with the filters \[32000\], gzip is possible"),
    (replaced(WEIGHT, shape=(2**20, 2**20), dtype="f8"), "has 8796093022208 bytes, 0 in the file"),
    (replaced(WEIGHT, shape=(2**13, 2**13), dtype="f8", chunks=(1, 1)), "is cut into|bytes, 0 in the file"),
    (replaced(WEIGHT, shape=(2**9, 2**9), dtype="f8", chunks=(1, 1)), "is cut into 262144 chunks"),
    (replaced(WEIGHT, shape=(1, 2), maxshape=(None, None), dtype="f8", chunks=(2**14, 2**13)), "is cut into 1 chunks"),
])  # fmt: skip
def test_one_sentence_for_each_lie(tmp_path, change, sentence):
    refused(tmp_path, sentence, change)


def test_a_chunk_that_unpacks_to_more_than_it_says(tmp_path):
    """HDF5 would unpack all 2 GiB of it; nothing is."""
    bomb = zlib.compressobj(9)
    content = b"".join([*(bomb.compress(bytes(2**20)) for _ in range(64)), bomb.flush()])

    def change(file):
        replaced(WEIGHT, shape=(256, 256), dtype="f8", chunks=(256, 256), compression="gzip")(file)
        file[WEIGHT].id.write_direct_chunk((0, 0), content)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path, "unpacks to something else than it says", change)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**15  # KiB


def test_a_file_of_zeros_that_is_large_when_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_tree, "FREE_BYTES", 2**16)
    change = replaced(WEIGHT, data=np.zeros((512, 512)), compression="gzip")
    refused(tmp_path, "has 2097152 bytes, [0-9]+ in the file", change)


@pytest.mark.parametrize(("nodes", "links", "sentence"), [
    ({}, [("fc", "fc")], "gets 2 inputs|a loop without neurons"),
    ({}, [("lif", "in")], "in: the edge lif -> in enters the Input"),
    ({"a": {"type": "Threshold", "threshold": np.ones(1)}}, [("a", "lif")], "a: is not reached from in"),
    ({"b": {"type": "Linear", "weight": np.ones((3, 2))}}, [("in", "b"), ("b", "lif")],
     r"r has the shape|gets the shapes \(1,\) and \(3,\)|v_reset has the shape"),
])  # fmt: skip
def test_graphs_that_contradict_themselves(tmp_path, nodes, links, sentence):
    graph = small()
    graph["nodes"] |= nodes
    graph["edges"] += links
    refused(tmp_path, sentence, graph=graph, error=NetworkError)


@pytest.mark.parametrize(("kind", "values", "sentence"), [
    ("Conv2d", {"weight": np.ones((1, 1, 1, 1)), "padding": np.array(2**30)}, "its shape is|c: .* possible"),
    ("Conv2d", {"weight": np.ones((1, 1, 2, 2)), "padding": "same", "dilation": np.array(2**25 + 1)},
     "its kernel with its dilation is"),
    ("Conv2d", {"weight": np.ones((1, 1, 1, 1)), "padding": "full"}, "its padding is 'full', same or valid"),
    ("Conv2d", {"weight": np.ones((1, 1, 1, 1)), "stride": np.array(0)}, "stride is 0, 2 whole numbers of at least 1"),
    ("Conv2d", {"weight": np.ones((1, 1, 1, 1)), "stride": np.array(1.5)}, "stride is 1.5"),
    ("Conv2d", {"weight": np.ones((3, 1, 1, 1)), "groups": np.array(2)}, "3 channels in 2 groups"),
    ("Conv2d", {"weight": np.ones((1, 1, 1, 1)), "input_shape": np.array([3, 3])}, "its input_shape is not that"),
    ("AvgPool2d", {"kernel_size": np.array(2**14), "padding": np.array(2**14), "stride": np.array(2**13)},
     "its kernel is"),
])  # fmt: skip
def test_layers_that_would_not_fit_into_memory_or_make_no_sense(tmp_path, kind, values, sentence):
    usual = {"stride": np.array(1), "padding": np.array(0), "dilation": np.array(1), "groups": np.array(1)}
    usual = usual | {"bias": np.zeros(1)} if kind == "Conv2d" else {}
    graph = chain(
        ("in", "Input", {"shape": np.array([1, 4, 4])}), ("c", kind, usual | values),
        ("t", "Threshold", {"threshold": np.array(1.0)}), ("out", "Output", {"shape": np.array([1, 4, 4])}),
    )  # fmt: skip
    refused(tmp_path, sentence, graph=graph, error=NetworkError)


def test_edges_that_double_at_every_layer_end_in_a_sentence(tmp_path):
    """Two edges into each of 20 layers, in rows of two, would be 2^20 copies."""
    layer = {"type": "Linear", "weight": np.eye(2)}
    graph = small()
    graph["nodes"] |= {f"{side}{i}": layer for side in "ab" for i in range(20)}
    graph["edges"] += [("in", "a0"), ("in", "b0"), ("a19", "fc"), ("b19", "fc")]
    graph["edges"] += [(f"{s}{i}", f"{t}{i + 1}") for i in range(19) for s in "ab" for t in "ab"]
    refused(tmp_path, "needs a copy per edge, more than 1000 layers", graph=graph, error=NetworkError)


def test_names_are_made_safe_and_stay_apart(tmp_path):
    graph = small()
    graph["nodes"] = {{"fc": "ü \n"}.get(k, k): v for k, v in graph["nodes"].items()}
    graph["nodes"]["ü \t"] = {"type": "Linear", "weight": np.ones((1, 2))}
    graph["edges"] = [("in", "ü \n"), ("ü \n", "lif"), ("in", "ü \t"), ("ü \t", "lif"), ("lif", "out")]
    names = [node.name for node in read(tmp_path, graph).nodes]
    assert len(set(names)) == 4 and all(re.fullmatch(r"[\w.\-]+", name, re.ASCII) for name in names)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("nir") / "whole.nir"
    return save(path, small()).read_bytes()


@given(st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_give_a_sentence_or_a_network(tmp_path, whole, data):
    """In the child, as some of them crash the library."""
    used = [i for i in range(0, len(whole), 8) if any(whole[i : i + 8])]
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.sampled_from(used)) + data.draw(st.integers(0, 7))
        new = data.draw(st.one_of(st.binary(min_size=1, max_size=4), st.just(struct.pack("<q", -1))))
        content[start : start + len(new)] = new
    path = tmp_path / "fuzzed.nir"
    path.write_bytes(content)
    try:
        read_nir(path, ReadOptions(steps=4))
    except SnnCompileError as error:
        assert "\n" not in str(error)


def endless(content):
    """The first text's heap gets an object that is so long that the next one begins where it does."""
    start = content.index(b"GCOL") + 16
    return content[: start + 8] + struct.pack("<q", -16) + content[start + 16 :]


def test_a_file_on_which_the_library_never_ends(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(hdf5_child, "SECONDS", 5.0)
    path = tmp_path / "endless.nir"
    path.write_bytes(endless(whole))
    with pytest.raises(ModelFileError, match="is damaged: the HDF5 library reads it for more than 5 s; write it again"):
        read_nir(path, ReadOptions(steps=4))


def test_a_library_that_crashes_is_a_sentence(tmp_path, whole, monkeypatch):
    """The child ends as it does when the library crashes."""
    monkeypatch.setattr(hdf5_child.sys, "executable", "/bin/false")
    path = tmp_path / "crash.nir"
    path.write_bytes(whole)
    with pytest.raises(ModelFileError, match="is damaged: the HDF5 library ends with the code 1 on it; write it again"):
        read_nir(path, ReadOptions(steps=4))


def test_the_child_gives_what_is_read_here(tmp_path):
    """Sub-graphs, text, scalars, empty arrays and big-endian numbers."""
    graph = small()
    graph["nodes"]["inner"] = {**small(), "edges": []}
    graph["nodes"]["odd"] = {"type": "Conv2d", "padding": "same", "a": np.arange(6.0).reshape(2, 3).astype(">f4"),
                             "b": np.zeros((0, 3)), "c": np.array(7)}  # fmt: skip
    path = save(tmp_path / "graph.nir", graph)
    here, apart = nir_file.read_graph(path), nir_child.read_graph_apart(path)

    def compare(a, b):
        assert (a.kind, a.edges, list(a.nodes), list(a.values)) == (b.kind, b.edges, list(b.nodes), list(b.values))
        for key, value in a.values.items():
            assert np.array_equal(value, b.values[key]) and np.shape(value) == np.shape(b.values[key])
        for name in a.nodes:
            compare(a.nodes[name], b.nodes[name])

    compare(here, apart)
