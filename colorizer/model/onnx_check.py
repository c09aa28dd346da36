"""Whether an ONNX model stores tensors in other files; checked without the onnx package.

A tensor may name any other file as the place of its data (ONNX, docs/ExternalData.md). A model from
an untrusted source must not make us open files, so such a model is refused. Walks the protobuf
messages (protobuf.dev/programming-guides/encoding) in which onnx.proto can hold a tensor.
"""

from collections.abc import Iterator

_TENSOR, _SPARSE, _ATTRIBUTE, _NODE, _GRAPH, _FUNCTION, _TRAINING, _MODEL = range(8)
_HOLDS = {
    _MODEL: {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION},
    _TRAINING: {1: _GRAPH, 2: _GRAPH},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _TENSOR: {},
}
"""Message → its fields that hold messages to walk, by field number of onnx.proto."""
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 32


def has_external_data(model: bytes) -> bool:
    """Whether a tensor of the model names another file.

    Raises :class:`ValueError` if the bytes aren't a protobuf message, or nested over 32 deep.
    """
    return _has_external_tensor(memoryview(model), _MODEL, 0)


def _has_external_tensor(message: memoryview, kind: int, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    for field, value in _fields(message):
        if kind == _TENSOR and field in (_EXTERNAL_DATA, _DATA_LOCATION) and value:
            return True
        inner = _HOLDS[kind].get(field)
        if (
            inner is not None
            and isinstance(value, memoryview)
            and _has_external_tensor(value, inner, depth + 1)
        ):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value): a view for bytes and messages, a number for the rest."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        field, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            number, at = _varint(message, at)
            yield field, number
            continue
        if wire_type == _BYTES:
            num_bytes, at = _varint(message, at)
        elif wire_type in (_FIXED64, _FIXED32):
            num_bytes = 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"not a protobuf message: wire type {wire_type}")
        if at + num_bytes > len(message):
            raise ValueError("not a protobuf message: it ends in the middle of a field")
        yield field, message[at : at + num_bytes]
        at += num_bytes


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("not a protobuf message: it ends in the middle of a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("not a protobuf message: a number without end")
