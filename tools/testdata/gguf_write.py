"""Writes GGUF version 3 files, one tensor at a time, so that a model need not fit in memory.

Keys are (name, type, value); arrays are (name, ARRAY, (element type, list)). A tensor is a
`Tensor`: its data is made when its turn comes, by calling `make`.
"""
import struct

import numpy as np

UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
ALIGNMENT = 32
Q8_0_BLOCK, Q8_0_BLOCK_BYTES = 32, 34

# Type of tensor data: its number in the file, and its bytes for a count of values.
TYPES = {
    "F32": (0, lambda n: 4 * n),
    "F16": (1, lambda n: 2 * n),
    "Q8_0": (8, lambda n: n // Q8_0_BLOCK * Q8_0_BLOCK_BYTES),
}


class Tensor:
    def __init__(self, name, kind, shape, make):
        self.name = name
        self.kind = kind
        self.shape = shape  # rows first, as numpy has it
        self.make = make

    def size(self):
        return TYPES[self.kind][1](int(np.prod(self.shape)))


def encode(values, kind):
    values = np.ascontiguousarray(values, dtype=np.float32)
    if kind == "F32":
        return values.tobytes()
    if kind == "F16":
        return values.astype("<f2").tobytes()
    blocks = values.reshape(-1, Q8_0_BLOCK)
    scale = np.abs(blocks).max(axis=1) / np.float32(127)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    scaled = blocks * inverse[:, None]
    rounded = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)).astype(np.int8)
    head = scale.astype("<f2")[:, None].view(np.uint8)
    return np.concatenate([head, rounded.view(np.uint8)], axis=1).tobytes()


def _string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(kind, value):
    if kind == STRING:
        return _string(value)
    if kind == ARRAY:
        element, items = value
        return struct.pack("<IQ", element, len(items)) + b"".join(_value(element, v) for v in items)
    return struct.pack("<" + {UINT32: "I", INT32: "i", FLOAT32: "f", BOOL: "?"}[kind], value)


def _padding(size):
    return -size % ALIGNMENT


def write(path, keys, tensors):
    header = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))
    for name, kind, value in keys:
        header += _string(name) + struct.pack("<I", kind) + _value(kind, value)
    offset = 0
    for t in tensors:
        dims = list(reversed(t.shape))
        header += _string(t.name) + struct.pack("<I%dQ" % len(dims), len(dims), *dims)
        header += struct.pack("<IQ", TYPES[t.kind][0], offset)
        offset += t.size() + _padding(t.size())
    with open(path, "wb") as f:
        f.write(header + bytes(_padding(len(header))))
        for t in tensors:
            data = encode(t.make(), t.kind)
            assert len(data) == t.size(), t.name
            f.write(data + bytes(_padding(len(data))))
