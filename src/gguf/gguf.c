// The tables of an open model: built once from the headers of all parts, then only read.
//
// Names are found by binary search in sorted index tables. A hash would be a little faster and
// could be made slow by a hostile file.
#include "gguf/gguf.h"

#include "base/check.h"
#include "disk/io.h"
#include "gguf/header.h"

#include <stdlib.h>
#include <string.h>

static int compare_names(struct gguf_string a, struct gguf_string b)
{
    size_t shorter = a.length < b.length ? a.length : b.length;
    int c = memcmp(a.text, b.text, shorter);
    return c ? c : (a.length > b.length) - (a.length < b.length);
}

static int by_key_name(const void *a, const void *b, void *keys)
{
    const struct gguf_key *k = keys;
    return compare_names(k[*(const uint32_t *)a].name, k[*(const uint32_t *)b].name);
}

static int by_tensor_name(const void *a, const void *b, void *tensors)
{
    const struct gguf_tensor *t = tensors;
    return compare_names(t[*(const uint32_t *)a].name, t[*(const uint32_t *)b].name);
}

static int twice(const struct gguf *g, const char *what, struct gguf_string name, struct err *e)
{
    char quoted[80];
    err_quote(quoted, sizeof quoted, name.text, (int)name.length);
    return err_set(e, ERR_FAILED, "%s: %s \"%s\" is there twice; the file is damaged", g->path,
                   what, quoted);
}

static int index_names(struct gguf *g, struct err *e)
{
    struct gguf_key *keys = g->parts[0].keys;
    size_t n_keys = g->parts[0].n_keys;
    for (uint32_t i = 0; i < n_keys; i++)
        g->keys_by_name[i] = i;
    qsort_r(g->keys_by_name, n_keys, sizeof(uint32_t), by_key_name, keys);
    for (size_t i = 1; i < n_keys; i++)
        if (!by_key_name(&g->keys_by_name[i - 1], &g->keys_by_name[i], keys))
            return twice(g, "key", keys[g->keys_by_name[i]].name, e);
    for (uint32_t i = 0; i < g->n_tensors; i++)
        g->tensors_by_name[i] = i;
    qsort_r(g->tensors_by_name, g->n_tensors, sizeof(uint32_t), by_tensor_name, g->tensors);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (!by_tensor_name(&g->tensors_by_name[i - 1], &g->tensors_by_name[i], g->tensors))
            return twice(g, "tensor", g->tensors[g->tensors_by_name[i]].name, e);
    return 0;
}

int gguf_assemble(struct gguf *g, struct err *e)
{
    const struct gguf_part *first = &g->parts[0];
    size_t plan = 1; // a file may have neither keys nor tensors
    for (int i = 0; i < g->n_parts; i++)
        g->n_tensors += g->parts[i].n_tensors;
    CHECK(g->n_tensors <= GGUF_MAX_TENSORS);
    plan = arena_plan(plan, first->n_strings * sizeof *g->string_at);
    plan = arena_plan(plan, g->n_tensors * sizeof *g->tensors);
    plan = arena_plan(plan, g->n_tensors * sizeof *g->tensors_by_name);
    plan = arena_plan(plan, first->n_keys * sizeof *g->keys_by_name);
    if (arena_init(&g->arena, plan))
        return err_set(e, ERR_NO_MEMORY, "%s: no memory for its tables", g->path);
    g->string_at = arena_take(&g->arena, first->n_strings * sizeof *g->string_at);
    g->tensors = arena_take(&g->arena, g->n_tensors * sizeof *g->tensors);
    g->tensors_by_name = arena_take(&g->arena, g->n_tensors * sizeof *g->tensors_by_name);
    g->keys_by_name = arena_take(&g->arena, first->n_keys * sizeof *g->keys_by_name);

    struct gguf_tensor *tensors = g->tensors;
    for (int i = 0; i < g->n_parts; i++) {
        struct gguf_part *p = &g->parts[i];
        int rc = i ? 0 : header_keys(p, g->string_at, e);
        rc = rc ? rc : header_tensors(p, i, tensors, g->tensors_by_name, e);
        if (rc)
            return rc;
        tensors += p->n_tensors;
    }
    int rc = pieces_number(g, e);
    return rc ? rc : index_names(g, e);
}

void gguf_free(struct gguf *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->n_parts; i++) {
        struct gguf_part *p = &g->parts[i];
        if (p->fd >= 0)
            disk_io->close(p->fd);
        free(p->path);
        free(p->header);
        free(p->keys);
    }
    arena_fini(&g->arena);
    free(g->parts);
    free(g->path);
    free(g);
}

const char *gguf_path(const struct gguf *g)
{
    return g->path;
}

int gguf_version(const struct gguf *g)
{
    return (int)g->parts[0].version;
}

int gguf_n_parts(const struct gguf *g)
{
    return g->n_parts;
}

static const struct gguf_part *part_at(const struct gguf *g, int part)
{
    CHECK(part >= 0 && part < g->n_parts);
    return &g->parts[part];
}

const char *gguf_part_path(const struct gguf *g, int part)
{
    return part_at(g, part)->path;
}

int gguf_part_fd(const struct gguf *g, int part)
{
    return part_at(g, part)->fd;
}

uint64_t gguf_part_size(const struct gguf *g, int part)
{
    return part_at(g, part)->size;
}

uint32_t gguf_alignment(const struct gguf *g)
{
    return g->parts[0].alignment;
}

size_t gguf_n_keys(const struct gguf *g)
{
    return g->parts[0].n_keys;
}

const struct gguf_key *gguf_key_at(const struct gguf *g, size_t i)
{
    CHECK(i < g->parts[0].n_keys);
    return &g->parts[0].keys[i];
}

const struct gguf_key *gguf_find(const struct gguf *g, const char *name)
{
    struct gguf_string s = {.text = name, .length = strlen(name)};
    for (size_t lo = 0, hi = g->parts[0].n_keys; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        const struct gguf_key *k = &g->parts[0].keys[g->keys_by_name[mid]];
        int c = compare_names(s, k->name);
        if (!c)
            return k;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

size_t gguf_n_tensors(const struct gguf *g)
{
    return g->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
    CHECK(i < g->n_tensors);
    return &g->tensors[i];
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name)
{
    struct gguf_string s = {.text = name, .length = strlen(name)};
    for (size_t lo = 0, hi = g->n_tensors; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        const struct gguf_tensor *t = &g->tensors[g->tensors_by_name[mid]];
        int c = compare_names(s, t->name);
        if (!c)
            return t;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}
