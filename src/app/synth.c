// rondo synth: writes a model of any shape with random weights.
#include "app/amounts.h"
#include "app/interrupt.h"
#include "app/place.h"
#include "app/progress.h"
#include "app/verbs.h"
#include "base/check.h"
#include "base/clock.h"
#include "hub/synthesis.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static void take(const struct options *o, enum option_id id, int *value)
{
    if (options_given(o, id))
        *value = (int)options_int(o, id);
}

static int read_spec(const struct options *o, struct synthesis *s, struct err *e)
{
    const char *shape = option_table[OPT_SHAPE].names[options_enum(o, OPT_SHAPE)];
    CHECK(synthesis_preset(shape, s));
    const char *type = options_text(o, OPT_TYPE);
    char quoted[32];
    s->mix = mix_find(type);
    if (!s->mix)
        return err_set(e, ERR_USAGE, "--type cannot be '%s'; it is one of " MIX_NAMES,
                       err_quote(quoted, sizeof quoted, type, (int)strnlen(type, 64)));
    s->seed = (uint64_t)options_int(o, OPT_MODEL_SEED);
    if (options_given(o, OPT_ARCH))
        s->arch = (enum synthesis_arch)options_enum(o, OPT_ARCH);
    if (s->arch == SYNTHESIS_QWEN3MOE && !s->n_experts) {
        s->n_experts = 128; // as Qwen3's mixtures
        s->n_used = 8;
    }
    take(o, OPT_EXPERTS, &s->n_experts);
    take(o, OPT_EXPERTS_USED, &s->n_used);
    if (options_given(o, OPT_TOKENIZER))
        s->vocab = (enum synthesis_vocab)options_enum(o, OPT_TOKENIZER);
    if (options_given(o, OPT_TIED))
        s->tied = options_flag(o, OPT_TIED);
    take(o, OPT_MODEL_LAYERS, &s->n_layers);
    take(o, OPT_EMBD, &s->n_embd);
    take(o, OPT_HEADS, &s->n_heads);
    take(o, OPT_KV_HEADS, &s->n_kv_heads);
    while (!options_given(o, OPT_KV_HEADS) && s->n_heads % s->n_kv_heads)
        s->n_kv_heads--; // as the shape has, or the nearest that the heads can share
    take(o, OPT_FFN, &s->n_ff);
    take(o, OPT_VOCAB, &s->n_vocab);
    take(o, OPT_MODEL_CTX, &s->context_length);
    if (options_given(o, OPT_EMBD) || options_given(o, OPT_HEADS))
        s->head_dim = s->n_embd / s->n_heads;
    take(o, OPT_HEAD_DIM, &s->head_dim);
    return synthesis_check(s, e);
}

struct watch {
    struct progress line;
    uint64_t total;
};

static bool told(void *arg, uint64_t done)
{
    struct watch *w = arg;
    progress_set(&w->line, (size_t)(done >> 20), (size_t)(w->total >> 20));
    return !interrupt_seen();
}

static void print_result(const struct synthesis *s, const char *path, uint64_t bytes, int64_t ns)
{
    char size[AMOUNT_BYTES], parameters[AMOUNT_BYTES];
    double seconds = (double)ns * 1e-9;
    amount_size(size, bytes);
    amount_count(parameters, synthesis_parameters(s));
    printf("%s: %s parameters in %s, %s, written in %.1f s", path, parameters, size, s->mix->name,
           seconds);
    if (seconds > 0.1)
        printf(" (%.2f GB/s)", (double)bytes / seconds * 1e-9);
    putchar('\n');
}

static int run(const struct options *o, struct err *e)
{
    const char *path = options_arg(o, 0);
    struct synthesis s;
    struct watch w;
    int rc = read_spec(o, &s, e);
    if (rc)
        return rc;
    w.total = synthesis_weight_bytes(&s);
    rc = place_check(path, w.total, "take a smaller shape or type", e);
    if (rc)
        return rc;
    interrupt_catch();
    int64_t start = clock_ns();
    progress_start(&w.line, "writing random weights", "MiB");
    rc = synthesis_write(&s, path, told, &w, e);
    progress_end(&w.line);
    if (rc && interrupt_seen())
        return INTERRUPT_EXIT_CODE;
    if (!rc)
        print_result(&s, path, w.total, clock_ns() - start);
    return rc;
}

const struct verb verb_synth = {
    .name = "synth",
    .summary = "write a model of any shape with random weights",
    .usage = "FILE",
    .text = "The model talks nonsense, but it has the shape, the formats and the arithmetic of a "
            "real one: measure with it what a machine or a ring of machines can do before you "
            "download anything. Weights are normal, activations stay sane, and its vocabulary "
            "reads any text. The same options and seed give the same bytes.\n\nAn 8B as people "
            "download it, 4.6 GiB: rondo synth 8b.gguf --shape 8b --type Q4_K_M\n\n"
            "Shapes: 1b, 3b, 8b and 70b as Llama 3, 30b and 65b as Llama 1, 14b, 32b and 72b as "
            "Qwen 2.5, 30b-a3b as Qwen 3's mixture of 128 experts; what is given beside --shape "
            "changes it.\nFormats: " MIX_NAMES
            ". _M: Q6_K for half of the layers' most sensitive matrices. The output matrix is in "
            "Q6_K where the format is narrower.\n\nThe file has its name when it is complete; "
            "Ctrl-C leaves nothing (exit code 130).",
    .options =
        (const struct verb_option[]){
            {OPT_SHAPE, "1b"},
            {OPT_TYPE, "Q8_0"},
            {OPT_ARCH, NULL},
            {OPT_MODEL_LAYERS, NULL},
            {OPT_EMBD, NULL},
            {OPT_HEADS, NULL},
            {OPT_KV_HEADS, NULL},
            {OPT_HEAD_DIM, NULL},
            {OPT_FFN, NULL},
            {OPT_EXPERTS, NULL},
            {OPT_EXPERTS_USED, NULL},
            {OPT_VOCAB, NULL},
            {OPT_MODEL_CTX, NULL},
            {OPT_TIED, NULL},
            {OPT_TOKENIZER, NULL},
            {OPT_MODEL_SEED, "0"},
            {OPT_END, NULL},
        },
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
