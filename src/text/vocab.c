// A vocabulary as the rest of the house sees it: opening, asking, encoding, decoding.
//
// Encoding cuts the text at special tokens first; what lies between goes to spm.c, bpe.c or
// unigram.c.
#include "text/vocab.h"

#include "base/check.h"
#include "text/tables.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void ids_push(struct ids *l, int32_t id)
{
    if (l->n == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 64;
        l->id = realloc(l->id, l->capacity * sizeof *l->id);
        CHECK(l->id);
    }
    l->id[l->n++] = id;
}

void ids_free(struct ids *l)
{
    free(l->id);
    *l = (struct ids){0};
}

// Phi-3 was trained with the white space behind its special tokens removed; its files say so by
// nothing but their name.
static int load_eats_space(struct vocab *v, const struct gguf *g)
{
    struct gguf_string name;
    bool phi3 = false;
    if (!gguf_get_string(g, "general.name", &name))
        return 0;
    for (size_t i = 0; i + 4 <= name.length; i++)
        phi3 |= !strncasecmp(name.text + i, "phi3", 4) ||
                (i + 5 <= name.length && !strncasecmp(name.text + i, "phi-3", 5));
    if (!phi3)
        return 0;
    v->eats_space = calloc((size_t)v->n, sizeof *v->eats_space);
    if (!v->eats_space)
        return -1;
    static const char *const keep[] = {"<unk>", "<s>", "<|endoftext|>"};
    for (int32_t i = 0; i < v->n; i++)
        v->eats_space[i] = v->type[i] == TOKEN_CONTROL || v->type[i] == TOKEN_USER_DEFINED;
    for (size_t i = 0; i < sizeof keep / sizeof *keep; i++) {
        int32_t id = vocab_find(v, keep[i]);
        if (id >= 0)
            v->eats_space[id] = false;
    }
    return 0;
}

static int index_special(struct vocab *v, const struct gguf *g, struct err *e)
{
    bool *member = calloc((size_t)v->n, sizeof *member);
    int rc = 0;
    if (!member || load_eats_space(v, g))
        goto no_memory;
    for (int32_t i = 0; i < v->n; i++)
        member[i] = v->type[i] == TOKEN_USER_DEFINED;
    if (special_init(&v->user_defined, v->bytes, v->text, v->eats_space, member, v->n))
        goto no_memory;
    for (int32_t i = 0; i < v->n; i++)
        member[i] |= v->type[i] == TOKEN_CONTROL || v->type[i] == TOKEN_UNKNOWN;
    if (special_init(&v->special, v->bytes, v->text, v->eats_space, member, v->n))
        goto no_memory;
    goto out;
no_memory:
    rc = err_set(e, ERR_NO_MEMORY, "no memory for a vocabulary of %d tokens", v->n);
out:
    free(member);
    return rc;
}

int vocab_open(struct vocab **out, const struct gguf *g, struct err *e)
{
    *out = NULL;
    struct vocab *v = calloc(1, sizeof *v);
    if (!v)
        return err_set(e, ERR_NO_MEMORY, "no memory for the vocabulary");
    int rc = vocab_load(v, g, e);
    if (!rc)
        rc = index_special(v, g, e);
    if (rc) {
        vocab_free(v);
        return rc;
    }
    *out = v;
    return 0;
}

void vocab_free(struct vocab *v)
{
    if (!v)
        return;
    free(v->bytes);
    free(v->text);
    free(v->piece);
    free(v->type);
    free(v->ends);
    free(v->score);
    free(v->rank);
    trie_fini(&v->trie);
    charsmap_fini(&v->charsmap);
    free(v->merges);
    free(v->eats_space);
    lookup_fini(&v->by_text);
    lookup_fini(&v->by_piece);
    special_fini(&v->user_defined);
    special_fini(&v->special);
    pretokenizer_free(v->split);
    free(v);
}

// Text without special tokens; SentencePiece puts a space in front of each stretch of it.
static int encode_plain(struct encoder *x, const char *text, size_t n)
{
    if (!n)
        return 0;
    const struct vocab *v = x->vocab;
    switch (v->model) {
    case VOCAB_SPM:
        return spm_encode(x, text, n, v->add_space_prefix);
    case VOCAB_UNIGRAM:
        return unigram_encode(x, text, n);
    case VOCAB_BPE:
        break;
    }
    return bpe_encode(x, text, n);
}

static void encoder_fini(struct encoder *x)
{
    merger_fini(&x->merger);
    lattice_fini(&x->lattice);
}

static int encode_between(struct encoder *x, const char *text, size_t length,
                          const struct special_matches *l)
{
    size_t at = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct special_match *m = &l->match[i];
        int rc = encode_plain(x, text + at, m->at - at);
        if (rc)
            return rc;
        ids_push(x->out, m->id);
        at = m->end;
    }
    return encode_plain(x, text + at, length - at);
}

static int check_length(size_t length, struct err *e)
{
    if (length > VOCAB_MAX_TEXT_BYTES)
        return err_set(e, ERR_FAILED,
                       "a text of %zu bytes is too long to tokenize at once; at most %d are "
                       "supported",
                       length, VOCAB_MAX_TEXT_BYTES);
    return 0;
}

// Text in which the tokens of `special` are found as wholes.
static int encode_text(struct encoder *x, const struct special *special, const char *text,
                       size_t length)
{
    struct special_matches found;
    int rc;
    if (special_find(special, text, length, &found))
        rc = err_set(x->err, ERR_NO_MEMORY, "no memory to tokenize a text of %zu bytes", length);
    else
        rc = encode_between(x, text, length, &found);
    free(found.match);
    return rc;
}

int vocab_encode(const struct vocab *v, const char *text, size_t length, int flags, struct ids *out,
                 struct err *e)
{
    struct encoder x = {.vocab = v, .out = out, .err = e};
    size_t before = out->n;
    int rc = check_length(length, e);
    if (rc)
        return rc;
    if (flags & ENCODE_SPECIAL && v->add_bos && v->bos >= 0)
        ids_push(out, v->bos);
    rc = encode_text(&x, flags & ENCODE_CONTROL ? &v->special : &v->user_defined, text, length);
    if (!rc && flags & ENCODE_SPECIAL && v->add_eos && v->eos >= 0)
        ids_push(out, v->eos);
    if (rc)
        out->n = before;
    encoder_fini(&x);
    return rc;
}

// Control tokens found in the template's own text; between them lie stretches in which only
// user-defined tokens are.
static int encode_marked(struct encoder *x, const char *text, const uint8_t *marks, size_t length,
                         const struct special_matches *l)
{
    const struct vocab *v = x->vocab;
    size_t at = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct special_match *m = &l->match[i];
        if (!vocab_is_control(v, m->id) || memchr(marks + m->at, 1, m->end - m->at))
            continue;
        int rc = encode_text(x, &v->user_defined, text + at, m->at - at);
        if (rc)
            return rc;
        ids_push(x->out, m->id);
        at = m->end;
    }
    return encode_text(x, &v->user_defined, text + at, length - at);
}

int vocab_encode_marked(const struct vocab *v, const char *text, const uint8_t *marks,
                        size_t length, struct ids *out, struct err *e)
{
    struct encoder x = {.vocab = v, .out = out, .err = e};
    struct special_matches found;
    size_t before = out->n;
    int rc = check_length(length, e);
    if (rc)
        return rc;
    if (v->add_bos && v->bos >= 0) {
        struct gguf_string bos = vocab_token_text(v, v->bos);
        if (length < bos.length || memcmp(text, bos.text, bos.length))
            ids_push(out, v->bos);
    }
    if (special_find(&v->special, text, length, &found))
        rc = err_set(e, ERR_NO_MEMORY, "no memory to tokenize a text of %zu bytes", length);
    else
        rc = encode_marked(&x, text, marks, length, &found);
    if (rc)
        out->n = before;
    free(found.match);
    encoder_fini(&x);
    return rc;
}

int vocab_size(const struct vocab *v)
{
    return v->n;
}

int32_t vocab_bos(const struct vocab *v)
{
    return v->bos;
}

int32_t vocab_eos(const struct vocab *v)
{
    return v->eos;
}

bool vocab_adds_bos(const struct vocab *v)
{
    return v->add_bos && v->bos >= 0;
}

bool vocab_adds_space(const struct vocab *v)
{
    return v->add_space_prefix;
}

static bool is_token(const struct vocab *v, int32_t id)
{
    return id >= 0 && id < v->n;
}

bool vocab_is_end(const struct vocab *v, int32_t id)
{
    return is_token(v, id) && v->ends[id];
}

bool vocab_is_control(const struct vocab *v, int32_t id)
{
    return is_token(v, id) && (v->type[id] == TOKEN_CONTROL || v->type[id] == TOKEN_UNKNOWN);
}

int32_t vocab_find(const struct vocab *v, const char *token)
{
    return lookup_find(&v->by_text, token, strlen(token));
}

const char *vocab_kind(const struct vocab *v)
{
    static const char *const kinds[] = {
        [VOCAB_SPM] = "spm", [VOCAB_BPE] = "bpe", [VOCAB_UNIGRAM] = "unigram"};
    return kinds[v->model];
}

struct gguf_string vocab_token_text(const struct vocab *v, int32_t id)
{
    if (!is_token(v, id))
        return (struct gguf_string){"", 0};
    return (struct gguf_string){v->bytes + v->text[id].at, v->text[id].n};
}

size_t vocab_decode(const struct vocab *v, int32_t id, bool show_control, char *out, size_t size)
{
    if (!is_token(v, id) || (!show_control && vocab_is_control(v, id)))
        return 0;
    size_t n = v->piece[id].n < size ? v->piece[id].n : size;
    memcpy(out, v->bytes + v->piece[id].at, n);
    return n;
}
