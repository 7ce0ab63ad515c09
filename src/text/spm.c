// SentencePiece BPE: characters merge into the neighbouring pair whose token has the best score. A
// character that is no token falls back to its bytes, or to the unknown token.
//
// Spaces belong to the words behind them, so in almost every vocabulary no piece has a space
// anywhere but at its beginning. Then text may be cut in front of each space that follows another
// character: no merge would cross the cut, and words are short.
#include "text/tables.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

// Orders as floats do: flip all bits of negative ones, the sign of the others. The higher the
// score, the lower the result.
static uint32_t order_of_score(float score)
{
    uint32_t bits;
    score += 0.0f; // -0 and 0 are equal
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? bits : ~(bits | 0x80000000u);
}

static int compare_orders(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Ranks are dense: equal scores have the same, the next lower score the next.
int spm_load(struct vocab *v, struct err *e)
{
    size_t n = (size_t)v->n;
    uint64_t *order = malloc(n * sizeof *order); // of the score, then the id
    v->rank = malloc(n * sizeof *v->rank);
    if (!order || !v->rank) {
        free(order);
        return err_set(e, ERR_NO_MEMORY, "no memory for a vocabulary of %d tokens", v->n);
    }
    bool sorted = true; // most files are, almost
    for (size_t i = 0; i < n; i++) {
        order[i] = (uint64_t)order_of_score(v->score[i]) << 32 | i;
        sorted &= !i || order[i - 1] < order[i];
    }
    if (!sorted)
        qsort(order, n, sizeof *order, compare_orders);
    v->n_ranks = 1;
    for (size_t i = 0; i < n; i++) {
        v->n_ranks += i && order[i] >> 32 != order[i - 1] >> 32;
        v->rank[(uint32_t)order[i]] = v->n_ranks - 1;
    }
    free(order);
    return 0;
}

static bool pair_by_score(const struct vocab *v, const char *word, const struct symbol *left,
                          const struct symbol *right, uint32_t *rank, int32_t *id)
{
    size_t size = (size_t)left->size + right->size;
    if (size > VOCAB_MAX_STORED_BYTES)
        return false;
    *id = lookup_find(&v->by_piece, word + left->at, size);
    if (*id < 0)
        return false;
    *rank = v->rank[*id];
    return true;
}

int spm_push_bytes(struct encoder *x, const char *text, size_t n)
{
    const struct vocab *v = x->vocab;
    for (size_t i = 0; i < n; i++) {
        int32_t id = v->byte_id[(uint8_t)text[i]];
        if (id >= 0) {
            ids_push(x->out, id);
            continue;
        }
        if (v->unk < 0)
            return err_set(x->err, ERR_FAILED,
                           "the model has neither a token for byte 0x%02X of the text nor one for "
                           "what is unknown",
                           (unsigned)(uint8_t)text[i]);
        ids_push(x->out, v->unk);
        break; // one for the whole character
    }
    return 0;
}

static int encode_new_word(struct encoder *x, const char *word, size_t n)
{
    const struct vocab *v = x->vocab;
    struct merger *m = &x->merger;
    if (merger_begin(m, n))
        goto no_memory;
    for (size_t at = 0; at < n;) {
        int length = utf8_length(word + at, n - at);
        uint32_t size = length > 0 ? (uint32_t)length : 1;
        merger_add(m, (uint32_t)at, size, lookup_find(&v->by_piece, word + at, size));
        at += size;
    }
    if (merger_run(m, v, word, pair_by_score, v->n_ranks))
        goto no_memory;
    int rc = 0;
    for (int32_t i = 0; i >= 0 && !rc; i = m->symbols[i].next) {
        const struct symbol *s = &m->symbols[i];
        if (s->id >= 0)
            ids_push(x->out, s->id);
        else
            rc = spm_push_bytes(x, word + s->at, s->size);
    }
    return rc;
no_memory:
    return err_set(x->err, ERR_NO_MEMORY, "no memory to tokenize a word of %zu bytes", n);
}

// U+2581 in the text is a space too.
static size_t normalise(const char *text, size_t n, char *out)
{
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        if (n - i >= 3 && text[i] == '\xe2' && !memcmp(text + i, "\xe2\x96\x81", 3)) {
            out[to++] = ' ';
            i += 2;
        } else {
            out[to++] = text[i];
        }
    }
    return to;
}

int spm_encode(struct encoder *x, const char *text, size_t n, bool space_prefix)
{
    char *plain = malloc(n + 1);
    if (!plain)
        return err_set(x->err, ERR_NO_MEMORY, "no memory to tokenize a text of %zu bytes", n);
    plain[0] = ' ';
    n = normalise(text, n, plain + space_prefix) + space_prefix;
    int rc = words_run(x, plain, n, encode_new_word);
    free(plain);
    return rc;
}
