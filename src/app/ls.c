// rondo ls: the models on this machine, Rondo's own and those of other programs.
#include "app/amounts.h"
#include "app/output.h"
#include "app/printable.h"
#include "app/verbs.h"
#include "gguf/gguf.h"
#include "hub/stores.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARCH_BYTES = 24, FORMAT_BYTES = NAME_PART_BYTES, WIDE = 1 << 20, NAME_COLUMNS = 64 };

struct row {
    const struct stored *m;
    char arch[ARCH_BYTES], format[FORMAT_BYTES]; // "": not known
    struct err why;                              // the header cannot be read
};

// The weight format that most of a model's bytes have.
static const char *main_format(const struct gguf *g)
{
    uint64_t bytes[WT_COUNT] = {0};
    uint32_t best = WT_F32;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        bytes[t->type] += t->size;
        if (bytes[t->type] > bytes[best])
            best = t->type;
    }
    return wtype_info(best)->name;
}

// Of a file whose name tells no quantization, the format of most of its bytes is shown.
static void look(struct row *r)
{
    struct gguf *g = NULL;
    struct gguf_string arch;
    if (r->m->partial || gguf_open(&g, r->m->path, &r->why))
        return;
    if (gguf_get_string(g, "general.architecture", &arch))
        err_quote(r->arch, sizeof r->arch, arch.text,
                  (int)(arch.length < ARCH_BYTES ? arch.length : ARCH_BYTES));
    if (!quant_of(r->m->file, r->format))
        snprintf(r->format, sizeof r->format, "%s", main_format(g));
    gguf_free(g);
}

static json_t *text(const char *s)
{
    size_t length;
    char *valid = printable_utf8(s, strlen(s), &length);
    json_t *j = valid ? json_stringn(valid, length) : json_null();
    free(valid);
    return j;
}

static int print_json(const struct row *rows, size_t n, struct err *e)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        const struct stored *m = rows[i].m;
        json_t *j = json_pack("{s:o, s:o, s:s, s:I, s:i, s:b}", "name", text(m->name), "path",
                              text(m->path), "store", store_name(m->store), "bytes",
                              (json_int_t)m->size, "files", m->n_parts, "complete", !m->partial);
        if (rows[i].arch[0])
            json_object_set_new(j, "architecture", json_string(rows[i].arch));
        if (rows[i].format[0])
            json_object_set_new(j, "format", text(rows[i].format));
        if (m->total && m->partial)
            json_object_set_new(j, "total_bytes", json_integer((json_int_t)m->total));
        if (rows[i].why.code)
            json_object_set_new(j, "problem", text(rows[i].why.text));
        json_array_append_new(list, j);
    }
    return output_json(json_pack("{s:o}", "models", list), e);
}

static int name_columns(const struct row *rows, size_t n)
{
    int widest = 4;
    for (size_t i = 0; i < n; i++) {
        int columns = printable_columns(rows[i].m->name, strlen(rows[i].m->name));
        if (columns > widest && columns <= NAME_COLUMNS)
            widest = columns;
    }
    return widest;
}

static void print_row(const struct row *r, int columns)
{
    const struct stored *m = r->m;
    char size[AMOUNT_BYTES];
    amount_size(size, m->size);
    int used = printable_put(stdout, m->name, strlen(m->name), WIDE);
    printf("%*s  %9s  ", used < columns ? columns - used : 0, "", size);
    used = printable_put(stdout, r->arch, strlen(r->arch), 12);
    printf("%*s  ", 12 - used, "");
    used = printable_put(stdout, r->format, strlen(r->format), 12);
    printf("%*s  %-12s", 12 - used, "", store_name(m->store));
    if (m->partial && m->total)
        printf("  incomplete, %d%%; rondo pull goes on",
               (int)(100.0 * (double)m->size / (double)m->total));
    else if (m->partial)
        printf("  incomplete; rondo pull goes on");
    else if (strcmp(m->name, m->path)) {
        printf("  ");
        printable_put(stdout, m->path, strlen(m->path), WIDE);
    }
    putchar('\n');
}

static void print_table(const struct row *rows, size_t n)
{
    int columns = name_columns(rows, n);
    if (!n) {
        puts("no models on this machine yet; try: rondo pull hf:OWNER/REPO, or the one that comes "
             "with Rondo: rondo run demo");
        return;
    }
    printf("%-*s  %9s  %-12s  %-12s  %-12s  path\n", columns, "name", "size", "architecture",
           "format", "whose");
    for (size_t i = 0; i < n; i++)
        print_row(&rows[i], columns);
    for (size_t i = 0; i < n; i++)
        if (rows[i].why.code)
            printf("cannot be used: %s\n", rows[i].why.text);
}

static int run(const struct options *o, struct err *e)
{
    struct stores s;
    int rc = stores_scan(&s, e);
    if (rc)
        return rc;
    struct row *rows = calloc(s.n + 1, sizeof *rows);
    if (!rows)
        rc = err_set(e, ERR_NO_MEMORY, "no memory for a list of %zu models", s.n);
    for (size_t i = 0; rows && i < s.n; i++) {
        rows[i].m = &s.at[i];
        look(&rows[i]);
    }
    if (!rc && options_flag(o, OPT_JSON))
        rc = print_json(rows, s.n, e);
    else if (!rc)
        print_table(rows, s.n);
    free(rows);
    stores_free(&s);
    return rc;
}

const struct verb verb_ls = {
    .name = "ls",
    .summary = "list the models on this machine",
    .usage = "",
    .text = "What rondo pull has downloaded, and what the programs of Hugging Face, llama.cpp, LM "
            "Studio and Ollama have: the name that MODEL may be in every verb, size, architecture, "
            "format, whose it is, and where.",
    .options = (const struct verb_option[]){{OPT_JSON, NULL}, {OPT_END, NULL}},
    .run = run,
};
