// A plain forward pass in double precision, written for reading: the oracle of the model tests.
//
// It shares no code with src/model or src/backend; it reads the file's keys itself and decodes
// weights with the scalar kernels, which tests/kernels checks against known values.
//
// Where each architecture's formulas come from (the paper, else the model's published definition),
// and what its files are read to mean:
//
//   llama       Touvron et al., 2023; Llama 3.1: rope_freqs.weight divides frequencies. RoPE on
//               pairs of neighbours (2i, 2i + 1), for files have q and k permuted so. With
//               expert_count Mixtral (Jiang et al., 2024): softmax over the chosen. With
//               attention.sliding_window Mistral 7B (Jiang et al., 2023), every layer.
//   mistral3    Ministral 3: llama with YaRN whose scale of cosines is mscale(factor, 1) /
//               mscale(factor, yarn_log_multiplier), and queries times 1 + temperature_scale *
//               ln(1 + floor(pos / original_context_length)) after RoPE.
//   qwen2       Qwen2 report, 2024: biases of q, k, v. RoPE on halves, as all that follow but
//               granite and deepseek2. A sliding window in the file is not used.
//   qwen3       Qwen3 report, 2025: an RMS norm of each query and key head before RoPE.
//   qwen2moe    softmax over all experts, the chosen weights not normalized; plus a shared expert
//               times sigmoid(ffn_gate_inp_shexp x).
//   qwen3moe    softmax over all experts, the chosen weights normalized.
//   gemma2      Gemma 2 report, 2024: embedding * sqrt(n_embd), norms after attention and
//               feed-forward too, GELU, caps of scores and logits, even layers with a window.
//               Queries by 1 / sqrt(key_length), in the 27B (46 layers) 1 / sqrt(n_embd / n_heads).
//               Files have 1 added to the norms' weights already.
//   gemma3      Gemma 3 report, 2025: norms of heads instead of caps; five layers with a window and
//               RoPE base 10000 (rope.freq_base_swa), then one without, with the file's base and
//               linear factor. The 27B is known by 62 layers.
//   phi3        Phi-3 report, 2024: rows of attn_qkv are q, k, v; of ffn_up the gate, then the
//   other.
//               A window, if the file has one, in every layer. LongRoPE (Ding et al., 2024):
//               rope_factors_long beyond the original context, else _short, divide frequencies;
//               cosines and sines times rope.scaling.attn_factor.
//   granite     Granite 3: embedding, residuals and scores times the file's scales (scores by
//               attention.scale alone), logits divided by logit_scale. RoPE as llama.
//   granitemoe  the same with experts, softmax over the chosen.
//   gpt-oss     the model card and published implementation, 2025: sinks in the softmax's sum,
//               windows in even layers, biases everywhere, softmax over the chosen, clamped units
//               (alpha 1.702, limit 7); YaRN without rounding its ramp's ends, cosines and sines
//               times 1 + 0.1 ln(factor). post_attention_norm is the norm before the feed-forward.
//   deepseek2   DeepSeek V2 and V3, 2024: latent attention, its last rope.dimension_count dims of a
//               head with RoPE as llama; groups by their best expert (V2) or, with exp_probs_b, by
//               their two best (V3); attention's scale times mscale^2, where files have
//               yarn_log_multiplier = 0.1 * mscale_all_dim and mscale = 1 + that * ln(factor).
//               attn_kv_b, or attn_k_b (n_heads of (kv_lora_rank, nope)) and attn_v_b.
#pragma once

#include <stddef.h>
#include <stdint.h>

// What a pass has to say beside its logits.
struct reference_facts {
    int n_vocab;
    // How clear the closest choice of experts was: the smallest difference between what the last
    // expert (or group) chosen scored and the best one left, over all tokens and layers, where
    // scores are the router's logits; INFINITY: no choices.
    double routing_gap;
};

// Logits (n, n_vocab) of every position of `ids`, malloc'd; the caller frees. Fails the running
// test when the file cannot be read. *n_vocab is set.
double *reference_logits(const char *path, const int32_t *ids, int n, int *n_vocab);
// The same for a run that has room for n_context positions, 0: the file's context_length. (phi3
// with long and short factors asks: they depend on whether that exceeds the original context.)
double *reference_logits_in(const char *path, const int32_t *ids, int n, int n_context,
                            struct reference_facts *facts);

// Mean Kullback-Leibler divergence of softmax(b) from softmax(a) over n rows.
double reference_mean_kl(const double *a, const float *b, int n, int n_vocab);
double reference_max_diff(const double *a, const float *b, size_t n);
