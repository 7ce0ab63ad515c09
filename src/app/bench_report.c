// Figures to text: see bench.h. Every format names the machine, the commit, the instruction set and
// the threads, because a figure without them is worth nothing.
#include "app/amounts.h"
#include "app/bench.h"
#include "app/output.h"
#include "app/sheet.h"
#include "app/version.h"
#include "base/check.h"

#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = {"prompt", "answer", "pass"};

static const char *kv_name(const struct bench *b)
{
    return option_table[OPT_KV].names[b->kv_type];
}

static const char *against(const struct bench *b, const struct bench_test *t)
{
    return t->against < 0 ? "" : b->tests[t->against].name;
}

// "cpu avx2"
static void backend_name(const struct bench *b, char *out, size_t size)
{
    const char *all = b->loaded.pipeline->info.description;
    snprintf(out, size, "%.*s", (int)strcspn(all, ","), all);
}

// ---- for people --------------------------------------------------------------------------------

static const char *const titles[] = {"model", "size",  "params", "backend", "threads",
                                     "kv",    "test",  "t/s",    "ms",      "GB/s",
                                     "DRAM",  "Gop/s", "int8",   "time"};
static const bool right[] = {false, true, true, false, true, false, false,
                             true,  true, true, true,  true, true,  false};
enum { N_COLUMNS = sizeof right / sizeof *right, SHARED_COLUMNS = 6 };
_Static_assert(sizeof titles / sizeof *titles == N_COLUMNS, "a side for each column");

static void add_share(struct sheet *s, double share)
{
    if (share > 0)
        sheet_add(s, "%.0f %%", 100 * share);
    else
        sheet_add(s, "%s", "");
}

static void add_figures(struct sheet *s, const struct bench *b, const struct bench_test *t)
{
    struct bench_figures f = bench_figures_of(b, t);
    sheet_add(s, "%s", t->name);
    sheet_add(s, "%.2f ± %.2f", f.tokens_per_s, f.deviation);
    sheet_add(s, t->kind == BENCH_ANSWER ? "%.2f" : "%.1f",
              t->kind == BENCH_ANSWER ? f.ms / t->n : f.ms);
    sheet_add(s, "%.2f", f.gbps);
    add_share(s, f.dram_share);
    sheet_add(s, "%.0f", f.gops);
    add_share(s, f.peak_share);
    if (f.relative > 0)
        sheet_add(s, "%.2f × %s", f.relative, against(b, t));
    else
        sheet_add(s, "%s", "");
}

static void add_shared(struct sheet *s, const struct bench *b)
{
    char backend[64];
    backend_name(b, backend, sizeof backend);
    sheet_add(s, "%s", b->model.type);
    sheet_add(s, "%.2f MiB", b->model.bytes / 1048576);
    sheet_add(s, "%.2f M", b->model.params / 1e6);
    sheet_add(s, "%s", backend);
    sheet_add(s, "%d", b->threads);
    sheet_add(s, "%s", kv_name(b));
}

// What the figures were taken on; each line begins with `bullet`.
static void print_circumstances(const struct bench *b, const char *bullet)
{
    char memory[AMOUNT_BYTES];
    struct bench_range dram = bench_dram_range(b), peak = bench_peak_range(b);
    amount_size(memory, b->machine.memory_bytes);
    printf("%smachine: %s, %d hardware threads, %s, %s\n", bullet, b->machine.processor,
           b->machine.n_processors, memory, b->machine.system);
    printf("%srondo: %s, commit %s, on %s, batch %d, KV %s\n", bullet, RONDO_VERSION,
           version_commit(), b->loaded.pipeline->info.description, b->batch, kv_name(b));
    if (b->dram)
        printf(
            "%sDRAM: %.1f GB/s (%.1f to %.1f) read by %d threads around the runs, over %zu MiB\n",
            bullet, dram.middle, dram.least, dram.most, b->threads, dram_bytes(b->dram) >> 20);
    printf("%sint8: %.0f Gop/s (%.0f to %.0f), the peak of %s on %d threads around the runs\n",
           bullet, peak.middle, peak.least, peak.most, isa_name(b->isa), b->threads);
}

static void print_table(const struct bench *b)
{
    char size[AMOUNT_BYTES], params[AMOUNT_BYTES];
    struct sheet s;
    amount_size(size, (uint64_t)b->model.bytes);
    amount_count(params, (uint64_t)b->model.params);
    printf("model: %s, %s, %s parameters\n", b->model.type, size, params);
    print_circumstances(b, "");
    putchar('\n');
    sheet_init(&s, titles + SHARED_COLUMNS, right + SHARED_COLUMNS, N_COLUMNS - SHARED_COLUMNS);
    for (int i = 0; i < b->n_tests; i++)
        if (b->tests[i].n_samples)
            add_figures(&s, b, &b->tests[i]);
    sheet_print_columns(&s);
    sheet_fini(&s);
}

static void print_markdown(const struct bench *b)
{
    struct sheet s;
    sheet_init(&s, titles, right, N_COLUMNS);
    for (int i = 0; i < b->n_tests; i++)
        if (b->tests[i].n_samples) {
            add_shared(&s, b);
            add_figures(&s, b, &b->tests[i]);
        }
    sheet_print_markdown(&s);
    sheet_fini(&s);
    putchar('\n');
    print_circumstances(b, "- ");
}

// ---- for programs ------------------------------------------------------------------------------

// A field of text, always in quotes.
static void csv_text(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"')
            putchar('"');
        putchar(*text);
    }
    fputs("\",", stdout);
}

static void print_csv_row(const struct bench *b, const char *path, const struct bench_test *t)
{
    struct bench_figures f = bench_figures_of(b, t);
    struct bench_range dram = bench_dram_range(b), peak = bench_peak_range(b);
    const char *const texts[] = {RONDO_VERSION,
                                 version_commit(),
                                 b->machine.processor,
                                 b->machine.system,
                                 isa_name(b->isa),
                                 b->loaded.pipeline->info.description,
                                 path,
                                 b->model.type,
                                 kv_name(b),
                                 t->name,
                                 kind_names[t->kind]};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        csv_text(texts[i]);
    printf("%d,%llu,%d,%.0f,%.0f,%d,", b->machine.n_processors,
           (unsigned long long)b->machine.memory_bytes, b->threads, b->model.bytes, b->model.params,
           b->batch);
    printf("%d,%d,%d,%.12g,%.12g,%.12g,", t->n, t->depth, t->n_samples, f.tokens_per_s, f.deviation,
           f.ms);
    printf("%.12g,%.12g,%.12g,%.12g,%.12g,%.12g,", f.gbps, dram.middle, f.dram_share, f.gops,
           peak.middle, f.peak_share);
    csv_text(against(b, t));
    if (f.relative > 0)
        printf("%.12g", f.relative);
    putchar('\n');
}

static void print_csv(const struct bench *b, const char *path)
{
    puts("version,commit,processor,system,isa,backend,model,type,kv,test,kind,processors,memory_"
         "bytes,"
         "threads,bytes,params,batch,tokens,depth,samples,tokens_per_s,deviation,ms,gbps,dram_gbps,"
         "dram_share,gops,int8_peak_gops,int8_peak_share,relative_to,relative_time");
    for (int i = 0; i < b->n_tests; i++)
        if (b->tests[i].n_samples)
            print_csv_row(b, path, &b->tests[i]);
}

static json_t *json_test(const struct bench *b, const struct bench_test *t)
{
    struct bench_figures f = bench_figures_of(b, t);
    json_t *samples = json_array(), *relative = json_null();
    for (int i = 0; i < t->n_samples; i++)
        json_array_append_new(samples, json_real(t->n / t->samples[i].seconds));
    if (f.relative > 0)
        relative = json_pack("{s:s, s:f}", "to", against(b, t), "time", f.relative);
    return json_pack("{s:s, s:s, s:i, s:i, s:f, s:f, s:f, s:o, s:f, s:f, s:f, s:f, s:o}", "test",
                     t->name, "kind", kind_names[t->kind], "tokens", t->n, "depth", t->depth,
                     "tokens_per_s", f.tokens_per_s, "deviation", f.deviation, "ms", f.ms,
                     "samples", samples, "gbps", f.gbps, "dram_share", f.dram_share, "gops", f.gops,
                     "int8_peak_share", f.peak_share, "relative", relative);
}

static json_t *json_machine(const struct machine *m)
{
    return json_pack("{s:s, s:s, s:i, s:I}", "processor", m->processor, "system", m->system,
                     "processors", m->n_processors, "memory_bytes", (json_int_t)m->memory_bytes);
}

// What came of --memory and --residency, and what was read since the model was opened.
static json_t *json_residency(const struct bench *b)
{
    struct pipeline *p = b->loaded.pipeline;
    struct weights_status s = p->ops->residency(p);
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:f, s:b, s:s}", "kind",
                     option_table[OPT_RESIDENCY].names[s.residency], "resident_bytes",
                     (json_int_t)s.resident, "wanted_bytes", (json_int_t)s.wanted, "streamed_bytes",
                     (json_int_t)s.streamed, "slot_bytes", (json_int_t)s.slots, "read_bytes",
                     (json_int_t)s.read_bytes, "wasted_bytes", (json_int_t)s.wasted_bytes, "wait_s",
                     (double)s.wait_ns * 1e-9, "reader_bytes", (json_int_t)s.reader_bytes,
                     "reader_cpu_s", (double)s.reader_cpu_ns * 1e-9, "governed", (int)s.governed,
                     "reader", s.reader);
}

static int print_json(const struct bench *b, const char *path, struct err *e)
{
    struct bench_range dram = bench_dram_range(b), peak = bench_peak_range(b);
    json_t *tests = json_array();
    for (int i = 0; i < b->n_tests; i++)
        if (b->tests[i].n_samples)
            json_array_append_new(tests, json_test(b, &b->tests[i]));
    json_t *about = json_pack(
        "{s:s, s:s, s:o, s:s, s:s, s:I, s:I, s:s, s:s, s:i, s:i, s:s, s:b}", "version",
        RONDO_VERSION, "commit", version_commit(), "machine", json_machine(&b->machine), "model",
        path, "type", b->model.type, "bytes", (json_int_t)b->model.bytes, "params",
        (json_int_t)b->model.params, "backend", b->loaded.pipeline->info.description, "isa",
        isa_name(b->isa), "threads", b->threads, "batch", b->batch, "kv", kv_name(b), "interrupted",
        (int)b->interrupted);
    json_t *memory = b->dram ? json_pack("{s:f, s:f, s:f, s:I}", "read_gbps", dram.middle,
                                         "least_gbps", dram.least, "most_gbps", dram.most,
                                         "buffer_bytes", (json_int_t)dram_bytes(b->dram))
                             : json_null();
    json_t *limits = json_pack("{s:o, s:o, s:{s:f, s:f, s:f}, s:o}", "residency", json_residency(b),
                               "dram", memory, "int8_peak", "gops", peak.middle, "least_gops",
                               peak.least, "most_gops", peak.most, "tests", tests);
    if (about && limits)
        json_object_update(about, limits);
    json_decref(limits);
    return output_json(about, e);
}

int bench_print(const struct bench *b, enum bench_output output, struct err *e)
{
    char path[256];
    err_quote(path, sizeof path, b->loaded.path, (int)strlen(b->loaded.path));
    switch (output) {
    case BENCH_TABLE:
        print_table(b);
        return 0;
    case BENCH_MD:
        print_markdown(b);
        return 0;
    case BENCH_CSV:
        print_csv(b, path);
        return 0;
    case BENCH_JSON:
        return print_json(b, path, e);
    case BENCH_OUTPUT_COUNT:
        break;
    }
    CHECK(!"a format that is none");
    return 0;
}
