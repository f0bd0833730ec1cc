"""The shipped models as ONNX graphs, for a page that draws by itself.

The weights are stored in float16, as they are shipped, and are cast when a graph is loaded: what is
computed is float32, the same as here.
"""

import io
import warnings
from collections.abc import Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
LEAST = 256  # numbers in a tensor that is worth a cast


def to_onnx(
    module: torch.nn.Module, given: dict[str, torch.Tensor], outputs: Sequence[str]
) -> bytes:
    """A module as an ONNX graph in bytes. given: an example of each input, by name, in order."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            tuple(given.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(given),
            output_names=list(outputs),
            verbose=False,
        )
        program.save(stream)
    return in_half(onnx.load_from_string(stream.getvalue())).SerializeToString()


def in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with its float32 weights kept as float16 and cast when they are used.

    A tensor that float16 cannot hold to the last bit stays as it is.
    """
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size < LEAST or not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for node in graph.node:  # where each came from in torch, longer than the graph
        del node.metadata_props[:]
    del graph.value_info[:]
    return model
