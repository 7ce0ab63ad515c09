// rondo perplexity: how well a model predicts a text.
#include "app/interrupt.h"
#include "app/output.h"
#include "app/progress.h"
#include "app/prompt.h"
#include "app/score.h"
#include "app/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX_BYTES = 256 << 20 };

static bool show_progress(void *arg, const struct score *s, size_t done)
{
    progress_set(arg, done, s->n_tokens);
    return !interrupt_seen();
}

static int print(const struct score *s, const struct loaded *l, enum scoring scoring, int ctx,
                 bool json, struct err *e)
{
    char path[256];
    if (json) {
        err_quote(path, sizeof path, l->path, (int)strlen(l->path));
        return output_json(json_pack("{s:s, s:f, s:f, s:f, s:I, s:I, s:I, s:i, s:s, s:s}", "model",
                                     path, "perplexity", score_perplexity(s), "uncertainty",
                                     score_uncertainty(s), "nll", score_nll(s), "scored",
                                     (json_int_t)s->n_scored, "tokens", (json_int_t)s->n_tokens,
                                     "windows", (json_int_t)s->n_windows, "ctx", ctx, "scoring",
                                     option_table[OPT_SCORING].names[scoring], "on",
                                     l->pipeline->info.description),
                           e);
    }
    printf("perplexity %.4f ± %.4f\n%zu of %zu tokens scored in %zu windows of %d (%s)\n",
           score_perplexity(s), score_uncertainty(s), s->n_scored, s->n_tokens, s->n_windows, ctx,
           option_table[OPT_SCORING].names[scoring]);
    return 0;
}

static int score_text(struct score *s, struct loaded *l, const struct options *o, const char *text,
                      size_t length, struct err *e)
{
    enum scoring scoring = (enum scoring)options_enum(o, OPT_SCORING);
    struct progress progress;
    struct ids tokens = {0};
    int rc = vocab_encode(l->vocab, text, length, scoring == SCORING_HALF ? ENCODE_SPECIAL : 0,
                          &tokens, e);
    interrupt_catch();
    progress_start(&progress, "scoring the text", "tokens");
    if (!rc)
        rc = score_tokens(s, l, &tokens, scoring, l->pipeline->info.max_context, show_progress,
                          &progress, e);
    progress_end(&progress);
    ids_free(&tokens);
    return rc;
}

static int run(const struct options *o, struct err *e)
{
    struct loaded l = {0};
    struct loaded_wants wants = {.max_sessions = 1, .every_logits = true, .stop = interrupt_seen};
    struct score s = {0};
    char *text = NULL;
    size_t length;
    int ctx = (int)options_int(o, OPT_CTX);
    int least = options_enum(o, OPT_SCORING) == SCORING_HALF ? 3 : 2;
    if (ctx && ctx < least)
        return err_set(e, ERR_USAGE, "--ctx %d leaves no token to predict; use %d or more", ctx,
                       least);
    int rc = prompt_read_file(options_arg(o, 1), TEXT_MAX_BYTES, &text, &length, e);
    if (!rc)
        rc = loaded_open(&l, options_arg(o, 0), o, &wants, e);
    if (!rc)
        rc = score_text(&s, &l, o, text, length, e);
    if (rc && interrupt_seen()) // before anything was scored
        rc = INTERRUPT_EXIT_CODE;
    if (!rc)
        rc = print(&s, &l, (enum scoring)options_enum(o, OPT_SCORING), l.pipeline->info.max_context,
                   options_flag(o, OPT_JSON), e);
    if (!rc && interrupt_seen())
        rc = INTERRUPT_EXIT_CODE;
    loaded_close(&l);
    free(text);
    return rc;
}

const struct verb verb_perplexity = {
    .name = "perplexity",
    .summary = "how well a model predicts a text",
    .usage = "MODEL FILE",
    .text = "FILE is a text, - standard input. It is cut into windows of --ctx tokens. --scoring "
            "every puts BOS in front of each window and scores every token; half scores the second "
            "half of each window only, as llama.cpp does, and leaves out what fills no window. "
            "Lower is better; compare only figures of one vocabulary, text, --ctx and "
            "--scoring.\n\nCtrl-C ends it with the figure so far (exit code 130).",
    .options = (const struct verb_option[]){{OPT_CTX, "512"},
                                            {OPT_SCORING, "half"},
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
