// Random models: see synthesis.h.
//
// The tensors of a shape are listed by walking it (walk_tensors), once to sum, once to declare and
// once to write. A matrix is pasted from pieces of a tile that begin at random blocks of it.
#include "hub/synthesis.h"

#include "base/arith.h"
#include "base/check.h"
#include "base/rng.h"
#include "gguf/writer.h"
#include "hub/random_blocks.h"
#include "hub/synthesis_vocab.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    TILE_BYTES = 2 << 20,
    MAX_TILES = 16,
    PIECE_MIN_BYTES = 32 << 10,
    PIECE_MAX_BYTES = 256 << 10,
    TILE_WEIGHTS = 4 << 20, // and no more, where few bytes hold many
    PROGRESS_BYTES = 16 << 20,
    NAME_BYTES = 64,
};

static const char *const arch_names[] = {"llama", "qwen2", "qwen3moe"};

// Public shapes: Llama 3.2 1B and 3B, Llama 3.1 8B, Qwen 2.5 14B and 32B, Llama 1 30B and 65B,
// Llama 3.1 70B, Qwen 2.5 72B, and Qwen3-30B-A3B.
static const struct synthesis presets[] = {
    {"1b", SYNTHESIS_LLAMA, SYNTHESIS_BPE, 16, 2048, 32, 8, 64, 8192, 128256, 131072, 5e5f, 1e-5f,
     .tied = true},
    {"3b", SYNTHESIS_LLAMA, SYNTHESIS_BPE, 28, 3072, 24, 8, 128, 8192, 128256, 131072, 5e5f, 1e-5f,
     .tied = true},
    {"8b", SYNTHESIS_LLAMA, SYNTHESIS_BPE, 32, 4096, 32, 8, 128, 14336, 128256, 131072, 5e5f, 1e-5f,
     .tied = false},
    {"14b", SYNTHESIS_QWEN2, SYNTHESIS_BPE, 48, 5120, 40, 8, 128, 13824, 152064, 32768, 1e6f, 1e-6f,
     .tied = false},
    {"32b", SYNTHESIS_QWEN2, SYNTHESIS_BPE, 64, 5120, 40, 8, 128, 27648, 152064, 32768, 1e6f, 1e-6f,
     .tied = false},
    {"30b", SYNTHESIS_LLAMA, SYNTHESIS_SPM, 60, 6656, 52, 52, 128, 17920, 32000, 2048, 1e4f, 1e-6f,
     .tied = false},
    {"65b", SYNTHESIS_LLAMA, SYNTHESIS_SPM, 80, 8192, 64, 64, 128, 22016, 32000, 2048, 1e4f, 1e-5f,
     .tied = false},
    {"72b", SYNTHESIS_QWEN2, SYNTHESIS_BPE, 80, 8192, 64, 8, 128, 29568, 152064, 32768, 1e6f, 1e-6f,
     .tied = false},
    {"70b", SYNTHESIS_LLAMA, SYNTHESIS_BPE, 80, 8192, 64, 8, 128, 28672, 128256, 131072, 5e5f,
     1e-5f, .tied = false},
    {"30b-a3b", SYNTHESIS_QWEN3MOE, SYNTHESIS_BPE, 48, 2048, 32, 4, 128, 768, 151936, 40960, 1e6f,
     1e-6f, .tied = false, .n_experts = 128, .n_used = 8},
};

const char *synthesis_presets(void)
{
    return "1b, 3b, 8b, 14b, 30b, 32b, 65b, 70b, 72b, 30b-a3b";
}

bool synthesis_preset(const char *name, struct synthesis *out)
{
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (!strcasecmp(presets[i].name, name)) {
            *out = presets[i];
            out->mix = mix_find("Q8_0");
            return true;
        }
    return false;
}

static int out_of_range(const char *what, int value, int lo, int hi, struct err *e)
{
    return err_set(e, ERR_USAGE, "a model cannot have %d %s; from %d to %d are possible", value,
                   what, lo, hi);
}

int synthesis_check(const struct synthesis *s, struct err *e)
{
    bool mixture = s->arch == SYNTHESIS_QWEN3MOE;
    const struct {
        const char *what;
        int value, lo, hi;
    } ranges[] = {
        {"layers", s->n_layers, 1, SYNTHESIS_MAX_LAYERS},
        {"embedding dimensions", s->n_embd, 1, SYNTHESIS_MAX_WIDTH},
        {"attention heads", s->n_heads, 1, SYNTHESIS_MAX_HEADS},
        {"key-value heads", s->n_kv_heads, 1, s->n_heads},
        {"dimensions of a head", s->head_dim, 2, SYNTHESIS_MAX_HEAD_DIM},
        {"feed-forward dimensions", s->n_ff, 1, SYNTHESIS_MAX_FF},
        {"tokens", s->n_vocab, synthesis_vocab_least(s->vocab), SYNTHESIS_MAX_VOCAB},
        {"positions of context", s->context_length, 1, 1 << 28},
        {"experts", mixture ? s->n_experts : 1, 1, SYNTHESIS_MAX_EXPERTS},
        {"experts for a token", mixture ? s->n_used : 1, 1, mixture ? s->n_experts : 1},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i].value < ranges[i].lo || ranges[i].value > ranges[i].hi)
            return out_of_range(ranges[i].what, ranges[i].value, ranges[i].lo, ranges[i].hi, e);
    if (s->n_heads % s->n_kv_heads)
        return err_set(e, ERR_USAGE, "%d attention heads cannot share %d key-value heads evenly",
                       s->n_heads, s->n_kv_heads);
    if (s->head_dim % 2)
        return err_set(e, ERR_USAGE,
                       "heads of %d dimensions cannot be rotated in pairs; an even "
                       "number is needed",
                       s->head_dim);
    if (s->n_heads * s->head_dim > SYNTHESIS_MAX_WIDTH)
        return err_set(e, ERR_USAGE, "%d heads of %d dimensions are more than %d together",
                       s->n_heads, s->head_dim, SYNTHESIS_MAX_WIDTH);
    return 0;
}

// ---- the tensors of a shape --------------------------------------------------------------------

enum fill { FILL_NORMS, FILL_BIAS, FILL_WEIGHTS };

struct tensor {
    char name[NAME_BYTES];
    enum fill fill;
    uint32_t type;
    int n_dims;
    uint64_t dims[3]; // inputs, rows, matrices
};

struct walk {
    const struct synthesis *s;
    int layer; // -1 outside of layers
    int stack; // matrices of a tensor
    void (*see)(void *arg, const struct tensor *t);
    void *arg;
};

static void see(const struct walk *w, const char *name, enum fill fill, enum mix_role role,
                int n_in, int rows)
{
    struct tensor t = {.fill = fill, .n_dims = rows ? 2 : 1, .dims = {(uint64_t)n_in, 1, 1}};
    const char *suffix = fill == FILL_BIAS ? "bias" : "weight";
    if (w->layer < 0)
        snprintf(t.name, sizeof t.name, "%s.%s", name, suffix);
    else
        snprintf(t.name, sizeof t.name, "blk.%d.%s.%s", w->layer, name, suffix);
    if (rows)
        t.dims[1] = (uint64_t)rows;
    if (w->stack > 1) {
        t.n_dims = 3;
        t.dims[2] = (uint64_t)w->stack;
    }
    t.type = mix_type(w->s->mix, role, w->layer, w->s->n_layers, t.dims[0]);
    w->see(w->arg, &t);
}

static void see_mixture(struct walk *w)
{
    const struct synthesis *s = w->s;
    see(w, "ffn_gate_inp", FILL_WEIGHTS, MIX_VECTOR, s->n_embd, s->n_experts);
    w->stack = s->n_experts;
    see(w, "ffn_gate_exps", FILL_WEIGHTS, MIX_MATRIX, s->n_embd, s->n_ff);
    see(w, "ffn_up_exps", FILL_WEIGHTS, MIX_MATRIX, s->n_embd, s->n_ff);
    see(w, "ffn_down_exps", FILL_WEIGHTS, MIX_FFN_DOWN, s->n_ff, s->n_embd);
    w->stack = 1;
}

static void see_layer(struct walk *w)
{
    const struct synthesis *s = w->s;
    int q = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;
    see(w, "attn_norm", FILL_NORMS, MIX_VECTOR, s->n_embd, 0);
    see(w, "attn_q", FILL_WEIGHTS, MIX_MATRIX, s->n_embd, q);
    see(w, "attn_k", FILL_WEIGHTS, MIX_MATRIX, s->n_embd, kv);
    see(w, "attn_v", FILL_WEIGHTS, MIX_ATTN_V, s->n_embd, kv);
    if (s->arch == SYNTHESIS_QWEN2) {
        see(w, "attn_q", FILL_BIAS, MIX_VECTOR, q, 0);
        see(w, "attn_k", FILL_BIAS, MIX_VECTOR, kv, 0);
        see(w, "attn_v", FILL_BIAS, MIX_VECTOR, kv, 0);
    }
    see(w, "attn_output", FILL_WEIGHTS, MIX_MATRIX, q, s->n_embd);
    see(w, "ffn_norm", FILL_NORMS, MIX_VECTOR, s->n_embd, 0);
    if (s->arch == SYNTHESIS_QWEN3MOE) {
        see(w, "attn_q_norm", FILL_NORMS, MIX_VECTOR, s->head_dim, 0);
        see(w, "attn_k_norm", FILL_NORMS, MIX_VECTOR, s->head_dim, 0);
        see_mixture(w);
        return;
    }
    see(w, "ffn_gate", FILL_WEIGHTS, MIX_MATRIX, s->n_embd, s->n_ff);
    see(w, "ffn_up", FILL_WEIGHTS, MIX_MATRIX, s->n_embd, s->n_ff);
    see(w, "ffn_down", FILL_WEIGHTS, MIX_FFN_DOWN, s->n_ff, s->n_embd);
}

static void walk_tensors(const struct synthesis *s, void (*seen)(void *arg, const struct tensor *t),
                         void *arg)
{
    struct walk w = {.s = s, .layer = -1, .stack = 1, .see = seen, .arg = arg};
    see(&w, "token_embd", FILL_WEIGHTS, s->tied ? MIX_OUTPUT : MIX_EMBEDDING, s->n_embd,
        s->n_vocab);
    for (w.layer = 0; w.layer < s->n_layers; w.layer++)
        see_layer(&w);
    w.layer = -1;
    see(&w, "output_norm", FILL_NORMS, MIX_VECTOR, s->n_embd, 0);
    if (!s->tied)
        see(&w, "output", FILL_WEIGHTS, MIX_OUTPUT, s->n_embd, s->n_vocab);
}

static uint64_t tensor_bytes(const struct tensor *t)
{
    size_t row = 0;
    CHECK(wtype_row_bytes(t->type, t->dims[0], &row)); // mix_type chose a type that fits
    return row * t->dims[1] * t->dims[2];              // below 2^52: synthesis_check
}

static void add_bytes(void *arg, const struct tensor *t)
{
    *(uint64_t *)arg += tensor_bytes(t);
}

static void add_parameters(void *arg, const struct tensor *t)
{
    *(uint64_t *)arg += t->dims[0] * t->dims[1] * t->dims[2];
}

uint64_t synthesis_weight_bytes(const struct synthesis *s)
{
    uint64_t sum = 0;
    walk_tensors(s, add_bytes, &sum);
    return sum;
}

uint64_t synthesis_parameters(const struct synthesis *s)
{
    uint64_t sum = 0;
    walk_tensors(s, add_parameters, &sum);
    return sum;
}

// ---- weights -----------------------------------------------------------------------------------

struct tile { // random blocks of one format, for matrices with n_in inputs
    uint32_t type;
    uint64_t n_in;
    uint8_t *blocks; // heap
    size_t n_blocks;
};

struct job {
    const struct synthesis *s;
    struct gguf_writer *w;
    struct tile tiles[MAX_TILES];
    int n_tiles;
    size_t tile_bytes;
    struct rng rng;
    uint64_t done, reported;
    bool (*progress)(void *arg, uint64_t done);
    void *arg;
    struct err *e;
    int rc;
};

static int fill_tile(struct job *j, struct tile *t)
{
    const struct wtype_info *info = wtype_info(t->type);
    size_t blocks = RANDOM_BLOCKS_WEIGHTS / info->width; // at once
    size_t most = (size_t)TILE_WEIGHTS / info->width * info->bytes;
    size_t bytes = j->tile_bytes < most ? j->tile_bytes : most;
    t->n_blocks = (bytes / info->bytes / blocks + 1) * blocks;
    t->blocks = malloc(t->n_blocks * info->bytes);
    if (!t->blocks)
        return err_set(j->e, ERR_NO_MEMORY, "no memory for %d MiB of random weights",
                       TILE_BYTES >> 20);
    random_blocks(t->type, t->blocks, t->n_blocks, 1.0f / sqrtf((float)t->n_in), &j->rng);
    return 0;
}

static const struct tile *tile_for(struct job *j, uint32_t type, uint64_t n_in)
{
    for (int i = 0; i < j->n_tiles; i++)
        if (j->tiles[i].type == type && j->tiles[i].n_in == n_in)
            return &j->tiles[i];
    CHECK(j->n_tiles < MAX_TILES); // three row lengths, three formats of a mix
    struct tile *t = &j->tiles[j->n_tiles++];
    t->type = type;
    t->n_in = n_in;
    j->rc = fill_tile(j, t);
    return j->rc ? NULL : t;
}

static void report(struct job *j, size_t bytes)
{
    j->done += bytes;
    if (!j->progress || j->done - j->reported < PROGRESS_BYTES)
        return;
    j->reported = j->done;
    if (!j->progress(j->arg, j->done))
        j->rc = err_set(j->e, ERR_FAILED, "interrupted; nothing is left of the file");
}

static void write_matrix(struct job *j, const struct tensor *tensor)
{
    const struct tile *t = tile_for(j, tensor->type, tensor->dims[0]);
    if (!t)
        return;
    size_t block = wtype_info(t->type)->bytes;
    for (uint64_t left = tensor_bytes(tensor) / block; left && !j->rc;) {
        uint64_t spread = rng_below(&j->rng, PIECE_MAX_BYTES - PIECE_MIN_BYTES);
        uint64_t n = (PIECE_MIN_BYTES + spread) / block;
        n = n < t->n_blocks ? n : t->n_blocks;
        n = n < left ? n : left;
        uint64_t from = rng_below(&j->rng, t->n_blocks - n + 1);
        gguf_write(j->w, t->blocks + from * block, n * block);
        report(j, n * block);
        left -= n;
    }
}

static void write_vector(struct job *j, const struct tensor *t)
{
    for (uint64_t i = 0; i < t->dims[0]; i++) {
        float x = random_weight(&j->rng);
        x = t->fill == FILL_NORMS ? 1 + 0.05f * x : 0.1f * x;
        gguf_write(j->w, &x, sizeof x);
    }
    report(j, t->dims[0] * sizeof(float));
}

static void write_tensor(void *arg, const struct tensor *t)
{
    struct job *j = arg;
    if (j->rc)
        return;
    if (t->fill == FILL_WEIGHTS)
        write_matrix(j, t);
    else
        write_vector(j, t);
}

// ---- the file ----------------------------------------------------------------------------------

static void declare_tensor(void *arg, const struct tensor *t)
{
    struct job *j = arg;
    gguf_declare(j->w, t->name, t->type, t->n_dims, t->dims);
    if (tensor_bytes(t) > j->tile_bytes)
        j->tile_bytes = tensor_bytes(t) < TILE_BYTES ? (size_t)tensor_bytes(t) : TILE_BYTES;
}

static int put_keys(struct gguf_writer *w, const struct synthesis *s, struct err *e)
{
    const char *arch = arch_names[s->arch];
    char text[96];
    const struct {
        const char *key;
        int value;
    } numbers[] = {
        {"block_count", s->n_layers},          {"context_length", s->context_length},
        {"embedding_length", s->n_embd},       {"feed_forward_length", s->n_ff},
        {"attention.head_count", s->n_heads},  {"attention.head_count_kv", s->n_kv_heads},
        {"attention.key_length", s->head_dim}, {"attention.value_length", s->head_dim},
        {"rope.dimension_count", s->head_dim}, {"vocab_size", s->n_vocab},
    };
    gguf_put_string(w, "general.architecture", arch, strlen(arch));
    int n = snprintf(text, sizeof text, "synthetic %s %s", s->name, s->mix->name);
    gguf_put_string(w, "general.name", text, (size_t)n);
    gguf_put_u32(w, "general.file_type", s->mix->file_type);
    gguf_put_u32(w, "general.quantization_version", 2);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        snprintf(text, sizeof text, "%s.%s", arch, numbers[i].key);
        gguf_put_u32(w, text, (uint32_t)numbers[i].value);
    }
    if (s->arch == SYNTHESIS_QWEN3MOE) {
        gguf_put_u32(w, "qwen3moe.expert_count", (uint32_t)s->n_experts);
        gguf_put_u32(w, "qwen3moe.expert_used_count", (uint32_t)s->n_used);
        gguf_put_u32(w, "qwen3moe.expert_feed_forward_length", (uint32_t)s->n_ff);
    }
    snprintf(text, sizeof text, "%s.attention.layer_norm_rms_epsilon", arch);
    gguf_put_f32(w, text, s->rms_eps);
    snprintf(text, sizeof text, "%s.rope.freq_base", arch);
    gguf_put_f32(w, text, s->rope_theta);
    return synthesis_vocab_put(w, s, e);
}

int synthesis_write(const struct synthesis *s, const char *path,
                    bool (*progress)(void *arg, uint64_t done), void *arg, struct err *e)
{
    struct job j = {.s = s, .progress = progress, .arg = arg, .e = e};
    int rc = gguf_writer_open(&j.w, path, e);
    if (rc)
        return rc;
    rng_init(&j.rng, s->seed);
    rc = put_keys(j.w, s, e);
    if (!rc) {
        walk_tensors(s, declare_tensor, &j);
        walk_tensors(s, write_tensor, &j);
        rc = j.rc;
    }
    if (!rc)
        rc = gguf_writer_finish(j.w, e);
    for (int i = 0; i < j.n_tiles; i++)
        free(j.tiles[i].blocks);
    gguf_writer_free(j.w);
    return rc;
}

int synthesis_header(const struct synthesis *s, struct gguf **out, struct err *e)
{
    struct job j = {.s = s, .e = e};
    char name[64];
    int rc = gguf_writer_open(&j.w, NULL, e);
    if (rc)
        return rc;
    rc = put_keys(j.w, s, e);
    walk_tensors(s, declare_tensor, &j);
    snprintf(name, sizeof name, "%s %s", s->name, s->mix->name);
    if (!rc)
        rc = gguf_writer_parse(j.w, name, out, e);
    gguf_writer_free(j.w);
    return rc;
}
