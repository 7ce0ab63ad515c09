#!/usr/bin/env python3
"""Makes a Unigram vocabulary of a SentencePiece one: the same tokens, scores as logarithms.

    unigram.py VOCABULARY.gguf OUT.gguf

For measuring and comparing, because a real one of T5's family is not among the test data. Nothing
else of the file changes, so it must have keys only: tensors would lie elsewhere then.
"""
import math
import struct
import sys


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    with open(sys.argv[1], "rb") as f:
        data = f.read()
    if data[:4] != b"GGUF" or struct.unpack_from("<Q", data, 8)[0] != 0:
        sys.exit("unigram.py: %s is no GGUF without tensors" % sys.argv[1])
    kind = b"tokenizer.ggml.model" + struct.pack("<I", 8)
    spm = kind + struct.pack("<Q", 5) + b"llama"
    if data.count(spm) != 1:
        sys.exit("unigram.py: %s has no SentencePiece vocabulary" % sys.argv[1])
    data = data.replace(spm, kind + struct.pack("<Q", 2) + b"t5")
    key = b"tokenizer.ggml.scores" + struct.pack("<II", 9, 6)
    at = data.index(key) + len(key)
    (n,) = struct.unpack_from("<Q", data, at)
    scores = struct.unpack_from("<%df" % n, data, at + 8)
    worst = min(scores)
    scores = [-3 - math.log(2 - s) if s <= 0 else worst for s in scores]
    with open(sys.argv[2], "wb") as f:
        f.write(data[: at + 8] + struct.pack("<%df" % n, *scores) + data[at + 8 + 4 * n :])


main()
