"""Reads checkpoints and tokenizers in the format of the llama2.c programs."""
import re
import struct

import numpy as np

# Token types of GGUF.
NORMAL, UNKNOWN, CONTROL, UNUSED, BYTE = 1, 2, 3, 5, 6


class Checkpoint:
    """Shape and weights; every array is (layers, ...) where there is one per layer."""

    def __init__(self, path):
        with open(path, "rb") as f:
            data = f.read()
        (self.dim, self.ffn, self.n_layers, self.n_heads, self.n_kv_heads, vocab,
         self.context) = struct.unpack("<7i", data[:28])
        self.n_vocab = abs(vocab)  # negative when the output matrix is one of its own
        self.head_dim = self.dim // self.n_heads
        self._values = np.frombuffer(data, "<f4", offset=28)
        self._at = 0
        kv = self.n_kv_heads * self.head_dim
        L, d = self.n_layers, self.dim
        self.embedding = self._take(self.n_vocab, d)
        self.attn_norm = self._take(L, d)
        self.q = self._take(L, d, d)
        self.k = self._take(L, kv, d)
        self.v = self._take(L, kv, d)
        self.attn_output = self._take(L, d, d)
        self.ffn_norm = self._take(L, d)
        self.gate = self._take(L, self.ffn, d)
        self.down = self._take(L, d, self.ffn)
        self.up = self._take(L, self.ffn, d)
        self.final_norm = self._take(d)
        self._take(2, self.context, self.head_dim // 2)  # rotary tables, which follow from the shape
        self.output = self.embedding if vocab > 0 else self._take(self.n_vocab, d)
        if self._at != len(self._values):
            raise SystemExit(f"{path}: not a llama2.c checkpoint: its size does not fit its shape")

    def _take(self, *shape):
        count = int(np.prod(shape))
        if self._at + count > len(self._values):
            raise SystemExit("not a llama2.c checkpoint: it ends early")
        part = self._values[self._at:self._at + count].reshape(shape)
        self._at += count
        return part


def read_tokens(path, count):
    """Lists of text, score and type, as GGUF has them."""
    with open(path, "rb") as f:
        data = f.read()
    texts, scores, types = [], [], []
    at = 4
    for i in range(count):
        score, length = struct.unpack_from("<fi", data, at)
        text = data[at + 8:at + 8 + length].decode()
        at += 8 + length
        kind = NORMAL
        if i < 3:
            text = ["<unk>", "<s>", "</s>"][i]
            kind = UNKNOWN if i == 0 else CONTROL
        elif re.fullmatch("<0x[0-9A-F]{2}>", text):
            kind = BYTE
        else:
            text = text.replace(" ", "\u2581")
        texts.append(text)
        scores.append(score)
        types.append(kind)
    return texts, scores, types
