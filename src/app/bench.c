// rondo bench: how fast a model runs here, beside what this machine can do.
//
// Decoding one token reads all weights once, so that tokens/s times bytes is the bandwidth that
// decoding reaches; its share of what memory gives around each run says how much is left. Prefill
// multiplies, and its share is of the peak of int8 arithmetic. A model that fits into the caches
// can have more than all of memory.
#include "app/bench.h"

#include "app/interrupt.h"
#include "app/output.h"
#include "app/sheet.h"
#include "app/verbs.h"
#include "base/pool.h"
#include "ring/hop_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOP_COUNT = 4000 };

// ---- the tests ---------------------------------------------------------------------------------

int bench_longest(const struct bench *b, bool passes)
{
    int longest = 0;
    for (int i = 0; i < b->n_tests; i++)
        if ((b->tests[i].kind == BENCH_PASS) == passes && b->tests[i].n > longest)
            longest = b->tests[i].n;
    return longest;
}

static int find_test(const struct bench *b, enum bench_kind kind, int n, int depth)
{
    for (int i = 0; i < b->n_tests; i++)
        if (b->tests[i].kind == kind && b->tests[i].n == n && b->tests[i].depth == depth)
            return i;
    return -1;
}

// Once each. A pass is compared with the pass of one token, the others with themselves at depth 0.
static void add_test(struct bench *b, enum bench_kind kind, int n, int depth)
{
    static const char *const prefix[] = {"pp", "tg", "n"};
    struct bench_test *t = &b->tests[b->n_tests];
    if (!n || find_test(b, kind, n, depth) >= 0)
        return;
    *t = (struct bench_test){.kind = kind, .n = n, .depth = depth, .against = -1};
    int length = snprintf(t->name, sizeof t->name, "%s%d", prefix[kind], n);
    if (depth)
        snprintf(t->name + length, sizeof t->name - (size_t)length, " @ d%d", depth);
    if (kind == BENCH_PASS && n > 1)
        t->against = find_test(b, kind, 1, depth);
    else if (depth)
        t->against = find_test(b, kind, n, 0);
    b->n_tests++;
}

static int choose_tests(struct bench *b, const struct options *o, struct err *e)
{
    int given[OPTION_LIST_MAX], prompts[OPTION_LIST_MAX], answers[OPTION_LIST_MAX];
    int widths[OPTION_LIST_MAX + 1] = {1};
    int n_given = options_list(o, OPT_DEPTHS, given);
    int n_prompts = options_list(o, OPT_PROMPT_SIZES, prompts);
    int n_answers = options_list(o, OPT_ANSWER_SIZES, answers);
    int n_widths = options_list(o, OPT_WIDTHS, widths + 1);
    b->n_depths = 1;
    for (int i = 0; i < n_given; i++) {
        bool known = false;
        for (int k = 0; k < b->n_depths; k++)
            known |= b->depths[k] == given[i];
        if (!known)
            b->depths[b->n_depths++] = given[i];
    }
    for (int d = 0; d < b->n_depths; d++) {
        for (int i = 0; i < n_prompts; i++)
            add_test(b, BENCH_PROMPT, prompts[i], b->depths[d]);
        for (int i = 0; i < n_answers; i++)
            add_test(b, BENCH_ANSWER, answers[i], b->depths[d]);
        for (int i = 0; n_widths && i <= n_widths; i++)
            add_test(b, BENCH_PASS, widths[i], b->depths[d]);
    }
    if (!b->n_tests)
        return err_set(e, ERR_USAGE,
                       "there is nothing to measure; give --prompt, --gen or "
                       "--widths");
    b->samples = calloc((size_t)b->n_tests * (size_t)b->repeats, sizeof *b->samples);
    if (!b->samples)
        return err_set(e, ERR_NO_MEMORY, "no memory for what is measured");
    for (int i = 0; i < b->n_tests; i++)
        b->tests[i].samples = b->samples + (size_t)i * (size_t)b->repeats;
    return 0;
}

// ---- a model -----------------------------------------------------------------------------------

static int pages(int tokens)
{
    return tokens / KV_PAGE_TOKENS + 2; // the ends may be partial
}

static int open_model(struct bench *b, const struct options *o, struct err *e)
{
    int widest = bench_longest(b, true), longest = bench_longest(b, false), deepest = 0;
    for (int i = 0; i < b->n_depths; i++)
        deepest = b->depths[i] > deepest ? b->depths[i] : deepest;
    struct loaded_wants wants = {
        .max_sessions = b->n_depths * 2,
        .max_context = deepest + (longest > widest ? longest : widest) + 1,
        .max_outputs = widest > 1 ? widest : 1,
        .kv_pages = pages(deepest) + b->n_depths * (pages(longest) + pages(widest)),
        .stop = interrupt_seen,
    };
    return loaded_open(&b->loaded, options_arg(o, 0), o, &wants, e);
}

static bool anything_measured(const struct bench *b)
{
    return b->n_tests && b->tests[0].n_samples;
}

static int run_tests(struct bench *b, const struct options *o, enum bench_output output,
                     struct err *e)
{
    int threads = (int)options_int(o, OPT_THREADS);
    b->threads = threads ? threads : pool_default_threads();
    bench_look_into(b);
    for (int i = 0; i < b->n_tests; i++)
        bench_cost(b, &b->tests[i]);
    // Who says what may be taken does not want a buffer of a gigabyte beside it.
    bool bounded = options_given(o, OPT_MEMORY) || options_given(o, OPT_RESIDENCY);
    int rc = bounded ? 0 : dram_open(&b->dram, threads, 0, e);
    if (!rc)
        rc = int_peak_open(&b->peak, b->isa, threads, e);
    if (!rc)
        rc = bench_measure(b, e);
    if (!rc && anything_measured(b))
        rc = bench_print(b, output, e);
    if (!rc && b->interrupted)
        rc = INTERRUPT_EXIT_CODE;
    int_peak_close(b->peak);
    dram_close(b->dram);
    return rc;
}

static int bench_model(const struct options *o, enum bench_output output, struct err *e)
{
    static struct bench b; // tests make it large
    int isa = options_enum(o, OPT_ISA);
    b = (struct bench){.repeats = (int)options_int(o, OPT_REPEATS),
                       .batch = (int)options_int(o, OPT_BATCH),
                       .kv_type = (enum kv_type)options_enum(o, OPT_KV),
                       .isa = isa < ISA_COUNT ? (enum isa)isa : isa_detect()};
    int rc = choose_tests(&b, o, e);
    if (!rc)
        rc = open_model(&b, o, e);
    if (!rc) {
        interrupt_catch();
        rc = run_tests(&b, o, output, e);
    }
    loaded_close(&b.loaded);
    free(b.samples);
    return rc;
}

// ---- hops --------------------------------------------------------------------------------------

static json_t *json_hop(const struct hop_figures *h)
{
    return json_pack("{s:f, s:f, s:f, s:i}", "p50_us", h->p50_us, "p90_us", h->p90_us, "p99_us",
                     h->p99_us, "frames", h->n);
}

static void add_hop(struct sheet *s, const char *way, const struct hop_figures *h)
{
    sheet_add(s, "%s", way);
    sheet_add(s, "%.1f µs", h->p50_us);
    sheet_add(s, "%.1f µs", h->p90_us);
    sheet_add(s, "%.1f µs", h->p99_us);
}

static int bench_hops(const struct options *o, enum bench_output output, struct err *e)
{
    static const bool right[] = {false, true, true, true};
    struct hop_figures link, loops;
    uint32_t payload = (uint32_t)options_int(o, OPT_PAYLOAD);
    int rc = hop_bench(&link, &loops, payload, HOP_COUNT, e);
    if (rc)
        return rc;
    if (output == BENCH_JSON)
        return output_json(json_pack("{s:i, s:o, s:o}", "payload_bytes", (int)payload, "link",
                                     json_hop(&link), "loops", json_hop(&loops)),
                           e);
    if (output == BENCH_CSV) {
        printf("way,payload_bytes,p50_us,p90_us,p99_us,frames\n"
               "link,%u,%.12g,%.12g,%.12g,%d\nloops,%u,%.12g,%.12g,%.12g,%d\n",
               payload, link.p50_us, link.p90_us, link.p99_us, link.n, payload, loops.p50_us,
               loops.p90_us, loops.p99_us, loops.n);
        return 0;
    }
    char title[64];
    struct sheet s;
    snprintf(title, sizeof title, "one way, %u bytes, TLS 1.3 over loopback", payload);
    sheet_init(&s, (const char *const[]){title, "p50", "p90", "p99"}, right, 4);
    add_hop(&s, "link only", &link);
    add_hop(&s, "compute loop to compute loop", &loops);
    if (output == BENCH_MD)
        sheet_print_markdown(&s);
    else
        sheet_print_columns(&s);
    sheet_fini(&s);
    return 0;
}

static int run(const struct options *o, struct err *e)
{
    enum bench_output output = (enum bench_output)options_enum(o, OPT_OUTPUT);
    if (options_flag(o, OPT_HOPS) == (o->n_args > 0))
        return err_set(
            e, ERR_USAGE,
            "name a MODEL to measure it, or --hops to measure the way from node to node");
    if (options_flag(o, OPT_JSON) && options_given(o, OPT_OUTPUT) && output != BENCH_JSON)
        return err_set(e, ERR_USAGE, "--json and --output %s contradict each other; use one",
                       option_table[OPT_OUTPUT].names[output]);
    if (options_flag(o, OPT_JSON))
        output = BENCH_JSON;
    return options_flag(o, OPT_HOPS) ? bench_hops(o, output, e) : bench_model(o, output, e);
}

const struct verb verb_bench = {
    .name = "bench",
    .summary = "how fast a model, or a hop between nodes, is on this machine",
    .usage = "[MODEL]",
    .text =
        "pp512 is a prompt of 512 tokens, tg128 an answer of 128, n4 one pass of 4 tokens that all "
        "want logits: what speculation and several users cost. \"@ d4096\" is behind 4096 tokens "
        "that a prompt put into the cache. t/s is the middle of all runs and its standard "
        "deviation; ms is of a whole prompt, one token of an answer, one pass; time compares with "
        "an empty cache, and passes with a pass of one token, round by round.\n\nGB/s is what a "
        "run reads at least: all weights once a pass (of experts as many as its tokens use), and "
        "the keys and values before it; DRAM is its share of the bandwidth of memory. Gop/s is 2 x "
        "weights x tokens a second, attention not counted; int8 is its share of the peak of this "
        "instruction set. Both limits are measured around each run with as many threads; that of "
        "memory is not with --memory or --residency, because its buffer would take what they share "
        "out. A model that fits into the caches can have more than all of memory.\n\nAll tests run "
        "by turns, "
        "--repeats times. Ctrl-C ends it with "
        "what there is (exit code 130).",
    .options = (const struct verb_option[]){{OPT_PROMPT_SIZES, "512"},
                                            {OPT_ANSWER_SIZES, "128"},
                                            {OPT_WIDTHS, NULL},
                                            {OPT_DEPTHS, NULL},
                                            {OPT_REPEATS, "5"},
                                            {OPT_OUTPUT, "table"},
                                            {OPT_JSON, NULL},
                                            {OPT_HOPS, NULL},
                                            {OPT_PAYLOAD, "32K"},
                                            {OPT_THREADS, "0"},
                                            {OPT_PIN, "auto"},
                                            {OPT_KV, "f16"},
                                            {OPT_ISA, "auto"},
                                            {OPT_LAYOUT, "auto"},
                                            {OPT_MEMORY, "auto"},
                                            {OPT_RESIDENCY, "auto"},
                                            {OPT_BATCH, "512"},
                                            {OPT_END, NULL}},
    .max_args = 1,
    .run = run,
};
