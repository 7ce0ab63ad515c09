// rondo bench: how fast a model runs here, beside how fast this machine reads memory.
//
// Decoding one token reads all weights once, so that tokens/s times bytes of weights is the
// bandwidth that decoding reaches; the share of what memory gives just before and just after each
// run says how much is left. A model that fits into the caches can have more than all of it.
// Prefill reads the weights once for each --batch tokens.
#include "app/interrupt.h"
#include "app/loaded.h"
#include "app/output.h"
#include "app/progress.h"
#include "app/verbs.h"
#include "base/clock.h"
#include "base/rng.h"
#include "engine/session.h"
#include "measure/dram.h"
#include "ring/hop_bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_REPEATS = 1000, HOP_COUNT = 4000 };

// What a model file holds: llama-bench's first columns.
struct contents {
    char name[96]; // "llama Q8_0"
    double bytes, params;
    double pass_bytes; // of weights that a pass reads
};

struct timing {
    char test[32]; // "pp512", "tg128"
    int n_tokens, n_samples;
    double rate[MAX_REPEATS]; // tokens/s
    double dram[MAX_REPEATS]; // GB/s that memory gave around the sample
    double mean, deviation, gbps, share;
};

struct bench {
    struct loaded loaded;
    struct contents contents;
    struct dram *dram;
    int n_prompt, n_tokens, repeats, batch;
    struct timing timings[2];
    int n_timings;
};

static void look_into(struct contents *c, const struct loaded *l)
{
    const struct hparams *h = model_hparams(l->model);
    double by_type[WT_COUNT] = {0};
    uint32_t most = 0;
    for (size_t i = 0; i < gguf_n_tensors(l->gguf); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(l->gguf, i);
        double elements = 1;
        for (int d = 0; d < GGUF_MAX_DIMS; d++)
            elements *= (double)t->dims[d];
        c->bytes += (double)t->size;
        c->params += elements;
        by_type[t->type] += (double)t->size;
        most = by_type[t->type] > by_type[most] ? t->type : most;
        // Of an embedding that is not the output matrix as well a pass reads single rows.
        if (h->tied_output || strcmp(t->name.text, "token_embd.weight"))
            c->pass_bytes += (double)t->size;
    }
    snprintf(c->name, sizeof c->name, "%s %s", h->arch, wtype_info(most)->name);
}

static void sum_up(struct timing *t, double bytes_per_token)
{
    double sum = 0, squares = 0, shares = 0;
    for (int i = 0; i < t->n_samples; i++) {
        sum += t->rate[i];
        shares += t->rate[i] * bytes_per_token / 1e9 / t->dram[i];
    }
    t->mean = sum / t->n_samples;
    for (int i = 0; i < t->n_samples; i++)
        squares += (t->rate[i] - t->mean) * (t->rate[i] - t->mean);
    t->deviation = t->n_samples > 1 ? sqrt(squares / (t->n_samples - 1)) : 0;
    t->gbps = t->mean * bytes_per_token / 1e9;
    t->share = shares / t->n_samples;
}

static bool go_on(void *arg, size_t done, size_t total)
{
    (void)arg, (void)done, (void)total;
    return !interrupt_seen();
}

// One run over `ids` from an empty session: as one prompt, or token by token behind the first.
static int64_t time_run(struct session *s, const int32_t *ids, int n, bool prompt, struct err *e)
{
    int rc = 0;
    session_truncate(s, 0);
    if (!prompt)
        rc = session_prompt(s, ids, 1, NULL, NULL, e);
    int64_t start = clock_ns();
    if (prompt)
        rc = session_prompt(s, ids, (size_t)n, go_on, NULL, e);
    for (int i = 1; i <= n && !prompt && !rc; i++)
        rc = interrupt_seen() ? SESSION_CANCELLED : session_append(s, ids[i], e);
    int64_t took = clock_ns() - start;
    if (rc == SESSION_CANCELLED)
        return err_set(e, ERR_FAILED, "interrupted before everything was measured");
    return rc ? rc : took > 0 ? took : 1;
}

static int time_test(struct bench *b, struct timing *t, struct session *s, const int32_t *ids,
                     bool prompt, struct progress *progress, struct err *e)
{
    int n = prompt ? b->n_prompt : b->n_tokens, repeats = b->repeats;
    double before = 0;
    snprintf(t->test, sizeof t->test, "%s%d", prompt ? "pp" : "tg", n);
    t->n_tokens = n;
    for (int i = -1; i < repeats; i++) { // once to warm up
        progress_set(progress, (size_t)(i + 1), (size_t)repeats + 1);
        int64_t took = time_run(s, ids, i < 0 && !prompt ? 1 : n, prompt, e);
        if (took < 0)
            return (int)took;
        double after = dram_read_gbps(b->dram);
        if (i >= 0) {
            t->dram[t->n_samples] = (before + after) / 2;
            t->rate[t->n_samples++] = n * 1e9 / (double)took;
        }
        before = after;
    }
    return 0;
}

static int time_model(struct bench *b, struct err *e)
{
    struct pipeline *p = b->loaded.pipeline;
    struct session_options options = {0};
    struct session *s;
    struct progress progress;
    static int32_t ids[(1 << 20) + 1];
    struct rng r;
    rng_init(&r, 1);
    for (int i = 0; i < p->info.max_context; i++)
        ids[i] = (int32_t)rng_below(&r, (uint64_t)p->info.hparams->n_vocab);
    int rc = session_new(&s, p, &options, e);
    if (rc)
        return rc;
    double pass_bytes = b->contents.pass_bytes;
    if (b->n_prompt) {
        struct timing *t = &b->timings[b->n_timings++];
        double passes = ceil((double)b->n_prompt / b->batch);
        progress_start(&progress, "measuring prompts", "runs");
        rc = time_test(b, t, s, ids, true, &progress, e);
        progress_end(&progress);
        if (!rc)
            sum_up(t, pass_bytes * passes / b->n_prompt);
    }
    if (b->n_tokens && !rc) {
        struct timing *t = &b->timings[b->n_timings++];
        progress_start(&progress, "measuring generation", "runs");
        rc = time_test(b, t, s, ids, false, &progress, e);
        progress_end(&progress);
        if (!rc)
            sum_up(t, pass_bytes);
    }
    session_free(s);
    return rc;
}

struct range_gbps {
    double least, mean, most;
    int n;
};

// What memory gave around all samples.
static struct range_gbps dram_range(const struct bench *b)
{
    struct range_gbps r = {.least = INFINITY};
    for (int i = 0; i < b->n_timings; i++)
        for (int j = 0; j < b->timings[i].n_samples; j++) {
            double gbps = b->timings[i].dram[j];
            r.least = fmin(r.least, gbps);
            r.most = fmax(r.most, gbps);
            r.mean += gbps;
            r.n++;
        }
    r.mean /= r.n;
    return r;
}

static void print_table(const struct bench *b)
{
    const struct contents *c = &b->contents;
    puts("| model | size | params | backend | threads | test | t/s | GB/s | of DRAM |\n"
         "|---|---:|---:|---|---:|---:|---:|---:|---:|");
    for (int i = 0; i < b->n_timings; i++) {
        const struct timing *t = &b->timings[i];
        char backend[64];
        snprintf(backend, sizeof backend, "%.*s",
                 (int)strcspn(b->loaded.pipeline->info.description, ","),
                 b->loaded.pipeline->info.description);
        printf("| %s | %.2f MiB | %.2f M | %s | %d | %s | %.2f ± %.2f | %.2f | %.0f %% |\n",
               c->name, c->bytes / 1048576, c->params / 1e6, backend, dram_threads(b->dram),
               t->test, t->mean, t->deviation, t->gbps, 100 * t->share);
    }
    struct range_gbps r = dram_range(b);
    printf("\nDRAM: %.1f GB/s (%.1f to %.1f) read by %d threads around the runs, over %zu MiB\n",
           r.mean, r.least, r.most, dram_threads(b->dram), dram_bytes(b->dram) >> 20);
}

static json_t *json_timing(const struct timing *t)
{
    json_t *samples = json_array();
    for (int i = 0; i < t->n_samples; i++)
        json_array_append_new(samples, json_real(t->rate[i]));
    return json_pack("{s:s, s:i, s:f, s:f, s:o, s:f, s:f}", "test", t->test, "tokens", t->n_tokens,
                     "tokens_per_s", t->mean, "deviation", t->deviation, "samples", samples, "gbps",
                     t->gbps, "dram_share", t->share);
}

static int print_json(const struct bench *b, struct err *e)
{
    json_t *tests = json_array();
    struct range_gbps r = dram_range(b);
    char path[256];
    err_quote(path, sizeof path, b->loaded.path, (int)strlen(b->loaded.path));
    for (int i = 0; i < b->n_timings; i++)
        json_array_append_new(tests, json_timing(&b->timings[i]));
    return output_json(
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:i, s:i, s:{s:f, s:f, s:f, s:I, s:i}, s:o}",
                  "version", RONDO_VERSION, "model", path, "type", b->contents.name, "bytes",
                  (json_int_t)b->contents.bytes, "params", (json_int_t)b->contents.params,
                  "backend", b->loaded.pipeline->info.description, "threads", dram_threads(b->dram),
                  "batch", b->batch, "dram", "read_gbps", r.mean, "least_gbps", r.least,
                  "most_gbps", r.most, "buffer_bytes", (json_int_t)dram_bytes(b->dram), "readings",
                  r.n, "tests", tests),
        e);
}

static int bench_model(const struct options *o, struct err *e)
{
    static struct bench b; // samples make it large
    b = (struct bench){.n_prompt = (int)options_int(o, OPT_PROMPT_TOKENS),
                       .n_tokens = (int)options_int(o, OPT_TOKENS),
                       .repeats = (int)options_int(o, OPT_REPEATS),
                       .batch = (int)options_int(o, OPT_BATCH)};
    int longest = b.n_prompt > b.n_tokens ? b.n_prompt : b.n_tokens;
    struct loaded_wants wants = {.max_sessions = 1, .max_context = longest + 1};
    if (longest > 1 << 20 || !longest)
        return err_set(e, ERR_USAGE, "there is nothing to measure; give -p or -n up to %d",
                       1 << 20);
    int rc = loaded_open(&b.loaded, options_arg(o, 0), o, &wants, e);
    if (rc)
        return rc;
    interrupt_catch();
    look_into(&b.contents, &b.loaded);
    rc = dram_open(&b.dram, (int)options_int(o, OPT_THREADS), 0, e);
    if (!rc)
        rc = time_model(&b, e);
    if (!rc && options_flag(o, OPT_JSON))
        rc = print_json(&b, e);
    else if (!rc)
        print_table(&b);
    dram_close(b.dram);
    loaded_close(&b.loaded);
    return rc && interrupt_seen() ? INTERRUPT_EXIT_CODE : rc;
}

static json_t *json_hop(const struct hop_figures *h)
{
    return json_pack("{s:f, s:f, s:f, s:i}", "p50_us", h->p50_us, "p90_us", h->p90_us, "p99_us",
                     h->p99_us, "frames", h->n);
}

static int bench_hops(const struct options *o, struct err *e)
{
    struct hop_figures link, loops;
    uint32_t payload = (uint32_t)options_int(o, OPT_PAYLOAD);
    int rc = hop_bench(&link, &loops, payload, HOP_COUNT, e);
    if (rc)
        return rc;
    if (options_flag(o, OPT_JSON))
        return output_json(json_pack("{s:i, s:o, s:o}", "payload_bytes", (int)payload, "link",
                                     json_hop(&link), "loops", json_hop(&loops)),
                           e);
    printf("| one way, %u bytes, TLS 1.3 over loopback | p50 | p90 | p99 |\n"
           "|---|---:|---:|---:|\n"
           "| link only | %.1f µs | %.1f µs | %.1f µs |\n"
           "| compute loop to compute loop | %.1f µs | %.1f µs | %.1f µs |\n",
           payload, link.p50_us, link.p90_us, link.p99_us, loops.p50_us, loops.p90_us,
           loops.p99_us);
    return 0;
}

static int run(const struct options *o, struct err *e)
{
    if (options_flag(o, OPT_HOPS) == (o->n_args > 0))
        return err_set(
            e, ERR_USAGE,
            "name a MODEL to measure it, or --hops to measure the way from node to node");
    return options_flag(o, OPT_HOPS) ? bench_hops(o, e) : bench_model(o, e);
}

const struct verb verb_bench = {
    .name = "bench",
    .summary = "how fast a model, or a hop between nodes, is on this machine",
    .usage = "[MODEL]",
    .text = "pp512 is a prompt of 512 tokens, tg128 the generation of 128. GB/s is weights read: "
            "once for each token generated, once for each --batch tokens of a prompt; its share is "
            "of the bandwidth of memory, measured around each run with as many threads. A model "
            "that fits into the caches of the processor can have more than all of it.",
    .options = (const struct verb_option[]){{OPT_PROMPT_TOKENS, "512"},
                                            {OPT_TOKENS, "128"},
                                            {OPT_REPEATS, "5"},
                                            {OPT_HOPS, NULL},
                                            {OPT_PAYLOAD, "32K"},
                                            {OPT_THREADS, "0"},
                                            {OPT_KV, "f16"},
                                            {OPT_ISA, "auto"},
                                            {OPT_BATCH, "512"},
                                            {OPT_JSON, NULL},
                                            {OPT_END, NULL}},
    .max_args = 1,
    .run = run,
};
