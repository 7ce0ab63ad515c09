// Byte-level BPE: bytes merge by the order of a list of merges, within the words that the
// pre-tokenizer finds. Pieces and merges are kept as bytes; the printable characters in which the
// file writes them occur only while loading.
#include "base/log.h"
#include "text/nfc.h"
#include "text/tables.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

// The 188 bytes that print in Latin-1 stand for themselves; the others are U+0100, U+0101 ... in
// their order (GPT-2's encoder.py, bytes_to_unicode).
static bool byte_prints(uint32_t b)
{
    return (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
}

void bpe_alphabet_init(struct bpe_alphabet *a)
{
    memset(a->byte, -1, sizeof a->byte);
    int16_t next = 256;
    for (int16_t b = 0; b < 256; b++)
        a->byte[byte_prints((uint32_t)b) ? b : next++] = b;
}

bool bpe_piece(const struct bpe_alphabet *a, const char *text, size_t n, char *out, uint32_t *n_out)
{
    *n_out = 0;
    for (size_t at = 0; at < n;) {
        int length = utf8_length(text + at, n - at);
        uint32_t code = length > 0 ? utf8_code(text + at, length) : UINT32_MAX;
        if (code >= BPE_CODES || a->byte[code] < 0) {
            memcpy(out, text, n);
            *n_out = (uint32_t)n;
            return false;
        }
        out[(*n_out)++] = (char)a->byte[code];
        at += (size_t)length;
    }
    return true;
}

static uint32_t pair_slot(const struct vocab *v, int32_t left, int32_t right)
{
    return lookup_mix((uint32_t)left, (uint32_t)right) & v->merge_mask;
}

static const struct bpe_merge *find_merge(const struct vocab *v, int32_t left, int32_t right)
{
    for (uint32_t i = pair_slot(v, left, right);; i = (i + 1) & v->merge_mask) {
        const struct bpe_merge *m = &v->merges[i];
        if (m->left < 0)
            return NULL;
        if (m->left == left && m->right == right)
            return m;
    }
}

// Enters one line "LEFT RIGHT"; of equal ones the first counts. False: it names what is no token.
static bool add_merge(struct vocab *v, const struct bpe_alphabet *a, struct gguf_string line,
                      uint32_t rank)
{
    char left[VOCAB_MAX_STORED_BYTES], both[2 * VOCAB_MAX_STORED_BYTES];
    const char *gap = line.length > 1 ? memchr(line.text + 1, ' ', line.length - 1) : NULL;
    if (!gap || line.length > 2 * VOCAB_MAX_STORED_BYTES)
        return false;
    size_t n_left = (size_t)(gap - line.text), n_right = line.length - n_left - 1;
    uint32_t size, more;
    if (n_left > sizeof left || n_right > sizeof left ||
        !bpe_piece(a, line.text, n_left, both, &size))
        return false;
    struct bpe_merge m = {.rank = rank, .left = lookup_find(&v->by_piece, both, size)};
    if (!bpe_piece(a, gap + 1, n_right, left, &more))
        return false;
    m.right = lookup_find(&v->by_piece, left, more);
    memcpy(both + size, left, more);
    m.id = lookup_find(&v->by_piece, both, size + more);
    if (m.left < 0 || m.right < 0 || m.id < 0)
        return false;
    if (find_merge(v, m.left, m.right))
        return true;
    uint32_t i = pair_slot(v, m.left, m.right);
    while (v->merges[i].left >= 0)
        i = (i + 1) & v->merge_mask;
    v->merges[i] = m;
    return true;
}

static int load_merges(struct vocab *v, const struct gguf *g, struct err *e)
{
    const struct gguf_key *k = gguf_find(g, "tokenizer.ggml.merges");
    if (!k || k->type != GGUF_ARRAY || (k->element != GGUF_STRING && k->count))
        return err_set(e, ERR_FAILED,
                       "%s: no list of merges in it (tokenizer.ggml.merges), so text cannot be "
                       "made into its tokens; fetch a newer conversion of the model",
                       gguf_path(g));
    if (k->count > VOCAB_MAX_MERGES)
        return err_set(e, ERR_FAILED, "%s: %llu merges; at most %d are supported", gguf_path(g),
                       (unsigned long long)k->count, VOCAB_MAX_MERGES);
    uint32_t size = 16, strange = 0;
    struct bpe_alphabet a;
    bpe_alphabet_init(&a);
    while (size < k->count + k->count / 2 + 1)
        size *= 2;
    v->merges = malloc(size * sizeof *v->merges);
    if (!v->merges)
        return err_set(e, ERR_NO_MEMORY, "no memory for %llu merges", (unsigned long long)k->count);
    for (uint32_t i = 0; i < size; i++)
        v->merges[i].left = -1;
    v->merge_mask = size - 1;
    v->n_ranks = (uint32_t)k->count;
    for (uint32_t i = 0; i < k->count; i++)
        strange += !add_merge(v, &a, gguf_string_at(k, i), i);
    if (strange)
        log_warn("%s: %u of %llu merges name texts that are no tokens; ignored", gguf_path(g),
                 strange, (unsigned long long)k->count);
    return 0;
}

// A byte's token is a normal one, or a user-defined one of that text.
static void load_byte_ids(struct vocab *v)
{
    uint32_t next = 256;
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t code = byte_prints(b) ? b : next++;
        char byte = (char)b, text[2] = {(char)(0xc0 | code >> 6), (char)(0x80 | (code & 0x3f))};
        int32_t id = lookup_find(&v->by_piece, &byte, 1);
        if (id < 0)
            id = code < 0x80 ? lookup_find(&v->by_text, &byte, 1)
                             : lookup_find(&v->by_text, text, 2);
        if (id >= 0 && v->type[id] != TOKEN_CONTROL && v->type[id] != TOKEN_UNKNOWN)
            v->byte_id[b] = id;
    }
}

int bpe_load(struct vocab *v, const struct gguf *g, struct err *e)
{
    struct gguf_string pre = {"", 0};
    const struct split_rules *rules;
    if (!gguf_get_string(g, "tokenizer.ggml.pre", &pre))
        log_warn("%s does not say how it splits words; taking gpt-2's way", gguf_path(g));
    int rc = pretokenizer_new(&v->split, pre, &rules, e);
    if (rc)
        return rc;
    v->whole_words = rules->flags & SPLIT_WHOLE_WORDS;
    v->nfc = rules->flags & SPLIT_NFC;
    bool said;
    if (rules->flags & SPLIT_ADDS_BOS && !gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &said))
        v->add_bos = true;
    load_byte_ids(v);
    return load_merges(v, g, e);
}

static bool pair_by_list(const struct vocab *v, const char *word, const struct symbol *left,
                         const struct symbol *right, uint32_t *rank, int32_t *id)
{
    (void)word;
    if (left->id < 0 || right->id < 0)
        return false;
    const struct bpe_merge *m = find_merge(v, left->id, right->id);
    if (!m)
        return false;
    *rank = m->rank;
    *id = m->id;
    return true;
}

static int encode_new_word(struct encoder *x, const char *word, size_t n)
{
    const struct vocab *v = x->vocab;
    struct merger *m = &x->merger;
    if (v->whole_words) {
        int32_t id = lookup_find(&v->by_piece, word, n);
        if (id >= 0) {
            ids_push(x->out, id);
            return 0;
        }
    }
    if (merger_begin(m, n))
        goto no_memory;
    for (size_t i = 0; i < n; i++)
        merger_add(m, (uint32_t)i, 1, v->byte_id[(uint8_t)word[i]]);
    if (merger_run(m, v, word, pair_by_list, v->n_ranks))
        goto no_memory;
    for (int32_t i = 0; i >= 0; i = m->symbols[i].next) {
        int32_t id = m->symbols[i].id;
        if (id < 0 && (id = v->unk) < 0)
            return err_set(x->err, ERR_FAILED, "the model has no token for byte 0x%02X of the text",
                           (unsigned)(uint8_t)word[m->symbols[i].at]);
        ids_push(x->out, id);
    }
    return 0;
no_memory:
    return err_set(x->err, ERR_NO_MEMORY, "no memory to tokenize a word of %zu bytes", n);
}

static int encode_word(void *words, const char *word, size_t n)
{
    return words_encode(words, word, n);
}

static int encode_words(struct encoder *x, const char *text, size_t n)
{
    struct words w;
    words_begin(&w, x, n, encode_new_word);
    int rc = pretokenize(x->vocab->split, text, n, encode_word, &w, x->err);
    words_end(&w);
    return rc;
}

int bpe_encode(struct encoder *x, const char *text, size_t n)
{
    if (!x->vocab->nfc)
        return encode_words(x, text, n);
    char *composed = nfc_new(text, n, &n);
    if (!composed)
        return err_set(x->err, ERR_NO_MEMORY, "no memory to normalize a text");
    int rc = encode_words(x, composed, n);
    free(composed);
    return rc;
}
