#!/usr/bin/env python3
"""Writes the seeds of the fuzz target fuzz_gguf: small GGUF files, right ones and wrong ones.

    tools/corpus_gguf.py tests/fuzz/corpus/fuzz_gguf
"""
import struct
import sys
from pathlib import Path

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?",
         U64: "Q", I64: "q", F64: "d"}


def string(s):
    return struct.pack("<Q", len(s)) + s.encode()


def value(kind, v):
    return string(v) if kind == STRING else struct.pack("<" + FORMS[kind], v)


def key(name, kind, v):
    return string(name) + struct.pack("<I", kind) + value(kind, v)


def array(name, kind, values):
    return (string(name) + struct.pack("<IIQ", ARRAY, kind, len(values)) +
            b"".join(value(kind, v) for v in values))


def tensor(name, dims, kind, offset):
    return (string(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims) +
            struct.pack("<IQ", kind, offset))


def gguf(keys=(), tensors=(), version=3, data=0, n_keys=None, n_tensors=None, align=32):
    counts = (len(tensors) if n_tensors is None else n_tensors,
              len(keys) if n_keys is None else n_keys)
    out = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(keys) + b"".join(tensors)
    return out + bytes(-len(out) % align + data)


SCALARS = [key(f"k{kind}", kind, 1) for kind in FORMS] + [key("s", STRING, "text")]
ARRAYS = [array(f"a{kind}", kind, [0, 1, 1]) for kind in FORMS]
ARRAYS += [array("strings", STRING, ["", "one", "two"])]
MODEL = [key("general.architecture", STRING, "llama"), key("general.alignment", U32, 64),
         key("llama.block_count", U32, 1), array("tokenizer.ggml.tokens", STRING, ["a", "b"])]

SEEDS = {
    "empty": gguf(),
    "version2": gguf([key("k", U32, 7)], version=2),
    "version1": gguf(version=1),
    "big_endian": gguf(version=0x03000000),
    "scalars": gguf(SCALARS),
    "arrays": gguf(ARRAYS),
    "nested": gguf([string("n") + struct.pack("<IIQ", ARRAY, ARRAY, 1) + bytes(32)]),
    "model": gguf(MODEL, [tensor("a.weight", [8, 2], 0, 0), tensor("b.weight", [256], 14, 64)],
                  data=64 + 210, align=64),
    "split": gguf([key("split.no", U16, 0), key("split.count", U16, 2),
                   key("split.tensors.count", I32, 3)]),
    "quants": gguf([], [tensor(f"t{t}", [256, 1, 1, 1], t, i * 1024)
                        for i, t in enumerate([0, 1, 2, 6, 8, 12, 13, 14, 30])]),
    "overlap": gguf([], [tensor("a", [16], 0, 0), tensor("b", [16], 0, 32)], data=128),
    "twice": gguf([key("k", U8, 1), key("k", U8, 1)]),
    "huge_keys": gguf(n_keys=1 << 60),
    "huge_tensors": gguf(n_tensors=(1 << 64) - 1),
    "huge_array": gguf([string("a") + struct.pack("<IIQ", ARRAY, F64, (1 << 61) + 1) + bytes(64)]),
    "huge_dims": gguf([], [tensor("t", [1 << 32, 1 << 32], 24, 0)], data=64),
    "no_alignment": gguf([key("general.alignment", U32, 0)]),
}

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name, seed in SEEDS.items():
    (folder / name).write_bytes(seed)
