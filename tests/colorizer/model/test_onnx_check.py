import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from colorizer.model.onnx_check import has_external_data


def outside() -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "elsewhere.bin"
    return tensor


def inside() -> TensorProto:
    return numpy_helper.from_array(np.zeros(3, np.float32), "w")


def model_with(tensor: TensorProto, place: str) -> bytes:
    graph = helper.make_graph([], "g", [], [])
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    if place == "initializer":
        graph.initializer.append(tensor)
    elif place == "attribute":
        graph.node.append(constant)
    elif place == "inner graph":
        inner = helper.make_graph([constant], "inner", [], [])
        graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner))
    elif place == "sparse":
        sparse = graph.sparse_initializer.add()
        sparse.values.CopyFrom(tensor)
    model = helper.make_model(graph)
    if place == "function":
        function = helper.make_function(
            "d", "f", [], ["c"], [constant], [helper.make_opsetid("", 18)]
        )
        model.functions.append(function)
    if place == "training":
        training = model.training_info.add()
        training.algorithm.initializer.append(tensor)
        training.algorithm.name = "t"
    content: bytes = model.SerializeToString()
    return content


PLACES = ["initializer", "attribute", "inner graph", "sparse", "function", "training"]


@pytest.mark.parametrize("place", PLACES)
def test_external_weights_are_found_in_every_place_of_a_tensor(place: str) -> None:
    assert has_external_data(model_with(outside(), place))
    assert not has_external_data(model_with(inside(), place))


def test_a_location_or_a_flag_alone_marks_external_weights() -> None:
    flagged, located = outside(), outside()
    flagged.ClearField("external_data")
    located.ClearField("data_location")
    assert has_external_data(model_with(flagged, "initializer"))
    assert has_external_data(model_with(located, "initializer"))


@pytest.mark.parametrize("content", [b"\xff" * 20, b"\x3a\x10abc", b"\x0b", b"\x08\xff"])
def test_bytes_that_are_not_a_protobuf_message_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a protobuf message"):
        has_external_data(content)


def test_too_deep_nesting_is_refused() -> None:
    content = b""
    for _ in range(100):  # a graph in an attribute of a node of a graph …
        for field in (6, 5, 1):
            content = bytes([field << 3 | 2]) + _varint(len(content)) + content
    content = b"\x3a" + _varint(len(content)) + content
    with pytest.raises(ValueError, match="nested too deeply"):
        has_external_data(content)


def _varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def test_the_check_agrees_with_the_onnx_package() -> None:
    model = onnx.load_model_from_string(model_with(outside(), "initializer"))
    assert onnx.external_data_helper.uses_external_data(model.graph.initializer[0])
