// Reading a vocabulary from a model's metadata. The file is not to be trusted: array lengths are
// compared before anything is sized by them, ids are checked against the number of tokens.
//
// What real files are known to get wrong is mended quietly: special ids that mean "none"
// (0xFFFFFFFF), tokens that occur twice (the last one counts), empty tokens (never matched), end
// tokens that are not marked as control tokens.
#include "base/log.h"
#include "text/tables.h"

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
    else
        return err_set(e, ERR_FAILED,
                       "%s: vocabularies of kind '%s' are not supported; those of SentencePiece "
                       "BPE ('llama') and byte-level BPE ('gpt2') are",
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
static int32_t load_id(const struct vocab *v, const struct gguf *g, const char *key,
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
    bool spm = v->model == VOCAB_SPM; // SentencePiece's own defaults
    v->unk = load_id(v, g, "tokenizer.ggml.unknown_token_id", spm ? 0 : -1);
    v->bos = load_id(v, g, "tokenizer.ggml.bos_token_id", spm ? 1 : -1);
    v->eos = load_id(v, g, "tokenizer.ggml.eos_token_id", spm ? 2 : -1);
    v->add_bos = v->add_space_prefix = spm;
    gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &v->add_bos);
    gguf_get_bool(g, "tokenizer.ggml.add_eos_token", &v->add_eos);
    gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &v->add_space_prefix);
    if (!spm) // byte-level pieces say themselves where spaces are
        v->add_space_prefix = false;
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
        if (!k && v->model == VOCAB_SPM && byte_of_text(v, i) >= 0)
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

// Tokens that end an answer, by the ids and by the texts that model families use. Such a text is a
// control token whatever the file says, so that nobody's words can end an answer; "</s>" is an
// exception, being markup that some models have as a user-defined token.
static void load_ends(struct vocab *v, const struct gguf *g)
{
    static const char *const keys[] = {"tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    static const char *const texts[] = {
        "<|im_end|>",      "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>",    "<|endoftext|>",
        "<|end|>",         "<|return|>", "<|call|>",   "<end_of_utterance>", "<end_of_turn>",
        "<|end_of_turn|>", "<EOT>",      "[EOT]",
    };
    if (v->eos >= 0)
        v->ends[v->eos] = true;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int32_t id = load_id(v, g, keys[i], -1);
        if (id >= 0)
            v->ends[id] = true;
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int32_t id = lookup_find(&v->by_text, texts[i], strlen(texts[i]));
        if (id >= 0) {
            v->ends[id] = true;
            v->type[id] = TOKEN_CONTROL;
        }
    }
    int32_t id = lookup_find(&v->by_text, "</s>", 4);
    if (id >= 0 && v->type[id] != TOKEN_NORMAL)
        v->ends[id] = true;
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

// Pieces, and which of them ordinary text can become.
static void load_pieces(struct vocab *v)
{
    uint32_t at = v->text[v->n - 1].at + v->text[v->n - 1].n;
    struct bpe_alphabet alphabet;
    bpe_alphabet_init(&alphabet);
    for (int32_t i = 0; i < v->n; i++) {
        const struct span t = v->text[i];
        char *out = v->bytes + at;
        bool matches = false;
        v->piece[i] = t;
        int byte = v->type[i] == TOKEN_BYTE ? byte_of_text(v, i) : -1;
        if (byte >= 0 && v->model == VOCAB_SPM) {
            v->piece[i] = (struct span){at, 1};
            *out = (char)byte;
            v->byte_id[byte] = i;
        } else if (v->type[i] == TOKEN_NORMAL || v->type[i] == TOKEN_UNUSED) {
            v->piece[i].at = at;
            matches = v->model == VOCAB_SPM
                          ? spm_piece(v->bytes + t.at, t.n, out, &v->piece[i].n)
                          : bpe_piece(&alphabet, v->bytes + t.at, t.n, out, &v->piece[i].n);
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
    load_ends(v, g);
    load_pieces(v);
    return v->model == VOCAB_SPM ? spm_load(v, g, e) : bpe_load(v, g, e);
}
