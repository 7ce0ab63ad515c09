// The double array comes from a file, so each index is compared with its size where it is used; a
// walk is no longer than the longest key may be.
#include "text/charsmap.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

static int damaged(const struct gguf *g, const char *what, struct err *e)
{
    return err_set(e, ERR_FAILED,
                   "%s: its table of characters (tokenizer.ggml.precompiled_charsmap) %s; the file "
                   "is damaged, fetch it again",
                   gguf_path(g), what);
}

static bool replacements_fit(const char *text, size_t n)
{
    size_t begin = 0;
    for (size_t i = 0; i < n; i++) {
        if (!text[i])
            begin = i + 1;
        else if (i - begin >= CHARSMAP_MAX_REPLACEMENT_BYTES)
            return false;
    }
    return begin == n; // the last one is ended
}

int charsmap_load(struct charsmap *m, const struct gguf *g, struct err *e)
{
    *m = (struct charsmap){0};
    const struct gguf_key *k = gguf_find(g, "tokenizer.ggml.precompiled_charsmap");
    if (!k || (k->type == GGUF_ARRAY && !k->count))
        return 0;
    if (k->type != GGUF_ARRAY || (k->element != GGUF_U8 && k->element != GGUF_I8))
        return damaged(g, "is no list of bytes", e);
    struct cursor c = cursor_of(k->data, (size_t)k->count);
    uint32_t size = cursor_u32(&c);
    const uint8_t *units = cursor_take(&c, size);
    if (c.bad || size % sizeof *m->units || !size)
        return damaged(g, "is shorter than it says", e);
    if (!replacements_fit((const char *)c.at, cursor_left(&c)))
        return damaged(g, "has a replacement without an end", e);
    m->n_units = size / sizeof *m->units;
    m->n_replacements = cursor_left(&c);
    m->units = malloc(size);
    m->replacements = malloc(m->n_replacements + 1);
    if (!m->units || !m->replacements)
        return err_set(e, ERR_NO_MEMORY, "no memory for a table of characters of %u bytes", size);
    memcpy(m->units, units, size);
    memcpy(m->replacements, c.at, m->n_replacements);
    return 0;
}

void charsmap_fini(struct charsmap *m)
{
    free(m->units);
    free(m->replacements);
    *m = (struct charsmap){0};
}

// The fields of a unit, as Darts-clone packs them.
static uint32_t unit_offset(uint32_t unit)
{
    return (unit >> 10) << ((unit & 1 << 9) >> 6);
}

static uint32_t unit_label(uint32_t unit)
{
    return unit & (1u << 31 | 0xff); // a unit with a value has none that is a byte
}

static bool unit_ends_key(uint32_t unit)
{
    return unit >> 8 & 1;
}

static uint32_t unit_value(uint32_t unit)
{
    return unit & ~(1u << 31);
}

size_t charsmap_find(const struct charsmap *m, const char *text, size_t n, const char **out,
                     size_t *n_out)
{
    size_t found = 0;
    if (!m->units)
        return 0;
    uint32_t at = unit_offset(m->units[0]);
    for (size_t i = 0; i < n && i < CHARSMAP_MAX_KEY_BYTES; i++) {
        uint8_t byte = (uint8_t)text[i];
        at ^= byte;
        if (!byte || at >= m->n_units || unit_label(m->units[at]) != byte)
            break;
        uint32_t unit = m->units[at];
        at ^= unit_offset(unit);
        if (!unit_ends_key(unit))
            continue;
        if (at >= m->n_units || unit_value(m->units[at]) >= m->n_replacements)
            break;
        found = i + 1;
        *out = m->replacements + unit_value(m->units[at]);
    }
    if (found)
        *n_out = strlen(*out);
    return found;
}
