// rondo imatrix: how strongly each column of a model's matrices is used, learned from a text.
#include "app/interrupt.h"
#include "app/output.h"
#include "app/place.h"
#include "app/progress.h"
#include "app/prompt.h"
#include "app/score.h"
#include "app/verbs.h"
#include "base/log.h"
#include "hub/importance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX_BYTES = 256 << 20, ROOM_BYTES = 1 << 20, FEW_TOKENS = 10000 };

struct learning {
    const char *path; // of the new file
    struct imatrix_sums *sums;
    struct loaded loaded;
    struct score score;
};

// In the compute thread; the first product comes with the first tokens, when there are sums.
static void see(void *arg, uint32_t piece, const float *x)
{
    imatrix_sums_add(((struct learning *)arg)->sums, piece, x);
}

static bool show_progress(void *arg, const struct score *s, size_t done)
{
    progress_set(arg, done, s->n_tokens);
    return !interrupt_seen();
}

static int run_text(struct learning *l, const char *text, size_t length, struct err *e)
{
    struct progress progress;
    struct ids tokens = {0};
    int rc = vocab_encode(l->loaded.vocab, text, length, 0, &tokens, e);
    progress_start(&progress, "running the text", "tokens");
    if (!rc)
        rc = score_tokens(&l->score, &l->loaded, &tokens, SCORING_EVERY,
                          l->loaded.pipeline->info.max_context, show_progress, &progress, e);
    progress_end(&progress);
    ids_free(&tokens);
    return interrupt_seen() ? INTERRUPT_EXIT_CODE : rc;
}

static int write_sums(struct learning *l, const char *dataset, struct err *e)
{
    const char *slash = strrchr(dataset, '/');
    return imatrix_sums_write(l->sums, l->path, slash ? slash + 1 : dataset, l->score.n_windows,
                              (uint64_t)l->loaded.pipeline->info.max_context, e);
}

static int print(const struct learning *l, const struct options *o, struct err *e)
{
    size_t reached, all;
    char path[256];
    imatrix_sums_count(l->sums, &reached, &all);
    if (options_flag(o, OPT_JSON)) {
        err_quote(path, sizeof path, l->path, (int)strlen(l->path));
        return output_json(json_pack("{s:s, s:I, s:I, s:I, s:I, s:i, s:f}", "file", path,
                                     "matrices", (json_int_t)all, "reached", (json_int_t)reached,
                                     "tokens", (json_int_t)l->score.n_tokens, "windows",
                                     (json_int_t)l->score.n_windows, "ctx",
                                     l->loaded.pipeline->info.max_context, "perplexity",
                                     score_perplexity(&l->score)),
                           e);
    }
    printf("%s: importance of %zu of %zu matrices, from %zu tokens in %zu windows of %d "
           "(perplexity %.4f)\n",
           l->path, reached, all, l->score.n_tokens, l->score.n_windows,
           l->loaded.pipeline->info.max_context, score_perplexity(&l->score));
    return 0;
}

static void warn_few(const struct learning *l)
{
    if (l->score.n_tokens < FEW_TOKENS)
        log_warn("%zu tokens say little; some 100,000 of the kind that the model is for are better",
                 l->score.n_tokens);
}

static int run(const struct options *o, struct err *e)
{
    struct learning l = {.path = options_text(o, OPT_OUT_FILE)};
    struct loaded_wants wants = {
        .max_sessions = 1, .every_logits = true, .stop = interrupt_seen, .observer = {see, &l}};
    char *text = NULL;
    size_t length;
    if (!l.path)
        return err_set(e, ERR_USAGE, "say with -o FILE where the importance matrix shall go");
    int ctx = (int)options_int(o, OPT_CTX);
    if (ctx && ctx < 2)
        return err_set(e, ERR_USAGE, "--ctx %d leaves no token to predict; use 2 or more", ctx);
    int rc = place_check(l.path, ROOM_BYTES, "make room first", e);
    if (!rc)
        rc = prompt_read_file(options_arg(o, 1), TEXT_MAX_BYTES, &text, &length, e);
    interrupt_catch();
    if (!rc)
        rc = loaded_open(&l.loaded, options_arg(o, 0), o, &wants, e);
    if (!rc)
        rc = imatrix_sums_new(&l.sums, l.loaded.gguf, e);
    if (!rc)
        rc = run_text(&l, text, length, e);
    if (!rc)
        rc = write_sums(&l, options_arg(o, 1), e);
    if (!rc) {
        warn_few(&l);
        rc = print(&l, o, e);
    }
    loaded_close(&l.loaded); // the sums refer to its tensors no more
    imatrix_sums_free(l.sums);
    free(text);
    return rc;
}

const struct verb verb_imatrix = {
    .name = "imatrix",
    .summary = "learn from a text which weights of a model are used most",
    .usage = "MODEL TEXT -o FILE",
    .text = "Runs TEXT (- standard input) through the model, in windows of --ctx tokens, and sums "
            "up what each column of each matrix is multiplied with. rondo quantize --imatrix FILE "
            "then keeps those weights best that matter most. Take the model in the best format "
            "that this machine can run, and a text of the kind that it is for: some 100,000 "
            "tokens.\n\nThe file is a GGUF as llama.cpp writes it, and rondo quantize reads those "
            "of llama.cpp, old ones (.dat) too.\n\nThe file has its name when it is complete; "
            "Ctrl-C leaves nothing (exit code 130).",
    .options = (const struct verb_option[]){{OPT_OUT_FILE, NULL},
                                            {OPT_CTX, "512"},
                                            {OPT_THREADS, "0"},
                                            {OPT_PIN, "auto"},
                                            {OPT_KV, "f16"},
                                            {OPT_ISA, "auto"},
                                            {OPT_LAYOUT, "auto"},
                                            {OPT_MEMORY, "auto"},
                                            {OPT_RESIDENCY, "auto"},
                                            {OPT_BATCH, "512"},
                                            {OPT_JSON, NULL},
                                            {OPT_END, NULL}},
    .min_args = 2,
    .max_args = 2,
    .run = run,
};
