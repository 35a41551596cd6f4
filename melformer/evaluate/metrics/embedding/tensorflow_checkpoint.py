"""Read the float tensors of a TensorFlow checkpoint (a "tensor bundle") without TensorFlow.

The index is a LevelDB table: a footer of 48 bytes points to an index block, which points to data blocks of
prefix-compressed keys; each value is a protocol buffer (BundleEntryProto) with type, shape, offset and size.
Sources: tensorflow/core/protobuf/tensor_bundle.proto, tensorflow/core/lib/io/table_format.txt.
"""

import math
import struct
from collections.abc import Iterator

import numpy as np

from melformer.errors import RequestError

FOOTER_BYTES = 48
MAGIC = 0xDB4775248B80FB57
DT_FLOAT = 1
_DTYPE, _SHAPE, _OFFSET, _SIZE = 1, 2, 4, 5  # fields of BundleEntryProto


def read_tensors(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """All float32 tensors by name, from the bytes of `.index` and of the only data file.

    Errors: RequestError where the index is none or points outside the data.
    """
    if len(index) < FOOTER_BYTES or struct.unpack("<Q", index[-8:])[0] != MAGIC:
        raise RequestError("this is no index of a TensorFlow checkpoint: its last bytes are not a table's")
    try:
        tensors = dict(_tensors(index, data))
    except (IndexError, struct.error, ValueError) as error:
        raise RequestError(f"the checkpoint is damaged ({error})") from None
    return tensors


def _tensors(index: bytes, data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    footer = index[-FOOTER_BYTES:]
    position = 0
    for _ in range(2):  # offset and size of the meta index, which says nothing here
        _, position = _varint(footer, position)
    for _, handle in _block(index, *_handle(footer, position)):
        for key, value in _block(index, *_handle(handle, 0)):
            entry = _fields(value)
            if not key or entry.get(_DTYPE, [0])[0] != DT_FLOAT:
                continue  # the header has an empty key; counters are integers
            shape = [_fields(dim).get(1, [0])[0] for dim in _fields(entry[_SHAPE][0]).get(2, [])]
            start, size = entry.get(_OFFSET, [0])[0], entry[_SIZE][0]
            if size != 4 * math.prod(shape) or start + size > len(data):
                raise ValueError(f"{key.decode()} of shape {shape} does not fit its {size} bytes")
            yield key.decode(), np.frombuffer(data, "<f4", size // 4, start).reshape(shape)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position


def _handle(data: bytes, position: int) -> tuple[int, int]:
    """Where a block lies: its offset and size."""
    offset, position = _varint(data, position)
    return offset, _varint(data, position)[0]


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a table's block; each key shares its first bytes with the one before."""
    if data[offset + size] != 0:
        raise ValueError("compressed blocks are not read")
    n_restarts = struct.unpack_from("<I", data, offset + size - 4)[0]
    stop = offset + size - 4 - 4 * n_restarts
    position, key = offset, b""
    while position < stop:
        shared, position = _varint(data, position)
        own, position = _varint(data, position)
        length, position = _varint(data, position)
        key = key[:shared] + data[position : position + own]
        position += own
        yield key, data[position : position + length]
        position += length


def _fields(message: bytes) -> dict[int, list]:
    """A protocol buffer's fields by number, each a list: numbers for varints, bytes for the rest."""
    found: dict[int, list] = {}
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, position = _varint(message, position)
        elif kind in (2, 5):
            length, position = _varint(message, position) if kind == 2 else (4, position)
            value, position = message[position : position + length], position + length
        else:
            raise ValueError(f"wire type {kind} is not read")
        found.setdefault(tag >> 3, []).append(value)
    return found
