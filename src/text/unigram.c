// Unigram vocabularies (SentencePiece's other kind, "t5" in files): of all ways to cut a text into
// tokens, the one with the best sum of scores.
//
// The text is normalized first. Then the best way to each place is found from left to right
// (Viterbi): from a place that is reached, each token that the rest begins with reaches another. A
// character that is no token by itself may also be passed over as unknown, which costs more than
// any token; it becomes its bytes, where the vocabulary has them, or the unknown token.
//
// As in spm.c words are cut apart before, where no piece has a space inside: no token crosses the
// cut, so the parts of the best way are the best ways of the parts.
#include "text/tables.h"
#include "text/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_GROWTH = 4 }; // of a text that is normalized, over the longest text

static const double unknown_penalty = 10; // below the worst score

int unigram_load(struct vocab *v, const struct gguf *g, struct err *e)
{
    bool *member = calloc((size_t)v->n, sizeof *member);
    double worst = INFINITY;
    int rc = 0;
    if (!member)
        goto no_memory;
    for (int32_t i = 0; i < v->n; i++) {
        const struct span p = v->piece[i];
        member[i] = p.n && lookup_find(&v->by_piece, v->bytes + p.at, p.n) == i;
        if (v->type[i] == TOKEN_NORMAL && v->score[i] < worst)
            worst = v->score[i];
    }
    v->unknown_score = (isinf(worst) ? 0 : worst) - unknown_penalty;
    if (trie_init(&v->trie, v->bytes, v->piece, member, v->n))
        goto no_memory;
    v->merges_spaces = false;
    gguf_get_bool(g, "tokenizer.ggml.remove_extra_whitespaces", &v->merges_spaces);
    rc = charsmap_load(&v->charsmap, g, e);
    goto out;
no_memory:
    rc = err_set(e, ERR_NO_MEMORY, "no memory for a vocabulary of %d tokens", v->n);
out:
    free(member);
    return rc;
}

void lattice_fini(struct lattice *l)
{
    free(l->place);
    *l = (struct lattice){0};
}

static int lattice_begin(struct lattice *l, size_t n)
{
    if (n > l->capacity) {
        size_t capacity = n < 256 ? 256 : n;
        free(l->place);
        l->capacity = 0;
        l->place = malloc(capacity * sizeof *l->place);
        if (!l->place)
            return -1;
        l->capacity = capacity;
    }
    for (size_t i = 0; i < n; i++)
        l->place[i].score = -INFINITY;
    l->place[0].score = 0;
    return 0;
}

static void reach(struct lattice *l, size_t from, size_t to, double score, int32_t id)
{
    struct place *p = &l->place[to];
    score += l->place[from].score;
    if (score > p->score)
        *p = (struct place){.score = score, .from = (uint32_t)from, .id = id};
}

// All ways on from one place, where a character of `size` bytes begins.
static void go_on(const struct vocab *v, struct lattice *l, const char *word, size_t n, size_t from,
                  size_t size)
{
    bool known = false;
    uint32_t node = 0;
    for (size_t at = from; at < n; at++) {
        node = trie_step(&v->trie, node, (uint8_t)word[at]);
        if (!node)
            break;
        int32_t id = v->trie.nodes[node].id;
        if (id < 0)
            continue;
        reach(l, from, at + 1, v->score[id], id);
        known |= at + 1 - from == size;
    }
    if (!known)
        reach(l, from, from + size, v->unknown_score, -1);
}

static int encode_new_word(struct encoder *x, const char *word, size_t n)
{
    struct lattice *l = &x->lattice;
    if (lattice_begin(l, n + 1))
        return err_set(x->err, ERR_NO_MEMORY, "no memory to tokenize a word of %zu bytes", n);
    for (size_t at = 0, size; at < n; at += size) {
        int length = utf8_length(word + at, n - at);
        size = length > 0 ? (size_t)length : 1;
        go_on(x->vocab, l, word, n, at, size);
    }
    for (size_t at = n; at; at = l->place[at].from)
        l->place[l->place[at].from].to = (uint32_t)at;
    int rc = 0;
    for (size_t at = 0, to; !rc && at < n; at = to) {
        to = l->place[at].to;
        if (l->place[to].id >= 0)
            ids_push(x->out, l->place[to].id);
        else
            rc = spm_push_bytes(x, word + at, to - at);
    }
    return rc;
}

struct normalized {
    char *bytes;
    size_t n, capacity;
    bool merges;      // spaces that follow a space, or nothing, are left out
    bool after_space; // U+2581 in the text is not meant: it only looks like one later
};

static int put(struct normalized *t, const char *bytes, size_t n)
{
    if (n > t->capacity - t->n) {
        size_t capacity = 2 * (t->n + n);
        char *p = capacity <= (size_t)MAX_GROWTH * VOCAB_MAX_TEXT_BYTES
                      ? realloc(t->bytes, capacity)
                      : NULL;
        if (!p)
            return -1;
        t->bytes = p;
        t->capacity = capacity;
    }
    for (size_t i = 0; i < n; i++) {
        bool space = bytes[i] == ' ';
        if (!(t->merges && space && t->after_space))
            t->bytes[t->n++] = bytes[i];
        t->after_space = space;
    }
    return 0;
}

// Puts what the character, or the sequence, at the beginning of the text becomes; returns its
// length, 0: no memory.
static size_t put_next(struct normalized *t, const struct charsmap *m, const char *text, size_t n)
{
    const char *out = text;
    size_t n_out = 0, size = charsmap_find(m, text, n, &out, &n_out);
    if (!size) {
        int length = utf8_length(text, n);
        size = length > 0 ? (size_t)length : 1;
        out = length > 0 ? text : "\xef\xbf\xbd"; // U+FFFD
        n_out = length > 0 ? size : 3;
    }
    bool mark = n_out == 3 && !memcmp(out, "\xe2\x96\x81", 3); // U+2581
    if (mark)
        t->after_space = false;
    if (put(t, mark ? " " : out, mark ? 1 : n_out))
        return 0;
    t->after_space &= !mark;
    return size;
}

// White space in front and at the end goes where spaces are merged, and a space in front comes
// unless nothing is left.
static int normalize(const struct vocab *v, const char *text, size_t n, struct normalized *t)
{
    *t = (struct normalized){.bytes = malloc(n + 8), .capacity = n + 8};
    if (!t->bytes || (v->add_space_prefix && put(t, " ", 1)))
        return -1;
    t->merges = t->after_space = v->merges_spaces;
    for (size_t at = 0; at < n;) {
        size_t size = put_next(t, &v->charsmap, text + at, n - at);
        if (!size)
            return -1;
        at += size;
    }
    while (t->merges && t->n && t->bytes[t->n - 1] == ' ')
        t->n--;
    return 0;
}

int unigram_encode(struct encoder *x, const char *text, size_t n)
{
    const struct vocab *v = x->vocab;
    struct normalized t;
    size_t before = x->out->n;
    int rc;
    if (normalize(v, text, n, &t))
        rc = err_set(x->err, ERR_NO_MEMORY, "no memory to tokenize a text of %zu bytes", n);
    else
        rc = words_run(x, t.bytes, t.n, encode_new_word);
    free(t.bytes);
    if (rc || v->unk < 0)
        return rc;
    size_t kept = before; // unknown characters in a row are one token
    for (size_t i = before; i < x->out->n; i++)
        if (i == before || x->out->id[i] != v->unk || x->out->id[i - 1] != v->unk)
            x->out->id[kept++] = x->out->id[i];
    x->out->n = kept;
    return 0;
}
