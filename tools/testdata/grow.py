#!/usr/bin/env python3
"""Grows a small trained llama to a large shape without changing what it computes.

The grown model gives the logits of the small one (up to rounding), so it writes the same text, but
it has a real model's dimensions. With m = embd / dim of the small one:

 - residual stream: each small dimension is copied m times, in shuffled order. RMSNorm does not
   change, because the mean of squares over equal copies is the same;
 - a matrix that reads the stream splits the weight of a dimension over its copies, in random
   positive fractions that sum to 1; a matrix that writes it has its rows copied;
 - a head of size h becomes one of size H = f h: rotary pair j of the small head sits at pair j f of
   the large one, where the angle is the same (10000^(-2 j f / H) = 10000^(-2 j / h)). The query
   rows of all other pairs are 0, so the random key rows there do not matter; queries grow by sqrt(f);
   heads are copied, and the columns of the output matrix split over the copies;
 - neurons of the feed-forward part are copied, the columns of the down matrix split;
 - layers in between get real-looking matrices but write nothing: their output matrices are 0;
 - new tokens are unused: they read as </s> does, and score as it does.

    grow.py CHECKPOINT TOKENIZER OUT.gguf [--embd N] [--layers N] ... [--type F32|F16|Q8_0]
"""
import argparse

import numpy as np

import gguf_write as gguf
from llama2c import UNUSED, Checkpoint, read_tokens

END_OF_STORY = 2  # </s>


def fractions(rng, shape, n):
    """shape + (n,): positive, the sum over the last axis is 1."""
    z = 1 + rng.uniform(-0.5, 0.5, shape + (n,)).astype(np.float32)
    return z / z.sum(axis=-1, keepdims=True)


class Growth:
    def __init__(self, small, shape):
        s, g = small, shape
        for large, little, what in ((g.embd, s.dim, "embd"), (g.head_dim, s.head_dim, "head-dim"),
                                    (g.kv_heads, s.n_kv_heads, "kv-heads"),
                                    (g.heads, g.kv_heads, "heads")):
            if large % little:
                raise SystemExit(f"grow.py: --{what} must be a multiple of {little}")
        if g.ffn < s.ffn or g.layers < s.n_layers or g.vocab < s.n_vocab:
            raise SystemExit("grow.py: a model can only grow")
        self.small, self.shape = s, g
        rng = np.random.default_rng(g.seed)
        self.copies = g.embd // s.dim
        order = rng.permutation(g.embd)
        self.dim_of = order % s.dim  # small dimension behind each large one
        self.copy_of = order // s.dim
        self.kv_source = np.repeat(np.arange(s.n_kv_heads), g.kv_heads // s.n_kv_heads)
        self.q_source = self._query_sources()
        # Where the values of a small head sit in a large one.
        stretch = g.head_dim // s.head_dim
        pairs = np.arange(s.head_dim // 2) * stretch
        self.slots = np.stack([2 * pairs, 2 * pairs + 1], axis=1).reshape(-1)
        self.query_scale = np.float32(np.sqrt(stretch))
        # The layers that do something, spread over all.
        self.real = np.round(np.linspace(0, g.layers - 1, s.n_layers)).astype(int)

    def _query_sources(self):
        """The small query head behind each large one: those of the same key-value head, in turn."""
        s, g = self.small, self.shape
        per_small = s.n_heads // s.n_kv_heads
        per_large = g.heads // g.kv_heads
        source = np.zeros(g.heads, int)
        for kv in range(s.n_kv_heads):
            heads = [h for h in range(g.heads) if self.kv_source[h // per_large] == kv]
            if len(heads) < per_small:
                raise SystemExit("grow.py: --heads leaves a query head without a copy")
            for i, head in enumerate(heads):
                source[head] = kv * per_small + i % per_small
        return source

    def reads(self, rng, w):
        """(rows, dim) -> (rows, embd)"""
        split = fractions(rng, w.shape, self.copies)
        return w[:, self.dim_of] * split[:, self.dim_of, self.copy_of]

    def writes(self, w):
        """(dim, columns) -> (embd, columns)"""
        return w[self.dim_of]

    def heads(self, rng, w, source, scale=1, fill=0):
        """(small heads x h, dim) -> (heads x H, embd); other rows random, `fill` of the deviation."""
        h, H = self.small.head_dim, self.shape.head_dim
        out = np.zeros((len(source) * H, self.shape.embd), np.float32)
        if fill:
            out[:] = rng.standard_normal(out.shape, np.float32) * (w.std() / self.copies * fill)
        for i, head in enumerate(source):
            out[i * H + self.slots] = self.reads(rng, w[head * h:(head + 1) * h] * scale)
        return out

    def attn_output(self, rng, w):
        """(dim, small heads x h) -> (embd, heads x H)"""
        h, H = self.small.head_dim, self.shape.head_dim
        out = rng.standard_normal((self.small.dim, self.shape.heads * H), np.float32) * (w.std() * 0.3)
        for head in range(self.small.n_heads):
            copies = np.where(self.q_source == head)[0]
            split = fractions(rng, (self.small.dim, h), len(copies))
            for i, copy in enumerate(copies):
                out[:, copy * H + self.slots] = w[:, head * h:(head + 1) * h] * split[..., i]
        return self.writes(out)

    def neurons(self, rng):
        """The small neuron behind each large one, and each one's share of its output."""
        source = rng.permutation(np.arange(self.shape.ffn) % self.small.ffn)
        share = 1 + rng.uniform(-0.5, 0.5, (self.small.dim, self.shape.ffn)).astype(np.float32)
        total = np.zeros((self.small.dim, self.small.ffn), np.float32)
        for j in range(self.shape.ffn):
            total[:, source[j]] += share[:, j]
        return source, share / total[:, source]

    def layer(self, l):
        """A function for each matrix of layer l, so that only one is in memory at a time."""
        s = self.small
        real = l in self.real
        r = int(np.searchsorted(self.real, l, side="right")) - 1  # its small layer, or the last before
        dice = lambda i: np.random.default_rng((self.shape.seed, l, i))
        silent = lambda w: w if real else np.zeros_like(w)
        source, share = self.neurons(dice(0))
        return {
            "attn_norm": lambda: s.attn_norm[r][self.dim_of],
            "attn_q": lambda: self.heads(dice(1), s.q[r], self.q_source, self.query_scale),
            "attn_k": lambda: self.heads(dice(2), s.k[r], self.kv_source, fill=0.7),
            "attn_v": lambda: self.heads(dice(3), s.v[r], self.kv_source),
            "attn_output": lambda: silent(self.attn_output(dice(4), s.attn_output[r])),
            "ffn_norm": lambda: s.ffn_norm[r][self.dim_of],
            "ffn_gate": lambda: self.reads(dice(5), s.gate[r][source]),
            "ffn_up": lambda: self.reads(dice(6), s.up[r][source]),
            "ffn_down": lambda: silent(self.writes(s.down[r][:, source] * share)),
        }

    def embedding(self):
        new = np.repeat(self.small.embedding[END_OF_STORY:END_OF_STORY + 1],
                        self.shape.vocab - self.small.n_vocab, axis=0)
        return np.concatenate([self.small.embedding, new])[:, self.dim_of]

    def output(self):
        new = np.repeat(self.small.output[END_OF_STORY:END_OF_STORY + 1],
                        self.shape.vocab - self.small.n_vocab, axis=0)
        return self.reads(np.random.default_rng((self.shape.seed, self.shape.layers)),
                          np.concatenate([self.small.output, new]))

    def tensors(self, kind):
        g = self.shape
        shapes = {
            "attn_norm": (g.embd,), "attn_q": (g.heads * g.head_dim, g.embd),
            "attn_k": (g.kv_heads * g.head_dim, g.embd), "attn_v": (g.kv_heads * g.head_dim, g.embd),
            "attn_output": (g.embd, g.heads * g.head_dim), "ffn_norm": (g.embd,),
            "ffn_gate": (g.ffn, g.embd), "ffn_up": (g.ffn, g.embd), "ffn_down": (g.embd, g.ffn),
        }
        yield gguf.Tensor("token_embd.weight", kind, (g.vocab, g.embd), self.embedding)
        yield gguf.Tensor("output_norm.weight", "F32", (g.embd,),
                          lambda: self.small.final_norm[self.dim_of])
        yield gguf.Tensor("output.weight", kind, (g.vocab, g.embd), self.output)
        for l in range(g.layers):
            for name, make in self.layer(l).items():
                yield gguf.Tensor(f"blk.{l}.{name}.weight", "F32" if "norm" in name else kind,
                                  shapes[name], make)


def keys_of(small, g, texts, scores, types):
    return [
        ("general.architecture", gguf.STRING, "llama"),
        ("general.name", gguf.STRING, g.name),
        ("general.file_type", gguf.UINT32, {"F32": 0, "F16": 1, "Q8_0": 7}[g.type]),
        ("llama.context_length", gguf.UINT32, small.context),
        ("llama.embedding_length", gguf.UINT32, g.embd),
        ("llama.block_count", gguf.UINT32, g.layers),
        ("llama.feed_forward_length", gguf.UINT32, g.ffn),
        ("llama.attention.head_count", gguf.UINT32, g.heads),
        ("llama.attention.head_count_kv", gguf.UINT32, g.kv_heads),
        ("llama.attention.key_length", gguf.UINT32, g.head_dim),
        ("llama.attention.value_length", gguf.UINT32, g.head_dim),
        ("llama.rope.dimension_count", gguf.UINT32, g.head_dim),
        ("llama.rope.freq_base", gguf.FLOAT32, 10000.0),
        ("llama.attention.layer_norm_rms_epsilon", gguf.FLOAT32, 1e-5),
        ("llama.vocab_size", gguf.UINT32, g.vocab),
        ("tokenizer.ggml.model", gguf.STRING, "llama"),
        ("tokenizer.ggml.pre", gguf.STRING, "default"),
        ("tokenizer.ggml.tokens", gguf.ARRAY, (gguf.STRING, texts)),
        ("tokenizer.ggml.scores", gguf.ARRAY, (gguf.FLOAT32, scores)),
        ("tokenizer.ggml.token_type", gguf.ARRAY, (gguf.INT32, types)),
        ("tokenizer.ggml.bos_token_id", gguf.UINT32, 1),
        ("tokenizer.ggml.eos_token_id", gguf.UINT32, END_OF_STORY),
        ("tokenizer.ggml.unknown_token_id", gguf.UINT32, 0),
        ("tokenizer.ggml.add_bos_token", gguf.BOOL, True),
        ("tokenizer.ggml.add_space_prefix", gguf.BOOL, True),
    ]


def main():
    p = argparse.ArgumentParser(description="Grows a small trained llama to a large shape.")
    p.add_argument("checkpoint")
    p.add_argument("tokenizer")
    p.add_argument("out")
    for name, value in (("embd", 256), ("heads", 8), ("kv-heads", 4), ("head-dim", 32), ("ffn", 768),
                        ("layers", 8), ("vocab", 512), ("seed", 1)):
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("--type", default="Q8_0", choices=("F32", "F16", "Q8_0"))
    p.add_argument("--name", default="grown")
    shape = p.parse_args()
    small = Checkpoint(shape.checkpoint)
    texts, scores, types = read_tokens(shape.tokenizer, small.n_vocab)
    for i in range(small.n_vocab, shape.vocab):
        texts.append(f"<unused{i}>")
        scores.append(-1e6)
        types.append(UNUSED)
    growth = Growth(small, shape)
    gguf.write(shape.out, keys_of(small, shape, texts, scores, types),
               list(growth.tensors(shape.type)))
    print(f"{shape.out}: {shape.layers} layers, of which {', '.join(map(str, growth.real))} are real")


if __name__ == "__main__":
    main()
