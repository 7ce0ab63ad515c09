// A random model file of any small shape, made by the tests themselves.
//
// Weights are normal with a spread that keeps activations near one, so that logits differ clearly
// from token to token. The vocabulary is SentencePiece: <unk>, <s>, </s>, 256 byte tokens, then
// words.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tiny_model {
    const char *arch; // "llama" (default), "qwen2"
    int n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, context; // 0: a default
    uint32_t type;     // of the matrices, enum wtype; 0: F32
    bool tied;         // no output.weight
    bool bias;         // q, k, v biases (qwen2 always has them)
    bool rope_factors; // rope_freqs.weight
    int window;        // attention.sliding_window; 0: no such key
    uint64_t seed;
    const char *leave_out; // a tensor that is not written; NULL: all are
};

// Writes the file; fails the running test when it cannot.
void tiny_model_write(const char *path, const struct tiny_model *t);
