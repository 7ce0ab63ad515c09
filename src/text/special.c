// Special tokens in text.
//
// The tokens of a set are sorted by their bytes, so those that begin like the text at some place
// are a range, which each further byte narrows. A bitmap of all first two bytes passes over almost
// every place at once.
//
// Longest first means in the whole text, not at each place: of "ab" and "bcd" in "abcd" the second
// is found. That is how the tokenizers behave that models were trained with.
#include "text/special.h"

#include <stdlib.h>
#include <string.h>

static int compare_ids(const void *a, const void *b, void *arg)
{
    const struct special *s = arg;
    const struct span *x = &s->keys[*(const int32_t *)a], *y = &s->keys[*(const int32_t *)b];
    int order = memcmp(s->bytes + x->at, s->bytes + y->at, x->n < y->n ? x->n : y->n);
    if (order)
        return order;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return *(const int32_t *)a < *(const int32_t *)b ? -1 : 1;
}

static void index_beginnings(struct special *s)
{
    for (int32_t i = 0; i < s->n; i++) {
        const struct span *k = &s->keys[s->ids[i]];
        const uint8_t *key = (const uint8_t *)s->bytes + k->at;
        s->first[key[0] + 1] = i + 1;
        if (k->n > s->longest)
            s->longest = k->n;
        uint32_t low = k->n > 1 ? key[1] : 0, high = k->n > 1 ? key[1] : 255;
        for (uint32_t b = low; b <= high; b++)
            s->pairs[key[0] << 2 | b >> 6] |= (uint64_t)1 << (b & 63);
    }
    for (int b = 1; b <= 256; b++)
        if (s->first[b] < s->first[b - 1])
            s->first[b] = s->first[b - 1];
}

int special_init(struct special *s, const char *bytes, const struct span *keys,
                 const bool *eats_space, const bool *member, int32_t n_vocab)
{
    *s = (struct special){.bytes = bytes, .keys = keys, .eats_space = eats_space};
    int32_t n = 0;
    for (int32_t i = 0; i < n_vocab; i++)
        n += member[i] && keys[i].n;
    s->ids = malloc(((size_t)n + 1) * sizeof *s->ids);
    if (!s->ids)
        return -1;
    for (int32_t i = 0; i < n_vocab; i++)
        if (member[i] && keys[i].n)
            s->ids[s->n++] = i;
    qsort_r(s->ids, (size_t)s->n, sizeof *s->ids, compare_ids, s);
    index_beginnings(s);
    return 0;
}

void special_fini(struct special *s)
{
    free(s->ids);
    s->ids = NULL;
}

// First index in [low, high) whose key has byte >= b at `depth`; all keys are longer than depth.
static int32_t narrow(const struct special *s, int32_t low, int32_t high, uint32_t depth, int b)
{
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if ((uint8_t)s->bytes[s->keys[s->ids[middle]].at + depth] < b)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// The longest token of at most `limit` bytes that the text begins with; returns its size or 0.
static uint32_t longest_at(const struct special *s, const char *text, size_t n, uint32_t limit,
                           int32_t *id)
{
    int b = (uint8_t)text[0];
    int32_t low = s->first[b], high = s->first[b + 1];
    uint32_t found = 0;
    for (uint32_t depth = 1; low < high && depth <= limit; depth++) {
        if (s->keys[s->ids[low]].n == depth) {
            found = depth;
            do // equal texts: the last one counts, as in vocab_find
                *id = s->ids[low++];
            while (low < high && s->keys[s->ids[low]].n == depth);
        }
        if (depth == n)
            break;
        b = (uint8_t)text[depth];
        low = narrow(s, low, high, depth, b);
        high = narrow(s, low, high, depth, b + 1);
    }
    return found;
}

static int append(struct special_matches *l, struct special_match m)
{
    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 16;
        struct special_match *p = realloc(l->match, capacity * sizeof *p);
        if (!p)
            return -1;
        l->match = p;
        l->capacity = capacity;
    }
    l->match[l->n++] = m;
    return 0;
}

// Every place where a token begins, with the longest one there.
static int find_candidates(const struct special *s, const char *text, size_t n,
                           struct special_matches *out)
{
    for (size_t at = 0; at < n; at++) {
        uint32_t b0 = (uint8_t)text[at];
        uint32_t b1 = at + 1 < n ? (uint8_t)text[at + 1] : 0;
        // Behind the last byte there is no second one; longest_at sees to that.
        if (at + 1 < n && !(s->pairs[b0 << 2 | b1 >> 6] >> (b1 & 63) & 1))
            continue;
        int32_t id = -1;
        uint32_t size = longest_at(s, text + at, n - at, s->longest, &id);
        if (size && append(out, (struct special_match){.at = at, .id = id, .size = size}))
            return -1;
    }
    return 0;
}

static bool is_taken(const uint64_t *taken, size_t i)
{
    return taken[i / 64] >> (i % 64) & 1;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void take(const struct special *s, struct special_match *m, const char *text, size_t n,
                 uint64_t *taken)
{
    m->end = m->at + m->size;
    if (s->eats_space && s->eats_space[m->id])
        while (m->end < n && is_space(text[m->end]) && !is_taken(taken, m->end))
            m->end++;
    for (size_t i = m->at; i < m->end; i++)
        taken[i / 64] |= (uint64_t)1 << (i % 64);
}

// Goes through the candidates from the longest size down. What was taken before is no shorter, so
// it overlaps a candidate only if it covers one of its ends. Taken candidates have an `end`; those
// that are out of the game have size 0.
static void settle(const struct special *s, const char *text, size_t n, struct special_matches *l,
                   uint64_t *taken)
{
    for (uint32_t size = s->longest, next; size; size = next) {
        next = 0;
        for (size_t i = 0; i < l->n; i++) {
            struct special_match *m = &l->match[i];
            if (m->end || !m->size)
                continue;
            if (m->size == size) {
                if (!is_taken(taken, m->at) && !is_taken(taken, m->at + size - 1)) {
                    take(s, m, text, n, taken);
                    continue;
                }
                m->size = is_taken(taken, m->at)
                              ? 0
                              : longest_at(s, text + m->at, n - m->at, size - 1, &m->id);
            }
            if (m->size > next)
                next = m->size;
        }
    }
}

int special_find(const struct special *s, const char *text, size_t n, struct special_matches *out)
{
    *out = (struct special_matches){0};
    if (!s->n)
        return 0;
    if (find_candidates(s, text, n, out))
        return -1;
    if (!out->n)
        return 0;
    uint64_t *taken = calloc(n / 64 + 1, sizeof *taken);
    if (!taken)
        return -1;
    settle(s, text, n, out, taken);
    free(taken);
    size_t kept = 0;
    for (size_t i = 0; i < out->n; i++)
        if (out->match[i].end)
            out->match[kept++] = out->match[i];
    out->n = kept;
    return 0;
}
