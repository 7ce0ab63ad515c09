// Walking a header: see header.h. Every byte is hostile; what the walk wants is compared with what
// the file has before anything is believed.
#include "gguf/header.h"

#include "base/arith.h"
#include "base/bytes.h"

#include <stdlib.h>

enum {
    PREFIX_BYTES = 24,
    MIN_KEY_BYTES = 8 + 1 + 4 + 1,            // length, name, type, value
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8, // length, name, n_dims, one dim, type, offset
    QUOTED = 80,
};

struct walk {
    struct cursor c;
    const struct gguf_part *part;
    uint64_t need;
    struct err *e;
    int rc; // 0 until the walk stopped
};

static uint64_t walk_pos(const struct walk *w)
{
    return (uint64_t)(w->c.at - w->part->header);
}

static uint64_t walk_left(const struct walk *w)
{
    return w->part->size - walk_pos(w);
}

// The next `size` bytes; NULL stops the walk: the file ends before, or more of it must be read.
static const uint8_t *walk_take(struct walk *w, uint64_t size, const char *what)
{
    if (w->rc)
        return NULL;
    if (size > walk_left(w)) {
        w->rc =
            err_set(w->e, ERR_FAILED,
                    "%s: the file ends within %s: %llu bytes are needed at byte %llu; it is cut "
                    "short or damaged, get it again",
                    w->part->path, what, (unsigned long long)size, (unsigned long long)walk_pos(w));
        return NULL;
    }
    if (size > w->part->max_header_bytes - walk_pos(w)) {
        w->rc = err_set(w->e, ERR_FAILED,
                        "%s: the model has more than %d MiB of metadata; the file is damaged or is "
                        "no language model",
                        w->part->path, GGUF_MAX_HEADER_BYTES >> 20);
        return NULL;
    }
    if (size > cursor_left(&w->c)) {
        w->need = walk_pos(w) + size;
        w->rc = 1;
        return NULL;
    }
    return cursor_take(&w->c, size);
}

static uint32_t walk_u32(struct walk *w, const char *what)
{
    const uint8_t *p = walk_take(w, 4, what);
    return p ? load_u32(p) : 0;
}

static uint64_t walk_u64(struct walk *w, const char *what)
{
    const uint8_t *p = walk_take(w, 8, what);
    return p ? load_u64(p) : 0;
}

static struct gguf_string walk_string(struct walk *w, const char *what)
{
    uint64_t length = walk_u64(w, what);
    const uint8_t *p = walk_take(w, length, what);
    return (struct gguf_string){.text = (const char *)p, .length = p ? (size_t)length : 0};
}

// A name: not empty, within `limit`, without NUL bytes, so that it can be a C string.
static struct gguf_string walk_name(struct walk *w, size_t limit, const char *what)
{
    struct gguf_string s = walk_string(w, what);
    if (!w->rc && (!s.length || s.length > limit || memchr(s.text, 0, s.length)))
        w->rc = err_set(w->e, ERR_FAILED,
                        "%s: %s is %zu bytes long or has NUL bytes; 1 to %zu bytes are allowed, "
                        "the file is damaged",
                        w->part->path, what, s.length, limit);
    return s;
}

static int key_fault(struct walk *w, const struct gguf_key *k, const char *what)
{
    char name[QUOTED];
    err_quote(name, sizeof name, k->name.text, (int)k->name.length);
    return w->rc = err_set(w->e, ERR_FAILED, "%s: key \"%s\" %s; the file is damaged",
                           w->part->path, name, what);
}

size_t key_type_size(enum gguf_type type)
{
    static const uint8_t sizes[GGUF_TYPE_COUNT] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2,
        [GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1,
        [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
    };
    return sizes[type];
}

static void walk_strings(struct walk *w, const struct gguf_key *k, uint64_t *string_at)
{
    for (uint64_t i = 0; i < k->count && !w->rc; i++) {
        if (string_at)
            string_at[i] = (uint64_t)(w->c.at - k->data);
        walk_string(w, "an array of strings");
    }
}

static void walk_array(struct walk *w, struct gguf_key *k, uint64_t *string_at)
{
    uint32_t element = walk_u32(w, "an array");
    k->count = walk_u64(w, "an array");
    if (w->rc)
        return;
    if (element >= GGUF_TYPE_COUNT || element == GGUF_ARRAY) {
        key_fault(w, k,
                  element == GGUF_ARRAY ? "is an array of arrays, which no model has"
                                        : "is an array of an unknown type");
        return;
    }
    k->element = (enum gguf_type)element;
    k->data = w->c.at;
    size_t least = element == GGUF_STRING ? 8 : key_type_size(k->element);
    if (k->count > walk_left(w) / least)
        key_fault(w, k, "is an array that is longer than the file");
    else if (element == GGUF_STRING && k->count > GGUF_MAX_STRINGS)
        key_fault(w, k, "is an array of more strings than any model has");
    else if (element == GGUF_STRING)
        walk_strings(w, k, string_at);
    else
        walk_take(w, k->count * least, "an array");
}

// Reads one key; string_at (room for its strings) may be NULL.
static void walk_key(struct walk *w, struct gguf_key *k, uint64_t *string_at)
{
    *k = (struct gguf_key){.count = 1};
    k->name = walk_name(w, GGUF_MAX_KEY_BYTES - 1, "the name of a key");
    uint32_t type = walk_u32(w, "the type of a key");
    if (w->rc)
        return;
    if (type >= GGUF_TYPE_COUNT) {
        key_fault(w, k, "is of an unknown type");
        return;
    }
    k->type = (enum gguf_type)type;
    k->data = w->c.at;
    if (k->type == GGUF_ARRAY)
        walk_array(w, k, string_at);
    else if (k->type == GGUF_STRING)
        walk_string(w, "a string");
    else
        walk_take(w, key_type_size(k->type), "a value");
    k->size = (size_t)(w->c.at - k->data);
    k->string_at = k->element == GGUF_STRING ? string_at : NULL;
}

static size_t key_strings(const struct gguf_key *k)
{
    return k->type == GGUF_ARRAY && k->element == GGUF_STRING ? (size_t)k->count : 0;
}

// Reads one record of the tensor table; offset still counts from the start of the data.
static void walk_tensor(struct walk *w, struct gguf_tensor *t)
{
    *t = (struct gguf_tensor){.dims = {1, 1, 1, 1}};
    t->name = walk_name(w, GGUF_MAX_NAME_BYTES, "the name of a tensor");
    uint32_t n_dims = walk_u32(w, "the tensor table");
    if (w->rc)
        return;
    if (n_dims < 1 || n_dims > GGUF_MAX_DIMS) {
        w->rc = err_set(w->e, ERR_FAILED,
                        "%s: a tensor has %u dimensions, 1 to %d are possible; the file is damaged",
                        w->part->path, n_dims, GGUF_MAX_DIMS);
        return;
    }
    t->n_dims = (int)n_dims;
    for (uint32_t i = 0; i < n_dims; i++)
        t->dims[i] = walk_u64(w, "the tensor table");
    t->type = walk_u32(w, "the tensor table");
    t->offset = walk_u64(w, "the tensor table");
}

static struct walk walk_from(const struct gguf_part *p, size_t at, size_t size, struct err *e)
{
    return (struct walk){.c = cursor_of(p->header + at, size - at), .part = p, .e = e};
}

// Magic and version. A big-endian file has its bytes turned round in one or both of them.
static int walk_magic(struct walk *w, struct gguf_part *p)
{
    const uint8_t *magic = walk_take(w, 4, "its first bytes");
    if (!magic)
        return w->rc;
    if (memcmp(magic, "FUGG", 4) == 0)
        return w->rc = err_set(w->e, ERR_FAILED,
                               "%s: a big-endian GGUF file; only little-endian ones can be read",
                               p->path);
    if (memcmp(magic, "GGUF", 4) != 0) {
        char start[5];
        err_quote(start, sizeof start, (const char *)magic, 4);
        return w->rc = err_set(w->e, ERR_FAILED,
                               "%s: not a GGUF file (it starts with \"%s\"); give a .gguf model",
                               p->path, start);
    }
    p->version = walk_u32(w, "its first bytes");
    if (w->rc || p->version == 2 || p->version == 3)
        return w->rc;
    if (p->version == 1)
        return w->rc = err_set(w->e, ERR_FAILED,
                               "%s: GGUF version 1 is too old, versions 2 and 3 can be read; "
                               "convert the model again",
                               p->path);
    if (p->version && !(p->version & 0xffff))
        return w->rc = err_set(w->e, ERR_FAILED,
                               "%s: a big-endian GGUF file; only little-endian ones can be read",
                               p->path);
    return w->rc = err_set(w->e, ERR_FAILED,
                           "%s: GGUF version %u is unknown, versions 2 and 3 can be read; a newer "
                           "Rondo may know it",
                           p->path, p->version);
}

static int check_count(struct walk *w, const char *of, uint64_t n, uint64_t most, size_t least)
{
    if (n > most)
        return w->rc = err_set(w->e, ERR_FAILED,
                               "%s: it says that it has %llu %s, more than any model has; the file "
                               "is damaged",
                               w->part->path, (unsigned long long)n, of);
    if (n > walk_left(w) / least)
        return w->rc = err_set(w->e, ERR_FAILED,
                               "%s: it says that it has %llu %s, more than its %llu bytes can "
                               "hold; it is cut short or damaged, get it again",
                               w->part->path, (unsigned long long)n, of,
                               (unsigned long long)w->part->size);
    return 0;
}

static int walk_counts(struct walk *w, struct gguf_part *p)
{
    uint64_t n_tensors = walk_u64(w, "its first bytes"), n_keys = walk_u64(w, "its first bytes");
    if (w->rc || check_count(w, "keys", n_keys, GGUF_MAX_KEYS, MIN_KEY_BYTES) ||
        check_count(w, "tensors", n_tensors, GGUF_MAX_TENSORS, MIN_TENSOR_BYTES))
        return w->rc;
    p->n_keys = (size_t)n_keys;
    p->n_tensors = (size_t)n_tensors;
    return 0;
}

int header_scan(struct gguf_part *p, size_t size, uint64_t *need, struct err *e)
{
    struct walk w = walk_from(p, 0, size, e);
    if (!p->size)
        return err_set(e, ERR_FAILED, "%s: the file is empty; get it again", p->path);
    if (walk_magic(&w, p) == 0 && walk_counts(&w, p) == 0) {
        struct gguf_key k;
        p->n_strings = 0;
        for (size_t i = 0; i < p->n_keys && !w.rc; i++) {
            walk_key(&w, &k, NULL);
            p->n_strings += w.rc ? 0 : key_strings(&k);
            if (p->n_strings > GGUF_MAX_STRINGS)
                key_fault(&w, &k, "brings the strings to more than any model has");
        }
        p->tensors_at = (size_t)walk_pos(&w);
        struct gguf_tensor t;
        for (size_t i = 0; i < p->n_tensors && !w.rc; i++)
            walk_tensor(&w, &t);
        p->header_bytes = (size_t)walk_pos(&w);
    }
    if (w.rc == 1)
        *need = w.need;
    return w.rc;
}

const struct gguf_key *header_find(const struct gguf_part *p, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < p->n_keys; i++)
        if (p->keys[i].name.length == length && !memcmp(p->keys[i].name.text, name, length))
            return &p->keys[i];
    return NULL;
}

static int read_alignment(struct gguf_part *p, struct err *e)
{
    uint64_t alignment = GGUF_DEFAULT_ALIGNMENT;
    const struct gguf_key *k = header_find(p, "general.alignment");
    if (k && !key_u64(k, &alignment))
        return err_set(e, ERR_FAILED, "%s: general.alignment is no whole number; %s", p->path,
                       "the file is damaged");
    if (alignment < GGUF_MIN_ALIGNMENT || alignment > GGUF_MAX_ALIGNMENT ||
        (alignment & (alignment - 1)))
        return err_set(e, ERR_FAILED,
                       "%s: general.alignment is %llu, not a power of two from %d to %d; the file "
                       "is damaged",
                       p->path, (unsigned long long)alignment, GGUF_MIN_ALIGNMENT,
                       GGUF_MAX_ALIGNMENT);
    p->alignment = (uint32_t)alignment;
    size_t at = 0;
    size_align(p->header_bytes, p->alignment, &at); // cannot overflow: both are small
    p->data_at = at;
    return 0;
}

int header_keys(struct gguf_part *p, uint64_t *string_at, struct err *e)
{
    if (!p->keys)
        p->keys = calloc(p->n_keys ? p->n_keys : 1, sizeof *p->keys);
    if (!p->keys)
        return err_set(e, ERR_NO_MEMORY, "%s: no memory for its keys", p->path);
    struct walk w = walk_from(p, PREFIX_BYTES, p->tensors_at, e);
    for (size_t i = 0; i < p->n_keys && !w.rc; i++) {
        walk_key(&w, &p->keys[i], string_at);
        if (string_at)
            string_at += key_strings(&p->keys[i]);
    }
    return w.rc ? w.rc : read_alignment(p, e);
}

static int tensor_fault(const struct gguf_part *p, const struct gguf_tensor *t, const char *what,
                        struct err *e)
{
    char name[QUOTED];
    err_quote(name, sizeof name, t->name.text, (int)t->name.length);
    return err_set(e, ERR_FAILED, "%s: tensor \"%s\" %s", p->path, name, what);
}

// Size from type and shape, place from the offset; both against the file.
static int place_tensor(const struct gguf_part *p, struct gguf_tensor *t, struct err *e)
{
    const struct wtype_info *info = wtype_info(t->type);
    if (!info)
        return tensor_fault(p, t, "is of an unknown type; a newer Rondo may know it", e);
    for (int i = 0; i < GGUF_MAX_DIMS; i++)
        if (!t->dims[i])
            return tensor_fault(p, t, "has a dimension of 0; the file is damaged", e);
    if (t->dims[0] % info->width)
        return tensor_fault(p, t, "has rows that are no whole number of blocks of its type", e);
    size_t size;
    if (!wtype_row_bytes(t->type, t->dims[0], &size) || !size_mul(size, t->dims[1], &size) ||
        !size_mul(size, t->dims[2], &size) || !size_mul(size, t->dims[3], &size))
        return tensor_fault(p, t, "is larger than memory can be; the file is damaged", e);
    if (t->offset % p->alignment)
        return tensor_fault(p, t, "does not begin at a multiple of the alignment", e);
    size_t at, end;
    if (!size_add(p->data_at, t->offset, &at) || !size_add(at, size, &end) || end > p->size)
        return tensor_fault(p, t,
                            "goes on behind the end of the file; it is cut short or damaged, get "
                            "it again",
                            e);
    t->offset = at;
    t->size = size;
    return 0;
}

static int by_offset(const void *a, const void *b, void *tensors)
{
    const struct gguf_tensor *x = (struct gguf_tensor *)tensors + *(const uint32_t *)a;
    const struct gguf_tensor *y = (struct gguf_tensor *)tensors + *(const uint32_t *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

int header_tensors(struct gguf_part *p, int part, struct gguf_tensor *tensors, uint32_t *order,
                   struct err *e)
{
    struct walk w = walk_from(p, p->tensors_at, p->header_bytes, e);
    for (size_t i = 0; i < p->n_tensors; i++) {
        struct gguf_tensor *t = &tensors[i];
        walk_tensor(&w, t);
        if (w.rc)
            return w.rc;
        // Names become C strings in place: behind each lies its n_dims, which has been read.
        p->header[(const uint8_t *)t->name.text + t->name.length - p->header] = 0;
        t->part = part;
        order[i] = (uint32_t)i;
        int rc = place_tensor(p, t, e);
        if (rc)
            return rc;
    }
    qsort_r(order, p->n_tensors, sizeof *order, by_offset, tensors);
    for (size_t i = 1; i < p->n_tensors; i++) {
        const struct gguf_tensor *before = &tensors[order[i - 1]], *t = &tensors[order[i]];
        if (t->offset - before->offset < before->size)
            return tensor_fault(p, t, "overlaps another tensor; the file is damaged", e);
    }
    return 0;
}
