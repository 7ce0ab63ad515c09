// Opening models: one file, the files of a split model, or bytes in memory.
//
// Headers are read with pread into a buffer that doubles until header_scan is content. The parts of
// a split model are named NAME-00001-of-00003.gguf and carry split.no (from 0), split.count and
// split.tensors.count; any of them leads to the others.
#include "gguf/gguf.h"

#include "base/arith.h"
#include "disk/io.h"
#include "gguf/header.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FIRST_READ_BYTES = 64 << 10, SUFFIX_BYTES = sizeof "-00001-of-00003.gguf" - 1 };

static int no_memory(const char *path, struct err *e)
{
    return err_set(e, ERR_NO_MEMORY, "%s: no memory to read its header", path);
}

static int open_part(struct gguf_part *p, struct err *e)
{
    // Without O_NONBLOCK a FIFO would hang here.
    p->fd = disk_io->open(p->path, O_RDONLY | O_NONBLOCK, 0);
    if (p->fd < 0) {
        int code = errno == EACCES || errno == EPERM ? ERR_DENIED : ERR_FAILED;
        return err_errno(e, code, "%s: cannot be opened", p->path);
    }
    struct stat s;
    if (!fstat(p->fd, &s) && !S_ISREG(s.st_mode))
        return err_set(e, ERR_FAILED, "%s: is %s, not a file; give the path of a .gguf file",
                       p->path, S_ISDIR(s.st_mode) ? "a folder" : "a device or a pipe");
    if (stamp_take(&p->stamp, p->fd))
        return err_errno(e, ERR_FAILED, "%s: its size cannot be read", p->path);
    p->size = (uint64_t)p->stamp.bytes;
    return 0;
}

static int grow_header(struct gguf_part *p, size_t from, size_t to, struct err *e)
{
    uint8_t *grown = realloc(p->header, to);
    if (!grown)
        return no_memory(p->path, e);
    p->header = grown;
    if (disk_read_full(p->fd, grown + from, to - from, (int64_t)from) == 0)
        return 0;
    if (errno)
        return err_errno(e, ERR_FAILED, "%s: cannot be read", p->path);
    return err_set(e, ERR_FAILED, "%s: became shorter while it was read; get it again", p->path);
}

static size_t smaller(uint64_t a, uint64_t b)
{
    return (size_t)(a < b ? a : b);
}

static int load_part(struct gguf_part *p, struct err *e)
{
    int rc = open_part(p, e);
    if (rc)
        return rc;
    size_t have = 0;
    uint64_t need = FIRST_READ_BYTES;
    do {
        if (need < 2 * (uint64_t)have)
            need = 2 * (uint64_t)have;
        size_t want = smaller(need, smaller(p->size, p->max_header_bytes));
        rc = want > have ? grow_header(p, have, want, e) : 0;
        have = want;
        if (rc == 0)
            rc = header_scan(p, have, &need, e);
    } while (rc > 0);
    if (rc)
        return rc;
    uint8_t *fitting = realloc(p->header, p->header_bytes);
    if (fitting)
        p->header = fitting;
    return header_keys(p, NULL, e);
}

// ---- split models ------------------------------------------------------------------------------

// Number `no` of `of` in NAME-00001-of-00003.gguf; false when the path is not of this form.
static bool split_numbers(const char *path, int *no, int *of)
{
    size_t length = strlen(path);
    if (length < SUFFIX_BYTES)
        return false;
    int end = 0;
    const char *suffix = path + length - SUFFIX_BYTES;
    for (int i = 0; i < 5; i++)
        if (suffix[1 + i] < '0' || suffix[1 + i] > '9' || suffix[10 + i] < '0' ||
            suffix[10 + i] > '9')
            return false;
    return sscanf(suffix, "-%5d-of-%5d.gguf%n", no, of, &end) == 2 && end == SUFFIX_BYTES;
}

static char *split_path(const char *path, int no, int of)
{
    char *out;
    int name = (int)(strlen(path) - SUFFIX_BYTES);
    return asprintf(&out, "%.*s-%05d-of-%05d.gguf", name, path, no, of) < 0 ? NULL : out;
}

static uint64_t part_number(const struct gguf_part *p, const char *key, uint64_t otherwise)
{
    const struct gguf_key *k = header_find(p, key);
    if (k && !key_u64(k, &otherwise))
        return UINT64_MAX; // equals nothing that is right
    return otherwise;
}

static int check_split(const struct gguf_part *p, int no, int of, struct err *e)
{
    if (part_number(p, "split.count", 1) != (uint64_t)of ||
        part_number(p, "split.no", 0) != (uint64_t)no)
        return err_set(e, ERR_FAILED,
                       "%s: by its name it is part %d of %d, by split.no and split.count it is "
                       "another one; give the parts their first names back or get them again",
                       p->path, no + 1, of);
    return 0;
}

static int check_totals(const struct gguf *g, struct err *e)
{
    uint64_t n_tensors = 0, n_keys = 0;
    for (int i = 0; i < g->n_parts; i++) {
        n_tensors += g->parts[i].n_tensors;
        n_keys += g->parts[i].n_keys;
    }
    if (n_tensors > GGUF_MAX_TENSORS || n_keys > GGUF_MAX_KEYS)
        return err_set(e, ERR_FAILED,
                       "%s: its parts have %llu tensors and %llu keys together, more than any "
                       "model has; the files are damaged",
                       g->path, (unsigned long long)n_tensors, (unsigned long long)n_keys);
    uint64_t told = part_number(&g->parts[0], "split.tensors.count", n_tensors);
    if (told != n_tensors)
        return err_set(e, ERR_FAILED,
                       "%s: the model should have %llu tensors, its %d parts have %llu; a part is "
                       "from another model, get them again",
                       g->path, (unsigned long long)told, g->n_parts,
                       (unsigned long long)n_tensors);
    return 0;
}

// Part `given` is loaded and lies in parts[0]; loads the others round it.
static int load_others(struct gguf *g, uint64_t count, struct err *e)
{
    int no, of;
    if (count > GGUF_MAX_PARTS)
        return err_set(e, ERR_FAILED, "%s: split.count is more than %d; the file is damaged",
                       g->path, GGUF_MAX_PARTS);
    if (!split_numbers(g->path, &no, &of) || of != (int)count || no < 1 || no > of)
        return err_set(e, ERR_FAILED,
                       "%s: it is one of %d parts of a model but is not named like "
                       "NAME-00001-of-%05d.gguf; give the parts their first names back",
                       g->path, (int)count, (int)count);
    struct gguf_part *parts = calloc(count, sizeof *parts);
    if (!parts)
        return no_memory(g->path, e);
    parts[no - 1] = g->parts[0];
    free(g->parts);
    g->parts = parts;
    g->n_parts = of;
    size_t budget = GGUF_MAX_HEADER_BYTES - parts[no - 1].header_bytes;
    for (int i = 0; i < of; i++)
        if (i != no - 1)
            parts[i].fd = -1;
    for (int i = 0; i < of; i++) {
        if (i != no - 1) {
            parts[i].max_header_bytes = budget;
            parts[i].path = split_path(g->path, i + 1, of);
            int rc = parts[i].path ? load_part(&parts[i], e) : no_memory(g->path, e);
            if (rc)
                return rc;
            budget -= parts[i].header_bytes;
        }
        int rc = check_split(&parts[i], i, of, e);
        if (rc)
            return rc;
    }
    return 0;
}

// ---- the two ways in ---------------------------------------------------------------------------

// A model of one part, nothing read yet.
static struct gguf *new_model(const char *path, struct err *e)
{
    struct gguf *g = calloc(1, sizeof *g);
    struct gguf_part *p = calloc(1, sizeof *p);
    if (!g || !p) {
        free(g);
        free(p);
        no_memory(path, e);
        return NULL;
    }
    g->parts = p;
    g->n_parts = 1;
    g->path = strdup(path);
    *p = (struct gguf_part){
        .fd = -1, .path = strdup(path), .max_header_bytes = GGUF_MAX_HEADER_BYTES};
    if (!g->path || !p->path) {
        gguf_free(g);
        no_memory(path, e);
        return NULL;
    }
    return g;
}

int gguf_open(struct gguf **out, const char *path, struct err *e)
{
    struct gguf *g = new_model(path, e);
    if (!g)
        return ERR_NO_MEMORY;
    int rc = load_part(&g->parts[0], e);
    if (rc)
        goto out;
    uint64_t count = part_number(&g->parts[0], "split.count", 1);
    if (count > 1)
        rc = load_others(g, count, e);
    if (rc == 0)
        rc = check_totals(g, e);
    if (rc == 0)
        rc = gguf_assemble(g, e);
out:
    if (rc)
        gguf_free(g);
    else
        *out = g;
    return rc;
}

int gguf_parse(struct gguf **out, const void *data, size_t size, uint64_t file_size,
               const char *name, uint64_t *need, struct err *e)
{
    // The scan only reads; it runs on the caller's bytes, so that asking for more costs nothing.
    struct gguf_part seen = {.path = (char *)name,
                             .size = file_size,
                             .header = (uint8_t *)data,
                             .max_header_bytes = GGUF_MAX_HEADER_BYTES};
    int rc = header_scan(&seen, size, need, e);
    if (rc)
        return rc;
    struct gguf *g = new_model(name, e);
    if (!g)
        return ERR_NO_MEMORY;
    struct gguf_part *p = &g->parts[0];
    seen.path = p->path;
    seen.fd = -1;
    seen.header = malloc(seen.header_bytes);
    *p = seen;
    if (!p->header) {
        rc = no_memory(name, e);
    } else {
        memcpy(p->header, data, p->header_bytes);
        rc = gguf_assemble(g, e);
    }
    if (rc)
        gguf_free(g);
    else
        *out = g;
    return rc;
}

int gguf_unchanged(const struct gguf *g, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < g->n_parts && !rc; i++) {
        const struct gguf_part *p = &g->parts[i];
        if (p->fd >= 0)
            rc = stamp_check(&p->stamp, p->fd, p->path,
                             "start again with a file that is whole and that nobody writes to", e);
    }
    return rc;
}
