// Measuring a vocabulary. Each text is made tokens again and again for a fifth of a second, and the
// quickest time counts: what disturbs only makes slower. Processor time is taken, because others
// may have the processor meanwhile.
#include "app/tokenize_bench.h"

#include "app/output.h"
#include "app/sheet.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum { BENCH_BYTES = 1 << 20, LEAST_TIMES = 3 };
static const int64_t bench_ns = 200000000;

static const struct {
    const char *name, *repeated; // NULL: random letters
} hard[] = {
    {"spaces", " "},       {"line ends", "\n"},     {"one letter", "a"},
    {"two letters", "ab"}, {"digits", "1"},         {"punctuation", "!"},
    {"CJK", "\u4e2d"},     {"emoji", "\U0001F600"}, {"random letters", NULL},
};
enum { N_HARD = sizeof hard / sizeof *hard, N_TEXTS = 1 + N_HARD };

struct figure {
    const char *name;
    size_t bytes, tokens;
    double rate; // bytes a second
};

static size_t fill(char *text, const char *repeated, size_t n)
{
    uint32_t random = 1;
    size_t at = 0;
    for (; !repeated && at < BENCH_BYTES; at++) {
        random = random * 1664525 + 1013904223;
        text[at] = (char)('a' + (random >> 8) % 26);
    }
    for (; repeated && at + n <= BENCH_BYTES; at += n)
        memcpy(text + at, repeated, n);
    return at;
}

static int measure(const struct vocab *v, const char *text, size_t n, struct figure *f,
                   struct err *e)
{
    int64_t best = INT64_MAX, began = clock_ns();
    for (int i = 0; i < LEAST_TIMES || clock_ns() - began < bench_ns; i++) {
        struct ids l = {0};
        int64_t from = clock_thread_ns();
        int rc = vocab_encode(v, text, n, 0, &l, e);
        int64_t took = clock_thread_ns() - from;
        f->tokens = l.n;
        ids_free(&l);
        if (rc)
            return rc;
        best = took < best ? took : best;
    }
    f->bytes = n;
    f->rate = (double)n * 1e9 / (double)(best > 0 ? best : 1);
    return 0;
}

static int print_json(const struct figure *figures, struct err *e)
{
    json_t *all = json_array();
    for (int i = 0; i < N_TEXTS; i++)
        json_array_append_new(all, json_pack("{s:s, s:I, s:I, s:f}", "text", figures[i].name,
                                             "bytes", (json_int_t)figures[i].bytes, "tokens",
                                             (json_int_t)figures[i].tokens, "bytes_per_second",
                                             figures[i].rate));
    return output_json(json_array_size(all) == N_TEXTS ? all : NULL, e);
}

static void print_columns(const struct figure *figures)
{
    static const char *const titles[] = {"text", "bytes", "tokens", "MB/s"};
    static const bool right[] = {false, true, true, true};
    struct sheet s;
    sheet_init(&s, titles, right, 4);
    for (int i = 0; i < N_TEXTS; i++) {
        sheet_add(&s, "%s", figures[i].name);
        sheet_add(&s, "%zu", figures[i].bytes);
        sheet_add(&s, "%zu", figures[i].tokens);
        sheet_add(&s, "%.1f", figures[i].rate / 1e6);
    }
    sheet_print_columns(&s);
    sheet_fini(&s);
}

int tokenize_bench(const struct vocab *v, const char *text, size_t n, bool json, struct err *e)
{
    struct figure figures[N_TEXTS] = {{.name = "text"}};
    char *bytes = malloc(BENCH_BYTES);
    int rc = 0;
    if (!bytes)
        return err_set(e, ERR_NO_MEMORY, "no memory for a text of %d bytes", BENCH_BYTES);
    if (!n)
        rc = err_set(e, ERR_USAGE, "the text to measure with is empty");
    else if (n > BENCH_BYTES)
        rc = measure(v, text, n, &figures[0], e);
    else
        rc = measure(v, bytes, fill(bytes, text, n), &figures[0], e);
    for (int i = 0; !rc && i < N_HARD; i++) {
        const char *repeated = hard[i].repeated;
        figures[1 + i].name = hard[i].name;
        rc = measure(v, bytes, fill(bytes, repeated, repeated ? strlen(repeated) : 0),
                     &figures[1 + i], e);
    }
    free(bytes);
    if (rc)
        return rc;
    if (json)
        return print_json(figures, e);
    print_columns(figures);
    return 0;
}
