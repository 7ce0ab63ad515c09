// Reading a vocabulary from a model's metadata. The file is not to be trusted: array lengths are
// compared before anything is sized by them, ids are checked against the number of tokens.
//
// What real files are known to get wrong is mended quietly: special ids that mean "none"
// (0xFFFFFFFF), tokens that occur twice (the last one counts), empty tokens (never matched), end
// tokens that are not marked as control tokens.
#include "base/log.h"
#include "text/tables.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int load_model(struct vocab *v, const struct gguf *g, struct err *e)
{
    struct gguf_string model;
    char quoted[40];
    if (!gguf_get_string(g, "tokenizer.ggml.model", &model))
        return err_set(e, ERR_FAILED,
                       "%s: no vocabulary in it (no tokenizer.ggml.model); a model that makes text "
                       "is needed",
                       gguf_path(g));
    if (model.length == 5 && !memcmp(model.text, "llama", 5))
        v->model = VOCAB_SPM;
    else if (model.length == 4 && !memcmp(model.text, "gpt2", 4))
        v->model = VOCAB_BPE;
    else if (model.length == 2 && !memcmp(model.text, "t5", 2))
        v->model = VOCAB_UNIGRAM;
    else
        return err_set(e, ERR_FAILED,
                       "%s: vocabularies of kind '%s' are not supported; those of SentencePiece "
                       "('llama', 't5') and byte-level BPE ('gpt2') are",
                       gguf_path(g),
                       err_quote(quoted, sizeof quoted, model.text,
                                 model.length < 32 ? (int)model.length : 32));
    return 0;
}

static int load_texts(struct vocab *v, const struct gguf *g, struct err *e)
{
    const struct gguf_key *k = gguf_find(g, "tokenizer.ggml.tokens");
    if (!k || k->type != GGUF_ARRAY || k->element != GGUF_STRING || !k->count)
        return err_set(e, ERR_FAILED, "%s: no list of tokens in it (tokenizer.ggml.tokens)",
                       gguf_path(g));
    if (k->count > VOCAB_MAX_TOKENS)
        return err_set(e, ERR_FAILED, "%s: %llu tokens; at most %d are supported", gguf_path(g),
                       (unsigned long long)k->count, VOCAB_MAX_TOKENS);
    v->n = (int32_t)k->count;
    size_t total = 0;
    for (int32_t i = 0; i < v->n; i++) {
        struct gguf_string s = gguf_string_at(k, (uint64_t)i);
        if (s.length > VOCAB_MAX_STORED_BYTES)
            return err_set(e, ERR_FAILED, "%s: token %d has %zu bytes; at most %d are supported",
                           gguf_path(g), i, s.length, VOCAB_MAX_STORED_BYTES);
        total += s.length;
    }
    size_t n = (size_t)v->n;
    v->bytes = total <= UINT32_MAX / 2 ? malloc(2 * total + 1) : NULL; // no piece is longer
    v->text = malloc(n * sizeof *v->text);
    v->piece = malloc(n * sizeof *v->piece);
    v->type = malloc(n * sizeof *v->type);
    v->ends = calloc(n, sizeof *v->ends);
    if (!v->bytes || !v->text || !v->piece || !v->type || !v->ends)
        return err_set(e, ERR_NO_MEMORY, "no memory for a vocabulary of %zu bytes", total);
    uint32_t at = 0;
    for (int32_t i = 0; i < v->n; i++) {
        struct gguf_string s = gguf_string_at(k, (uint64_t)i);
        v->text[i] = (struct span){at, (uint32_t)s.length};
        memcpy(v->bytes + at, s.text, s.length);
        at += v->text[i].n;
    }
    if (lookup_init(&v->by_text, v->bytes, v->text, n) ||
        lookup_init(&v->by_piece, v->bytes, v->piece, n))
        return err_set(e, ERR_NO_MEMORY, "no memory for a vocabulary of %zu tokens", n);
    for (int32_t i = 0; i < v->n; i++)
        if (v->text[i].n)
            lookup_put(&v->by_text, i);
    return 0;
}

// An id that the file gives, `otherwise` where it gives none, -1 where that is no token.
int32_t vocab_load_id(const struct vocab *v, const struct gguf *g, const char *key,
                      int32_t otherwise)
{
    int64_t id;
    if (!gguf_get_i64(g, key, &id))
        return otherwise < v->n ? otherwise : -1;
    if (id >= 0 && id < v->n)
        return (int32_t)id;
    if (id != UINT32_MAX && id != -1)
        log_warn("%s: %s is %lld, which is no token; ignored", gguf_path(g), key, (long long)id);
    return -1;
}

static void load_ids(struct vocab *v, const struct gguf *g)
{
    static const struct {
        int32_t unk, bos, eos;
        bool add_bos, add_eos, add_space_prefix;
    } kinds[] = {[VOCAB_SPM] = {0, 1, 2, true, false, true},
                 [VOCAB_BPE] = {-1, -1, -1, false, false, false},
                 [VOCAB_UNIGRAM] = {2, -1, 1, false, true, true}};
    v->unk = vocab_load_id(v, g, "tokenizer.ggml.unknown_token_id", kinds[v->model].unk);
    v->bos = vocab_load_id(v, g, "tokenizer.ggml.bos_token_id", kinds[v->model].bos);
    v->eos = vocab_load_id(v, g, "tokenizer.ggml.eos_token_id", kinds[v->model].eos);
    v->add_bos = kinds[v->model].add_bos;
    v->add_eos = kinds[v->model].add_eos;
    v->add_space_prefix = kinds[v->model].add_space_prefix;
    gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &v->add_bos);
    gguf_get_bool(g, "tokenizer.ggml.add_eos_token", &v->add_eos);
    if (v->model != VOCAB_BPE) // byte-level pieces say themselves where spaces are
        gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &v->add_space_prefix);
}

// The byte that "<0x0A>" stands for; -1: another text.
static int byte_of_text(const struct vocab *v, int32_t id)
{
    const char *s = v->bytes + v->text[id].at;
    static const char digits[] = "0123456789ABCDEF";
    if (v->text[id].n != 6 || memcmp(s, "<0x", 3) || s[5] != '>')
        return -1;
    const char *high = memchr(digits, s[3], 16), *low = memchr(digits, s[4], 16);
    return high && low ? (int)((high - digits) << 4 | (low - digits)) : -1;
}

static int load_types(struct vocab *v, const struct gguf *g, struct err *e)
{
    const struct gguf_key *k = gguf_find(g, "tokenizer.ggml.token_type");
    if (k && (k->type != GGUF_ARRAY || k->count != (uint64_t)v->n))
        return err_set(e, ERR_FAILED,
                       "%s: %llu token types for %d tokens; the file is damaged, fetch it again",
                       gguf_path(g), (unsigned long long)k->count, v->n);
    for (int32_t i = 0; i < v->n; i++) {
        int64_t type = TOKEN_NORMAL;
        if (k && (!gguf_int_at(k, (uint64_t)i, &type) || type < 0 || type > TOKEN_BYTE))
            return err_set(e, ERR_FAILED, "%s: token %d is of no known type", gguf_path(g), i);
        v->type[i] = type ? (uint8_t)type : TOKEN_NORMAL;
        if (!k && v->model != VOCAB_BPE && byte_of_text(v, i) >= 0)
            v->type[i] = TOKEN_BYTE;
    }
    if (!k) {
        if (v->unk >= 0)
            v->type[v->unk] = TOKEN_UNKNOWN;
        if (v->bos >= 0)
            v->type[v->bos] = TOKEN_CONTROL;
        if (v->eos >= 0)
            v->type[v->eos] = TOKEN_CONTROL;
    }
    return 0;
}

// Scores, which SentencePiece's kinds go by; without any all are equal.
static int load_scores(struct vocab *v, const struct gguf *g, struct err *e)
{
    const struct gguf_key *k = gguf_find(g, "tokenizer.ggml.scores");
    if (k && (k->type != GGUF_ARRAY || k->count != (uint64_t)v->n))
        return err_set(e, ERR_FAILED,
                       "%s: %llu scores for %d tokens; the file is damaged, fetch it again",
                       gguf_path(g), (unsigned long long)k->count, v->n);
    v->score = malloc((size_t)v->n * sizeof *v->score);
    if (!v->score)
        return err_set(e, ERR_NO_MEMORY, "no memory for a vocabulary of %d tokens", v->n);
    for (int32_t i = 0; i < v->n; i++) {
        double score = 0;
        if (k && (!gguf_float_at(k, (uint64_t)i, &score) || !isfinite((float)score)))
            return err_set(e, ERR_FAILED,
                           "%s: token %d has no score that is a number; the file is damaged, "
                           "fetch it again",
                           gguf_path(g), i);
        v->score[i] = (float)score;
    }
    return 0;
}

// SentencePiece writes a space as U+2581. A stored space is matched by no text, as in
// SentencePiece; returns false for such a token.
static bool spm_piece(const char *text, size_t n, char *out, uint32_t *n_out)
{
    bool space = false;
    *n_out = 0;
    for (size_t i = 0; i < n; i++) {
        space |= text[i] == ' ';
        if (n - i >= 3 && !memcmp(text + i, "\xe2\x96\x81", 3)) {
            out[(*n_out)++] = ' ';
            i += 2;
        } else {
            out[(*n_out)++] = text[i];
        }
    }
    return !space;
}

static bool space_begins(const char *piece, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (piece[i] == ' ' && piece[i - 1] != ' ')
            return false;
    return true;
}

// Whether it is a user-defined token with U+2581, as early conversions of Gemma write runs of
// spaces: running text has spaces there, so it is found by merging like any other.
static bool is_spaces(const struct vocab *v, int32_t id)
{
    return v->model != VOCAB_BPE && v->type[id] == TOKEN_USER_DEFINED &&
           memmem(v->bytes + v->text[id].at, v->text[id].n, "\xe2\x96\x81", 3);
}

// Pieces, and which of them ordinary text can become.
static void load_pieces(struct vocab *v)
{
    v->space_begins = true;
    uint32_t at = v->text[v->n - 1].at + v->text[v->n - 1].n;
    struct bpe_alphabet alphabet;
    bpe_alphabet_init(&alphabet);
    for (int32_t i = 0; i < v->n; i++) {
        const struct span t = v->text[i];
        char *out = v->bytes + at;
        bool matches = false;
        v->piece[i] = t;
        int byte = v->type[i] == TOKEN_BYTE ? byte_of_text(v, i) : -1;
        if (byte >= 0 && v->model != VOCAB_BPE) {
            v->piece[i] = (struct span){at, 1};
            *out = (char)byte;
            v->byte_id[byte] = i;
        } else if (v->type[i] == TOKEN_NORMAL || v->type[i] == TOKEN_UNUSED || is_spaces(v, i)) {
            v->piece[i].at = at;
            matches = v->model == VOCAB_BPE
                          ? bpe_piece(&alphabet, v->bytes + t.at, t.n, out, &v->piece[i].n)
                          : spm_piece(v->bytes + t.at, t.n, out, &v->piece[i].n);
            v->space_begins &= space_begins(out, v->piece[i].n);
        }
        if (v->piece[i].at == at)
            at += v->piece[i].n;
        if (matches && v->piece[i].n)
            lookup_put(&v->by_piece, i);
    }
}

int vocab_load(struct vocab *v, const struct gguf *g, struct err *e)
{
    memset(v->byte_id, -1, sizeof v->byte_id);
    int rc = load_model(v, g, e);
    if (!rc)
        rc = load_texts(v, g, e);
    if (rc)
        return rc;
    load_ids(v, g);
    rc = load_types(v, g, e);
    if (rc)
        return rc;
    ends_load(v, g);
    load_pieces(v);
    if (v->model == VOCAB_BPE)
        return bpe_load(v, g, e);
    rc = load_scores(v, g, e);
    if (rc)
        return rc;
    return v->model == VOCAB_SPM ? spm_load(v, e) : unigram_load(v, g, e);
}
