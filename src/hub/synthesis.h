// Models of any shape with random weights, for benches and tests where what the model says does not
// matter but its shape, formats and arithmetic do.
//
// Weights are normal with deviation 1/sqrt(inputs), norms are near 1: activations stay of the order
// of 1 through any number of layers and logits are finite. The file is written as fast as the disk
// takes it: a tile of random blocks is encoded for each format and row length, and matrices are
// pasted together from pieces of it. The same spec gives the same bytes.
#pragma once

#include "base/err.h"
#include "gguf/gguf.h"
#include "hub/mix.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum synthesis_arch { SYNTHESIS_LLAMA, SYNTHESIS_QWEN2, SYNTHESIS_QWEN3MOE };
enum synthesis_vocab { SYNTHESIS_BPE, SYNTHESIS_SPM };

enum {
    SYNTHESIS_MAX_LAYERS = 1024,
    SYNTHESIS_MAX_WIDTH = 1 << 17, // embedding and heads
    SYNTHESIS_MAX_HEADS = 1 << 12,
    SYNTHESIS_MAX_HEAD_DIM = 1 << 11,
    SYNTHESIS_MAX_FF = 1 << 19,
    SYNTHESIS_MAX_VOCAB = 1 << 20,
    SYNTHESIS_MAX_EXPERTS = 1 << 10,
};

struct synthesis {
    const char *name; // of the shape, "8b"
    enum synthesis_arch arch;
    enum synthesis_vocab vocab;
    int n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, context_length;
    float rope_theta, rms_eps;
    bool tied;             // no output matrix, the embedding serves
    int n_experts, n_used; // qwen3moe: networks of n_ff each, and how many a token uses
    const struct mix *mix;
    uint64_t seed;
};

// A shape by name ("1b" ... "70b"); mix and seed are left at Q8_0 and 0. False: unknown.
bool synthesis_preset(const char *name, struct synthesis *out);
const char *synthesis_presets(void); // "1b, 3b, ..."

// Whether a model of this shape can be; the sentence says what is wrong.
int synthesis_check(const struct synthesis *s, struct err *e);
uint64_t synthesis_weight_bytes(const struct synthesis *s); // of all tensors
uint64_t synthesis_parameters(const struct synthesis *s);

// The model that synthesis_write would write, without its weights: nothing is written.
int synthesis_header(const struct synthesis *s, struct gguf **out, struct err *e);

// Writes the checked spec to `path`. progress (may be NULL) is called now and then with the bytes
// of weights written so far; when it returns false the file is given up.
int synthesis_write(const struct synthesis *s, const char *path,
                    bool (*progress)(void *arg, uint64_t done), void *arg, struct err *e);
