// A random model file of any small shape and of every architecture, made by the tests themselves.
//
// Weights are normal with a spread that keeps activations near one, so that logits differ clearly
// from token to token. Each tensor's numbers depend on the seed and its name only: two models that
// share a tensor's name and shape share its weights. The vocabulary is SentencePiece: <unk>, <s>,
// </s>, 256 byte tokens, then words.
//
// Keys and tensors have the names and shapes that files in circulation have. {.arch = "gemma2"}
// alone has every feature of that architecture, with numbers (caps, scales, windows) that are not
// the usual ones, so that nobody passes who does not read them.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tiny_rope {
    TINY_ROPE_DEFAULT, // what the architecture has
    TINY_ROPE_PLAIN,   // no scaling
    TINY_ROPE_LINEAR,
    TINY_ROPE_YARN,
    TINY_ROPE_LONG, // phi3: rope_factors_long and _short
};

// In every field 0 stands for what the architecture has, TINY_NO for not there: no key and no
// tensor that needs it.
#define TINY_NO (-1)

struct tiny_model {
    const char *arch; // "llama" (default), or another of tiny_archs
    int n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, context;
    uint32_t type;     // of the matrices, enum wtype; 0: F32
    bool tied;         // no output.weight (gemma2 and gemma3 never have one)
    bool bias;         // q, k, v biases (qwen2 and qwen2moe always have them)
    bool rope_factors; // rope_freqs.weight
    int window;        // attention.sliding_window
    uint64_t seed;
    const char *leave_out; // tensors that are not written: "blk.2.attn_k.bias", of every layer:
                           // "attn_sinks.weight", or all whose name ends so: ".bias"; NULL: none

    // RoPE
    int n_rot;       // rope.dimension_count; deepseek2: the dims that carry positions
    float freq_base; // rope.freq_base
    enum tiny_rope rope;
    float rope_factor;    // rope.scaling.factor
    int original_context; // rope.scaling.original_context_length
    float attn_factor;    // rope.scaling.attn_factor
    float log_multiplier; // rope.scaling.yarn_log_multiplier
    float temperature;    // attention.temperature_scale (mistral3)

    // caps and scales
    float attn_softcap, final_softcap;                          // gemma2
    float embed_scale, residual_scale, attn_scale, logit_scale; // granite
    float sinks; // mean of attn_sinks.weight (gpt-oss); 0: 0.5

    // a mixture of experts
    int n_experts, n_used;
    int n_ff_expert; // of one expert
    int n_ff_shared; // of the shared expert, all of them together
    int n_shared;    // deepseek2: expert_shared_count; n_ff_shared is this times n_ff_expert
    int n_dense;     // leading_dense_block_count
    int n_groups, n_groups_used;
    int gating;           // expert_gating_func: 1 softmax, 2 sigmoid (with exp_probs_b.bias)
    float expert_scale;   // expert_weights_scale
    int expert_norm;      // expert_weights_norm: 1 true, TINY_NO false
    uint32_t expert_type; // of the experts' matrices; 0: `type`
    bool equal_experts;   // every expert is the dense model's feed-forward of the same seed

    // deepseek2
    int q_rank, kv_rank, value_dim; // head_dim: of a query, positions included
    bool kv_b;                      // the older form of file: attn_kv_b
};

// Writes the file; fails the running test when it cannot.
void tiny_model_write(const char *path, const struct tiny_model *t);
// Every field as it is written, defaults put in.
struct tiny_model tiny_model_filled(const struct tiny_model *t);

// Every architecture and the variants of its files, for tests that loop over all. Seeds are chosen
// so that no expert is chosen by a hair over the first TINY_IDS tokens of tiny_ids: see
// test_reference.c.
struct tiny_arch {
    const char *name;
    struct tiny_model model;
};
extern const struct tiny_arch tiny_archs[];
extern const size_t n_tiny_archs;
const struct tiny_model *tiny_arch(const char *name); // fails the test when there is none

// The same n words of the vocabulary each time (n_vocab 320), none repeated soon.
enum { TINY_IDS = 40 };
void tiny_ids(int32_t *ids, int n);
