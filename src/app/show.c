// rondo show: what is in a model file. Headers are read, weights are not.
#include "app/show.h"

#include "app/amounts.h"
#include "app/model_path.h"
#include "app/output.h"
#include "app/printable.h"
#include "app/verbs.h"
#include "base/check.h"
#include "model/slice_keys.h"
#include "plan/layer_set.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAME_COLUMNS = 44,
    VALUE_COLUMNS = 72,
    LAYERS_COLUMNS = 24, // a list of layer numbers
    EVERYTHING = 1 << 28,
};

// ---- the head of the page ----------------------------------------------------------------------

static void print_text(const char *label, const struct gguf *g, const char *key)
{
    struct gguf_string s;
    if (!gguf_get_string(g, key, &s))
        return;
    printf("%-13s ", label);
    printable_put(stdout, s.text, s.length, VALUE_COLUMNS);
    putchar('\n');
}

// The key of the file's architecture, "llama.block_count".
static bool arch_number(const struct gguf *g, const char *key, uint64_t *out)
{
    struct gguf_string arch;
    char name[128];
    if (!gguf_get_string(g, "general.architecture", &arch) || arch.length > 64)
        return false;
    snprintf(name, sizeof name, "%.*s.%s", (int)arch.length, arch.text, key);
    return gguf_get_u64(g, name, out);
}

static void print_shape(const struct gguf *g)
{
    uint64_t layers, embd, heads = 0, kv, ff, context;
    if (arch_number(g, "block_count", &layers) && arch_number(g, "embedding_length", &embd)) {
        printf("%-13s %" PRIu64 " layers, %" PRIu64 " wide", "shape", layers, embd);
        if (arch_number(g, "attention.head_count", &heads))
            printf(", %" PRIu64 " heads", heads);
        if (arch_number(g, "attention.head_count_kv", &kv) && kv != heads)
            printf(" (%" PRIu64 " of keys and values)", kv);
        if (arch_number(g, "feed_forward_length", &ff))
            printf(", feed-forward %" PRIu64, ff);
        putchar('\n');
    }
    if (arch_number(g, "context_length", &context))
        printf("%-13s %" PRIu64 " tokens\n", "context", context);
    const struct gguf_key *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    if (tokens && tokens->type == GGUF_ARRAY)
        printf("%-13s %" PRIu64 " tokens\n", "vocabulary", tokens->count);
}

static void print_slice(const struct gguf *g)
{
    uint64_t n_layers;
    struct slice slice;
    struct layer_set layers;
    struct err e = {0};
    char text[LAYER_SET_TEXT];
    if (!arch_number(g, "block_count", &n_layers) || n_layers > MODEL_MAX_LAYERS ||
        slice_read(&slice, g, (int)n_layers, &e) || !slice.some)
        return;
    memcpy(layers.bits, slice.layers, sizeof layers.bits);
    layer_set_text(&layers, text);
    printf("%-13s a slice with layers %s of %" PRIu64 "%s\n", "holds", text, n_layers,
           slice.ends ? ", embedding and output" : "");
}

static void print_head(const struct gguf *g, const struct inventory *v)
{
    char size[AMOUNT_BYTES], weights[AMOUNT_BYTES], parameters[AMOUNT_BYTES];
    uint64_t bytes = 0;
    for (int i = 0; i < gguf_n_parts(g); i++)
        bytes += gguf_part_size(g, i);
    amount_size(size, bytes);
    amount_size(weights, v->whole.bytes);
    amount_count(parameters, v->whole.parameters);
    print_text("model", g, "general.name");
    print_text("architecture", g, "general.architecture");
    printf("%-13s ", "file");
    printable_put(stdout, gguf_path(g), strlen(gguf_path(g)), EVERYTHING);
    printf("\n%-13s %s, GGUF version %d", "size", size, gguf_version(g));
    if (gguf_n_parts(g) > 1)
        printf(", %d parts", gguf_n_parts(g));
    printf("\n%-13s %s parameters", "weights", parameters);
    if (v->whole.parameters)
        printf(" in %s, %.2f bits each", weights,
               8 * (double)v->whole.bytes / (double)v->whole.parameters);
    putchar('\n');
    print_shape(g);
    print_slice(g);
}

// ---- layers ------------------------------------------------------------------------------------

static void print_part(const char *name, int n, const struct inventory_part *p)
{
    char size[AMOUNT_BYTES];
    uint32_t types[WT_COUNT];
    if (!p->bytes)
        return;
    amount_size(size, p->bytes);
    printf("  %-12s %10s%s  ", name, size, n > 1 ? " each" : "     ");
    int n_types = inventory_types(p, types);
    while (n_types > 1 && p->type_bytes[types[n_types - 1]] < p->bytes / 2000)
        n_types--; // norms, mostly: less than 0.05%
    for (int i = 0; i < n_types; i++) {
        double share = 100 * (double)p->type_bytes[types[i]] / (double)p->bytes;
        printf("%s%s", i ? ", " : "", wtype_info(types[i])->name);
        if (n_types > 1)
            printf(" %.*f%%", share < 1 || share > 99, share);
    }
    putchar('\n');
}

static bool same_part(const struct inventory_part *a, const struct inventory_part *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static void print_layers(const struct inventory *v)
{
    printf("\n  %-12s %10s       formats\n", "layer", "size");
    print_part("embedding", 1, &v->front);
    for (int lo = 0, hi; lo < v->n_layers; lo = hi) {
        char name[32];
        for (hi = lo + 1; hi < v->n_layers && same_part(&v->layers[lo], &v->layers[hi]);)
            hi++;
        if (hi - lo > 1)
            snprintf(name, sizeof name, "%d-%d", lo, hi - 1);
        else
            snprintf(name, sizeof name, "%d", lo);
        print_part(name, hi - lo, &v->layers[lo]);
    }
    print_part("output", 1, &v->back);
}

// ---- metadata ----------------------------------------------------------------------------------

static void print_element(const struct gguf_key *k, uint64_t i, int columns)
{
    enum gguf_type type = k->type == GGUF_ARRAY ? k->element : k->type;
    int64_t integer;
    double number;
    if (type == GGUF_STRING) {
        struct gguf_string s = gguf_string_at(k, i);
        printable_put(stdout, s.text, s.length, columns);
    } else if (type == GGUF_BOOL) {
        fputs(k->data[i] ? "true" : "false", stdout);
    } else if (gguf_int_at(k, i, &integer)) {
        printf("%" PRId64, integer);
    } else if (gguf_float_at(k, i, &number)) {
        printf("%g", number);
    } else {
        fputs("more than 9223372036854775807", stdout);
    }
}

static void print_key(const struct gguf_key *k, bool full)
{
    static const char *const types[GGUF_TYPE_COUNT] = {"u8",  "i8",  "u16",  "i16",    "u32",
                                                       "i32", "f32", "bool", "string", "array",
                                                       "u64", "i64", "f64"};
    fputs("  ", stdout);
    int used =
        printable_put(stdout, k->name.text, k->name.length, full ? EVERYTHING : NAME_COLUMNS);
    printf("%*s  ", used < NAME_COLUMNS ? NAME_COLUMNS - used : 0, "");
    if (k->type != GGUF_ARRAY) {
        printf("%-7s", types[k->type]);
        print_element(k, 0, full ? EVERYTHING : VALUE_COLUMNS);
        putchar('\n');
        return;
    }
    uint64_t n = full || k->count <= SHOW_ELEMENTS ? k->count : SHOW_ELEMENTS;
    printf("%-7s%" PRIu64 " [", types[k->element], k->count);
    for (uint64_t i = 0; i < n; i++) {
        fputs(i ? ", " : "", stdout);
        print_element(k, i, full ? EVERYTHING : VALUE_COLUMNS / SHOW_ELEMENTS);
    }
    puts(n < k->count ? ", ...]" : "]");
}

static void print_keys(const struct gguf *g, bool full)
{
    printf("\n  %-*s  %-7svalue\n", NAME_COLUMNS, "key", "type");
    for (size_t i = 0; i < gguf_n_keys(g); i++)
        print_key(gguf_key_at(g, i), full);
}

// ---- tensors -----------------------------------------------------------------------------------

struct row { // tensors that differ only in their layer
    const struct gguf_tensor *t;
    const char *rest; // of the name, behind the layer; the whole name when it has none
    int layer;        // -1: none
    size_t first;     // place in the file of the row's first tensor
};

static int compare_kind(const struct row *a, const struct row *b)
{
    int c = (a->layer < 0) - (b->layer < 0);
    c = c ? c : strcmp(a->rest, b->rest);
    c = c ? c : (a->t->type > b->t->type) - (a->t->type < b->t->type);
    return c ? c : memcmp(a->t->dims, b->t->dims, sizeof a->t->dims);
}

static int by_kind(const void *x, const void *y)
{
    const struct row *a = x, *b = y;
    int c = compare_kind(a, b);
    return c ? c : (a->layer > b->layer) - (a->layer < b->layer);
}

static int by_place(const void *x, const void *y)
{
    const struct row *a = x, *b = y;
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    return (a->layer > b->layer) - (a->layer < b->layer);
}

// "layers 0-3, 6, 9", cut when it becomes long.
static void print_numbers(const struct row *rows, size_t n)
{
    int used = printf(" each, layers ");
    for (size_t lo = 0, hi; lo < n; lo = hi) {
        for (hi = lo + 1; hi < n && rows[hi].layer == rows[hi - 1].layer + 1;)
            hi++;
        if (used > LAYERS_COLUMNS + 14) {
            fputs(", ...", stdout);
            return;
        }
        used += printf("%s%d", lo ? ", " : "", rows[lo].layer);
        if (hi - lo > 1)
            used += printf("-%d", rows[hi - 1].layer);
    }
}

static void print_row(const struct row *rows, size_t n, const char *layout)
{
    const struct gguf_tensor *t = rows->t;
    char name[GGUF_MAX_NAME_BYTES + 16], shape[96], size[AMOUNT_BYTES];
    int used = 0, length;
    if (n > 1)
        length = snprintf(name, sizeof name, "blk.*.%s", rows->rest);
    else
        length = snprintf(name, sizeof name, "%s", t->name.text);
    fputs("  ", stdout);
    used = printable_put(stdout, name, (size_t)length, NAME_COLUMNS);
    for (int i = 0, at = 0; i < t->n_dims; i++)
        at += snprintf(shape + at, sizeof shape - (size_t)at, "%s%" PRIu64, i ? " x " : "",
                       t->dims[i]);
    amount_size(size, t->size);
    printf("%*s  %-7s %-16s %10s", NAME_COLUMNS - used, "", wtype_info(t->type)->name, shape, size);
    if (layout)
        printf("  %s", layout);
    if (n > 1)
        print_numbers(rows, n);
    putchar('\n');
}

static int print_tensors(const struct gguf *g, const struct foresight *f, bool full, struct err *e)
{
    size_t n = gguf_n_tensors(g);
    struct row *rows = calloc(n + 1, sizeof *rows);
    if (!rows)
        return err_set(e, ERR_NO_MEMORY, "no memory for a list of %zu tensors", n);
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        rows[i] = (struct row){.t = t, .rest = t->name.text, .first = i};
        rows[i].layer = inventory_layer(t, &rows[i].rest);
    }
    if (!full) { // a row stands where its first tensor is in the file
        qsort(rows, n, sizeof *rows, by_kind);
        for (size_t i = 1; i < n; i++)
            if (rows[i].layer >= 0 && !compare_kind(&rows[i - 1], &rows[i]))
                rows[i].first = rows[i - 1].first;
        qsort(rows, n, sizeof *rows, by_place);
    }
    printf("\n  %-*s  %-7s %-16s %10s%s\n", NAME_COLUMNS, "tensor", "format", "shape", "size",
           full && f->known ? "  layout" : "");
    for (size_t lo = 0, hi; lo < n; lo = hi) {
        for (hi = lo + 1; hi < n && rows[hi].first == rows[lo].first;)
            hi++;
        print_row(rows + lo, hi - lo,
                  full && f->known ? foresight_name(f->places[rows[lo].first]) : NULL);
    }
    free(rows);
    return 0;
}

// ---- the verb ----------------------------------------------------------------------------------

static int print_json(const struct gguf *g, const struct inventory *v, const struct foresight *f,
                      bool full, struct err *e)
{
    return output_json(show_json(g, v, f, full), e);
}

// "weights in lanes: 225 matrices, 4.33 GiB, turned at each start (rondo prepack keeps them)"
static void print_foresight(const struct foresight *f)
{
    const struct weights_report *r = &f->report;
    const struct {
        const struct weights_share *share;
        const char *how;
    } lines[] = {{&r->sidecar, "in lane form, from the sidecar"},
                 {&r->lanes, "in lane form, turned at each start (rondo prepack keeps them)"},
                 {&r->rows, "as rows of the file"}};
    if (!f->known)
        return;
    printf("\n  in this machine's memory (%s): %s\n", f->isa, f->text);
    if (r->streamed)
        return;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char size[AMOUNT_BYTES];
        amount_size(size, lines[i].share->bytes);
        if (lines[i].share->matrices)
            printf("    %4d matrices %10s  %s\n", lines[i].share->matrices, size, lines[i].how);
    }
}

static int print_tables(const struct gguf *g, const struct inventory *v, const struct foresight *f,
                        bool full, struct err *e)
{
    print_head(g, v);
    print_foresight(f);
    if (gguf_n_tensors(g))
        print_layers(v);
    print_keys(g, full);
    return gguf_n_tensors(g) ? print_tensors(g, f, full, e) : 0;
}

static int run(const struct options *o, struct err *e)
{
    char path[MODEL_PATH_BYTES];
    struct gguf *g = NULL;
    struct inventory v = {0};
    struct foresight f = {0};
    bool full = options_flag(o, OPT_FULL);
    int rc = model_path_find(options_arg(o, 0), path, sizeof path, e);
    if (!rc)
        rc = gguf_open(&g, path, e);
    if (!rc)
        rc = inventory_take(&v, g, e);
    if (!rc)
        rc = foresight_take(&f, g, e);
    if (!rc)
        rc = (options_flag(o, OPT_JSON) ? print_json : print_tables)(g, &v, &f, full, e);
    foresight_free(&f);
    inventory_free(&v);
    gguf_free(g);
    return rc;
}

const struct verb verb_show = {
    .name = "show",
    .summary = "what is in a model file",
    .usage = "MODEL",
    .text =
        "Prints the metadata, the tensors and the size of each layer of a GGUF file; a split "
        "model is given by any of its parts. Tensors that differ only in their layer share a "
        "line, and long values are cut: --full shows all of them, and for each tensor how it would "
        "lie in this machine's memory.",
    .options = (const struct verb_option[]){{OPT_JSON, NULL}, {OPT_FULL, NULL}, {OPT_END, NULL}},
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
