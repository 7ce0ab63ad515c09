// Reading importance matrices: see importance.h. A file is mapped and its entries are found once;
// values are looked at when they are asked for, so that a file of gigabytes costs no memory.
#include "hub/importance.h"

#include "base/bytes.h"
#include "disk/io.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SUFFIX_BYTES = sizeof ".in_sum2" - 1, DAT_LEAST_BYTES = 17 }; // of an entry

struct entry {
    struct gguf_string name;
    const uint8_t *values; // floats, not aligned
    const uint8_t *counts; // floats (n_matrices); NULL: `calls` says
    uint64_t n_values, n_counts, calls;
};

struct imatrix {
    char *name; // of the file
    void *map;
    size_t map_bytes;
    struct gguf *g;        // NULL: a .dat
    struct entry *entries; // (n_entries) sorted by name
    size_t n_entries;
    uint64_t n_chunks;
    struct gguf_string dataset;
};

static int compare_names(const struct gguf_string *a, const struct gguf_string *b)
{
    size_t n = a->length < b->length ? a->length : b->length;
    int c = memcmp(a->text, b->text, n);
    return c ? c : (a->length > b->length) - (a->length < b->length);
}

static int compare_entries(const void *a, const void *b)
{
    return compare_names(&((const struct entry *)a)->name, &((const struct entry *)b)->name);
}

static float float_at(const uint8_t *data, uint64_t i)
{
    float f;
    memcpy(&f, data + i * sizeof f, sizeof f);
    return f;
}

// ---- GGUF --------------------------------------------------------------------------------------

static int read_tensor(struct imatrix *m, const struct gguf_tensor *t, const uint8_t *data,
                       struct err *e)
{
    char name[GGUF_MAX_NAME_BYTES + 8], quoted[80];
    size_t length = t->name.length;
    if (length <= SUFFIX_BYTES || memcmp(t->name.text + length - SUFFIX_BYTES, ".in_sum2", 8))
        return 0;
    length -= SUFFIX_BYTES;
    memcpy(name, t->name.text, length);
    memcpy(name + length, ".counts", sizeof ".counts");
    const struct gguf_tensor *counts = gguf_find_tensor(m->g, name);
    uint64_t n = t->dims[1] * t->dims[2] * t->dims[3];
    if (t->type != WT_F32 || !counts || counts->type != WT_F32 || counts->size != n * sizeof(float))
        return err_set(e, ERR_FAILED,
                       "%s: '%s' has no counts of its sums, or they are no floats; it is damaged, "
                       "or no importance matrix",
                       m->name, err_quote(quoted, sizeof quoted, t->name.text, (int)length));
    m->entries[m->n_entries++] = (struct entry){
        .name = {t->name.text, length},
        .values = data + t->offset,
        .counts = data + counts->offset,
        .n_values = t->dims[0] * n,
        .n_counts = n,
    };
    return 0;
}

static int parse_gguf(struct imatrix *m, const uint8_t *data, size_t size, struct err *e)
{
    uint64_t need;
    struct gguf_string type = {"", 0};
    int rc = gguf_parse(&m->g, data, size, size, m->name, &need, e);
    if (rc)
        return rc < 0 ? rc : err_set(e, ERR_FAILED, "%s: ends in the middle", m->name);
    gguf_get_string(m->g, "general.type", &type);
    if (type.length != 7 || memcmp(type.text, "imatrix", 7))
        return err_set(e, ERR_FAILED,
                       "%s: is no importance matrix; rondo imatrix makes one of a model and a text",
                       m->name);
    m->entries = calloc(gguf_n_tensors(m->g) + 1, sizeof *m->entries);
    if (!m->entries)
        return err_set(e, ERR_NO_MEMORY, "%s: no memory to read it", m->name);
    for (size_t i = 0; !rc && i < gguf_n_tensors(m->g); i++)
        rc = read_tensor(m, gguf_tensor_at(m->g, i), data, e);
    gguf_get_u64(m->g, "imatrix.chunk_count", &m->n_chunks);
    const struct gguf_key *k = gguf_find(m->g, "imatrix.datasets");
    if (k && k->count && (k->type == GGUF_STRING || (k->type == GGUF_ARRAY && k->string_at)))
        m->dataset = gguf_string_at(k, 0);
    return rc;
}

// ---- .dat --------------------------------------------------------------------------------------

static bool take_entry(struct cursor *c, struct entry *out)
{
    *out = (struct entry){.name.length = cursor_u32(c)};
    if (c->bad || !out->name.length || out->name.length > GGUF_MAX_NAME_BYTES)
        return false;
    out->name.text = (const char *)cursor_take(c, out->name.length);
    out->calls = cursor_u32(c);
    out->n_values = cursor_u32(c);
    out->values = cursor_take(c, out->n_values * sizeof(float));
    return !c->bad && out->n_values;
}

static int parse_dat(struct imatrix *m, const uint8_t *data, size_t size, struct err *e)
{
    struct cursor c = cursor_of(data, size);
    uint32_t n = cursor_u32(&c);
    if (!n || n > IMATRIX_MAX_ENTRIES || n > size / DAT_LEAST_BYTES)
        return err_set(e, ERR_FAILED,
                       "%s: is no importance matrix; rondo imatrix makes one of a model and a text",
                       m->name);
    m->entries = calloc((size_t)n, sizeof *m->entries);
    if (!m->entries)
        return err_set(e, ERR_NO_MEMORY, "%s: no memory to read it", m->name);
    for (; m->n_entries < (size_t)n; m->n_entries++)
        if (!take_entry(&c, &m->entries[m->n_entries]))
            return err_set(e, ERR_FAILED,
                           "%s: entry %zu of %u is damaged; it is no importance matrix, or not all "
                           "of one",
                           m->name, m->n_entries + 1, (unsigned)n);
    uint32_t chunks = cursor_u32(&c), length = cursor_u32(&c);
    const uint8_t *text = cursor_take(&c, length);
    if (!c.bad) { // what older files lack
        m->n_chunks = chunks;
        m->dataset = (struct gguf_string){(const char *)text, length};
    }
    return 0;
}

// ---- either ------------------------------------------------------------------------------------

static int check_names(struct imatrix *m, struct err *e)
{
    char quoted[80];
    if (!m->n_entries)
        return err_set(e, ERR_FAILED, "%s: an importance matrix without any entry", m->name);
    qsort(m->entries, m->n_entries, sizeof *m->entries, compare_entries);
    for (size_t i = 1; i < m->n_entries; i++) {
        const struct gguf_string *name = &m->entries[i].name;
        if (!compare_names(name, &m->entries[i - 1].name))
            return err_set(e, ERR_FAILED, "%s: has two entries for '%s'; it is damaged", m->name,
                           err_quote(quoted, sizeof quoted, name->text, (int)name->length));
    }
    return 0;
}

int imatrix_parse(struct imatrix **out, const uint8_t *data, size_t size, const char *name,
                  struct err *e)
{
    struct imatrix *m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m || !(m->name = strdup(name))) {
        free(m);
        return err_set(e, ERR_NO_MEMORY, "%s: no memory to read it", name);
    }
    int rc = size >= 4 && !memcmp(data, "GGUF", 4) ? parse_gguf(m, data, size, e)
                                                   : parse_dat(m, data, size, e);
    if (!rc)
        rc = check_names(m, e);
    if (rc)
        imatrix_free(m);
    else
        *out = m;
    return rc;
}

int imatrix_open(struct imatrix **out, const char *path, struct err *e)
{
    void *map = NULL;
    int fd = disk_io->open(path, O_RDONLY, 0);
    int64_t size = fd < 0 ? -1 : disk_io->size(fd);
    *out = NULL;
    if (size > 0)
        map = disk_io->map(fd, (size_t)size, 0);
    int problem = errno;
    if (fd >= 0)
        disk_io->close(fd);
    errno = problem;
    if (!map && size == 0)
        return err_set(e, ERR_FAILED, "%s: is empty", path);
    if (!map)
        return err_errno(e, errno == EACCES ? ERR_DENIED : ERR_FAILED, "%s: cannot be read", path);
    int rc = imatrix_parse(out, map, (size_t)size, path, e);
    if (rc) {
        disk_io->unmap(map, (size_t)size);
        return rc;
    }
    (*out)->map = map;
    (*out)->map_bytes = (size_t)size;
    return 0;
}

void imatrix_free(struct imatrix *m)
{
    if (!m)
        return;
    gguf_free(m->g);
    if (m->map)
        disk_io->unmap(m->map, m->map_bytes);
    free(m->entries);
    free(m->name);
    free(m);
}

size_t imatrix_n_entries(const struct imatrix *m)
{
    return m->n_entries;
}

uint64_t imatrix_n_chunks(const struct imatrix *m)
{
    return m->n_chunks;
}

struct gguf_string imatrix_dataset(const struct imatrix *m)
{
    return m->dataset;
}

int imatrix_weights(const struct imatrix *m, const struct gguf_tensor *tensor, uint64_t index,
                    float *out, struct err *e)
{
    struct entry key = {.name = tensor->name};
    char quoted[80];
    uint64_t n_in = tensor->dims[0], n = tensor->dims[2] * tensor->dims[3];
    const struct entry *entry =
        bsearch(&key, m->entries, m->n_entries, sizeof key, compare_entries);
    if (!entry)
        return 1;
    err_quote(quoted, sizeof quoted, tensor->name.text, (int)tensor->name.length);
    if (entry->n_values % n_in || entry->n_values / n_in != n ||
        (entry->counts && entry->n_counts != n))
        return err_set(
            e, ERR_FAILED,
            "%s: has %llu values for %s, which has %llu columns and %llu matrices; it is "
            "of another model",
            m->name, (unsigned long long)entry->n_values, quoted, (unsigned long long)n_in,
            (unsigned long long)n);
    const uint8_t *values = entry->values + index * n_in * sizeof(float);
    float top = 0;
    for (uint64_t i = 0; i < n_in; i++) {
        float v = float_at(values, i);
        if (!(v >= 0) || isinf(v))
            return err_set(e, ERR_FAILED,
                           "%s: holds a number for %s that is no sum of squares; it is damaged",
                           m->name, quoted);
        top = v > top ? v : top;
    }
    bool reached = entry->counts ? float_at(entry->counts, index) > 0 : entry->calls > 0;
    if (!reached || top <= 0)
        return 1;
    memcpy(out, values, n_in * sizeof *out);
    return 0;
}
