"""The graphs of a NIR file as one flat graph: sub-graphs are put in place, names joined with a dot."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

from ....errors import NetworkError
from .file import MAX_EDGES, RawNode
from .notes import Notes

PORTS = ("Input", "Output")
ONE_EACH = "give each graph one Input and one Output"
Edge = tuple[str, str]


@dataclass
class FlatGraph:
    """Nodes without graphs in them, by names that are safe and distinct; edges in the order of the file.

    Attributes:
        nodes: all but ports of sub-graphs and the outermost Output.
        source: the name of the outermost Input.
        outputs: what leads to the outermost Output.
    """

    nodes: dict[str, RawNode] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    source: str = ""
    outputs: list[str] = field(default_factory=list)


def inline(root: RawNode, notes: Notes) -> FlatGraph:
    """The flat graph, of which every node is on a way from the input to the output.

    Raises:
        UnsupportedModelError: there is not one Input and one Output in each graph.
        NetworkError: nothing leads from the input to the output.
    """
    flat, taken = FlatGraph(), set[str]()
    inputs, outputs = _add(root, "", flat, taken, notes)
    if len(inputs) != 1:
        notes.unsupported(inputs[1] if inputs else "graph", f"the graph has {len(inputs)} Input nodes", ONE_EACH)
    if len(outputs) != 1:
        notes.unsupported(outputs[1] if outputs else "graph", f"the graph has {len(outputs)} Output nodes", ONE_EACH)
    notes.settle()
    flat.source, sink = inputs[0], outputs[0]
    for port in [name for name, node in flat.nodes.items() if node.kind in PORTS and name not in (flat.source, sink)]:
        _take_out(flat, port)
    _once(flat, notes)
    _keep_what_counts(flat, sink, notes)
    return flat


def safe_name(name: str, taken: set[str]) -> str:
    """A name of letters, digits and ``_.-`` that nothing has yet; taken from now on.

    >>> safe_name("fc/1", {"fc_1"})
    'fc_1-2'
    """
    plain = re.sub(r"[^A-Za-z0-9_.\-]", "_", name)[:120] or "node"
    numbered = itertools.chain([plain], (f"{plain}-{i}" for i in itertools.count(2)))
    chosen = next(candidate for candidate in numbered if candidate not in taken)
    taken.add(chosen)
    return chosen


def _add(graph: RawNode, prefix: str, flat: FlatGraph, taken: set[str], notes: Notes) -> tuple[list[str], list[str]]:
    """Adds the nodes and edges of a graph; returns the names of its inputs and outputs."""
    ends: dict[str, tuple[list[str], list[str]]] = {}
    ports: dict[str, list[str]] = {"Input": [], "Output": []}
    for name, node in graph.nodes.items():
        full = safe_name(f"{prefix}{name}", taken)
        if node.kind == "NIRGraph":
            ends[name] = _add(node, f"{full}.", flat, taken, notes)
            if [len(end) for end in ends[name]] != [1, 1]:
                sizes = f"{len(ends[name][0])} inputs and {len(ends[name][1])} outputs"
                notes.unsupported(full, f"is a graph of {sizes}", ONE_EACH)
            continue
        flat.nodes[full] = node
        ends[name] = [full], [full]
        if node.kind in PORTS:
            ports[node.kind].append(full)
    for source, target in graph.edges:
        flat.edges += [(s, t) for s in ends[source][1] for t in ends[target][0]]
        if len(flat.edges) > 4 * MAX_EDGES:
            raise NetworkError("graph", f"has more than {4 * MAX_EDGES} edges", "leave nodes out")
    return ports["Input"], ports["Output"]


def _take_out(flat: FlatGraph, port: str) -> None:
    before = [s for s, t in flat.edges if t == port and s != port]
    after = [t for s, t in flat.edges if s == port and t != port]
    flat.edges = [edge for edge in flat.edges if port not in edge] + [(s, t) for s in before for t in after]
    if len(flat.edges) > 4 * MAX_EDGES:
        raise NetworkError("graph", f"has more than {4 * MAX_EDGES} edges", "leave nodes out")
    del flat.nodes[port]


def _once(flat: FlatGraph, notes: Notes) -> None:
    distinct = list(dict.fromkeys(flat.edges))
    for edge in distinct:
        if flat.edges.count(edge) > 1:
            notes.add(edge[1], "assumed", f"the edge from {edge[0]} stands twice in the file, it counts once")
    flat.edges = distinct


def _reached(start: str, edges: list[Edge]) -> set[str]:
    following: dict[str, list[str]] = {}
    for s, t in edges:
        following.setdefault(s, []).append(t)
    seen, waiting = {start}, [start]
    while waiting:
        new = [name for name in following.get(waiting.pop(), ()) if name not in seen]
        seen.update(new)
        waiting += new
    return seen


def _keep_what_counts(flat: FlatGraph, sink: str, notes: Notes) -> None:
    """Drops the sink and what does not lead to it; what hears no input stays, to be refused by name."""
    for source, target in flat.edges:
        if target == flat.source or source == sink:
            problem = f"the edge {source} -> {target} enters the Input or leaves the Output"
            raise NetworkError(target, problem, "correct the graph")
    heard = _reached(sink, [(t, s) for s, t in flat.edges])
    if flat.source not in heard:
        raise NetworkError(sink, f"is not reached from {flat.source}", "connect the graph")
    for name in [name for name in flat.nodes if name not in heard]:
        notes.add(name, "exact", "is left out: nothing of it reaches the output")
        del flat.nodes[name]
    reached = _reached(flat.source, flat.edges)
    for name in flat.nodes:
        if name not in reached:
            raise NetworkError(name, f"is not reached from {flat.source}", "connect it or leave it out")
    flat.outputs = [s for s, t in flat.edges if t == sink]
    flat.edges = [edge for edge in flat.edges if edge[0] in heard and edge[1] in heard and sink not in edge]
    del flat.nodes[sink]
