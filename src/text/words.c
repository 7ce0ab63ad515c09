// A direct-mapped table: a new word takes the place of an older one.
#include "text/words.h"

#include "text/tables.h"

#include <stdlib.h>
#include <string.h>

enum { SEEN_WORDS = 1 << 12, SEEN_MAX_BYTES = 32, SEEN_FROM_TEXT_BYTES = 4096 };

struct seen_word {
    const char *word;
    uint32_t n, n_ids;
    size_t ids; // index in the output
};

void words_begin(struct words *w, struct encoder *x, size_t n,
                 int (*encode)(struct encoder *x, const char *word, size_t n))
{
    *w = (struct words){.x = x, .encode = encode};
    if (n >= SEEN_FROM_TEXT_BYTES)
        w->seen = calloc(SEEN_WORDS, sizeof *w->seen); // without it, only slower
}

void words_end(struct words *w)
{
    free(w->seen);
    w->seen = NULL;
}

int words_encode(struct words *w, const char *word, size_t n)
{
    struct ids *out = w->x->out;
    if (!w->seen || n > SEEN_MAX_BYTES)
        return w->encode(w->x, word, n);
    struct seen_word *s = &w->seen[lookup_hash(word, n) % SEEN_WORDS];
    if (s->n == n && !memcmp(s->word, word, n)) {
        for (uint32_t i = 0; i < s->n_ids; i++)
            ids_push(out, out->id[s->ids + i]);
        return 0;
    }
    size_t before = out->n;
    int rc = w->encode(w->x, word, n);
    *s = (struct seen_word){word, (uint32_t)n, (uint32_t)(out->n - before), before};
    return rc;
}

int words_run(struct encoder *x, const char *text, size_t n,
              int (*encode)(struct encoder *x, const char *word, size_t n))
{
    struct words w;
    int rc = 0;
    words_begin(&w, x, n, encode);
    for (size_t at = 0, end; !rc && at < n; at = end) {
        end = n;
        if (x->vocab->space_begins)
            for (end = at + 1; end < n && (text[end] != ' ' || text[end - 1] == ' ');)
                end++;
        rc = words_encode(&w, text + at, end - at);
    }
    words_end(&w);
    return rc;
}
