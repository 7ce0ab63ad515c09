// A byte-level BPE tokenizer.
//
// Text is first cut into pieces by the rules that GGUF calls "qwen2":
//
//     (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N} |
//     ?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+
//
// and each piece is then merged pair by pair, the earliest learned merge first. The corpus is
// ASCII; bytes above 127 count as letters here, which is right for most words in other scripts.
#include "bpe.h"

#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_SLOTS = 1 << 16, PIECE_LIMIT = 64 };

const char *const bpe_special_names[BPE_SPECIALS] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};

static int is_letter(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 128;
}

static int is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static int is_newline(int c)
{
    return c == '\n' || c == '\r';
}

static int is_space(int c)
{
    return c == ' ' || (c >= 9 && c <= 13);
}

static int is_mark(int c)
{
    return !is_space(c) && !is_letter(c) && !is_digit(c);
}

static size_t contraction_length(const unsigned char *s, size_t n)
{
    if (n < 2 || s[0] != '\'')
        return 0;
    int a = s[1] | 32;
    int b = n > 2 ? s[2] | 32 : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

static size_t run_of(const unsigned char *s, size_t i, size_t n, int (*is)(int))
{
    while (i < n && is(s[i]))
        i++;
    return i;
}

static size_t space_length(const unsigned char *s, size_t n)
{
    size_t end = run_of(s, 0, n, is_space);
    for (size_t i = end; i > 0; i--)
        if (is_newline(s[i - 1]))
            return i;
    // Spaces before a word leave the last one to the word.
    return end < n && end > 1 ? end - 1 : end;
}

static size_t piece_length(const unsigned char *s, size_t n)
{
    size_t length = contraction_length(s, n);
    if (length > 0)
        return length;
    size_t skip = !is_letter(s[0]) && !is_digit(s[0]) && !is_newline(s[0]);
    if (skip < n && is_letter(s[skip]))
        return run_of(s, skip, n, is_letter);
    if (is_digit(s[0]))
        return 1;
    skip = s[0] == ' ';
    if (skip < n && is_mark(s[skip]))
        return run_of(s, run_of(s, skip, n, is_mark), n, is_newline);
    return space_length(s, n);
}

size_t bpe_special_at(const char *text, size_t length, int *special)
{
    if (text[0] != '<')
        return 0;
    for (int i = 0; i < BPE_SPECIALS; i++) {
        size_t n = strlen(bpe_special_names[i]);
        if (n <= length && memcmp(text, bpe_special_names[i], n) == 0) {
            *special = i;
            return n;
        }
    }
    return 0;
}

struct word_cache {
    struct {
        uint8_t length;
        uint8_t count;
        char piece[PIECE_LIMIT];
        uint16_t tokens[PIECE_LIMIT];
    } slots[CACHE_SLOTS];
};

static struct bpe *new_bpe(void)
{
    struct bpe *bpe = memory_checked(calloc(1, sizeof *bpe));
    bpe->merged = memory_checked(calloc(1, sizeof(int) * BPE_VOCAB * BPE_VOCAB));
    bpe->cache = memory_checked(calloc(1, sizeof *bpe->cache));
    bpe->size = BPE_BYTES;
    for (int i = 0; i < BPE_BYTES; i++) {
        bpe->text[i][0] = (char)i;
        bpe->length[i] = 1;
    }
    return bpe;
}

void bpe_free(struct bpe *bpe)
{
    if (bpe) {
        free(bpe->merged);
        free(bpe->cache);
        free(bpe);
    }
}

// Returns 0 where the token would be too long to be worth having.
static int add_merge(struct bpe *bpe, int a, int b)
{
    int id = bpe->size;
    if (bpe->length[a] + bpe->length[b] > BPE_TOKEN_BYTES)
        return 0;
    bpe->left[id] = a;
    bpe->right[id] = b;
    memcpy(bpe->text[id], bpe->text[a], (size_t)bpe->length[a]);
    memcpy(bpe->text[id] + bpe->length[a], bpe->text[b], (size_t)bpe->length[b]);
    bpe->length[id] = bpe->length[a] + bpe->length[b];
    bpe->merged[a * BPE_VOCAB + b] = id;
    bpe->size++;
    return 1;
}

static void add_specials(struct bpe *bpe)
{
    bpe->first_special = bpe->size;
    for (int i = 0; i < BPE_SPECIALS; i++) {
        bpe->length[bpe->size] = (int)strlen(bpe_special_names[i]);
        memcpy(bpe->text[bpe->size], bpe_special_names[i], (size_t)bpe->length[bpe->size]);
        bpe->size++;
    }
}

static size_t merge_piece(const struct bpe *bpe, uint16_t *tokens, size_t count)
{
    for (;;) {
        int best = 0;
        size_t where = 0;
        for (size_t i = 0; i + 1 < count; i++) {
            int id = bpe->merged[tokens[i] * BPE_VOCAB + tokens[i + 1]];
            if (id && (!best || id < best)) {
                best = id;
                where = i;
            }
        }
        if (!best)
            return count;
        tokens[where] = (uint16_t)best;
        memmove(tokens + where + 1, tokens + where + 2, (count - where - 2) * sizeof *tokens);
        count--;
    }
}

static size_t encode_piece(const struct bpe *bpe, const char *piece, size_t length, uint16_t *out)
{
    for (size_t i = 0; i < length; i++)
        out[i] = (unsigned char)piece[i];
    return merge_piece(bpe, out, length);
}

static uint32_t hash_piece(const char *piece, size_t length)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)piece[i]) * 16777619u;
    return hash;
}

static size_t encode_cached(struct bpe *bpe, const char *piece, size_t length, uint16_t *out)
{
    if (length >= PIECE_LIMIT)
        return encode_piece(bpe, piece, length, out);
    uint32_t i = hash_piece(piece, length) % CACHE_SLOTS;
    if (bpe->cache->slots[i].length != length ||
        memcmp(bpe->cache->slots[i].piece, piece, length) != 0) {
        bpe->cache->slots[i].length = (uint8_t)length;
        memcpy(bpe->cache->slots[i].piece, piece, length);
        bpe->cache->slots[i].count =
            (uint8_t)encode_piece(bpe, piece, length, bpe->cache->slots[i].tokens);
    }
    size_t count = bpe->cache->slots[i].count;
    memcpy(out, bpe->cache->slots[i].tokens, count * sizeof *out);
    return count;
}

size_t bpe_encode(struct bpe *bpe, const char *text, size_t length, uint16_t *out)
{
    size_t count = 0;
    for (size_t i = 0; i < length;) {
        size_t n = piece_length((const unsigned char *)text + i, length - i);
        count += encode_cached(bpe, text + i, n, out + count);
        i += n;
    }
    return count;
}

struct word {
    uint16_t tokens[PIECE_LIMIT];
    int count;
    int uses;
    char piece[PIECE_LIMIT];
    int length;
};

struct word_list {
    struct word *words;
    int *table; // hash table of word numbers plus one
    int count;
};

enum { WORD_LIMIT = 1 << 17, TABLE_SIZE = 1 << 19 };

static void count_word(struct word_list *list, const char *piece, size_t length)
{
    if (length >= PIECE_LIMIT)
        return;
    uint32_t slot = hash_piece(piece, length) % TABLE_SIZE;
    while (list->table[slot]) {
        struct word *word = &list->words[list->table[slot] - 1];
        if (word->length == (int)length && memcmp(word->piece, piece, length) == 0) {
            word->uses++;
            return;
        }
        slot = (slot + 1) % TABLE_SIZE;
    }
    if (list->count == WORD_LIMIT)
        return;
    struct word *word = &list->words[list->count++];
    list->table[slot] = list->count;
    memcpy(word->piece, piece, length);
    word->length = (int)length;
    word->count = (int)length;
    word->uses = 1;
    for (size_t i = 0; i < length; i++)
        word->tokens[i] = (unsigned char)piece[i];
}

static void count_words(struct word_list *list, const char *text, size_t length)
{
    size_t start = 0;
    for (size_t i = 0; i <= length;) {
        int special;
        size_t mark = i < length ? bpe_special_at(text + i, length - i, &special) : 0;
        if (!mark && i < length) {
            i++;
            continue;
        }
        while (start < i) {
            size_t n = piece_length((const unsigned char *)text + start, i - start);
            count_word(list, text + start, n);
            start += n;
        }
        i += mark ? mark : 1;
        start = i;
    }
}

// The most frequent pair, the smallest on ties; its count in *uses.
static int best_pair(const struct word_list *list, int *pair_uses, int *uses)
{
    int best = 0;
    *uses = 0;
    for (int w = 0; w < list->count; w++) {
        const struct word *word = &list->words[w];
        for (int i = 0; i + 1 < word->count; i++)
            pair_uses[word->tokens[i] * BPE_VOCAB + word->tokens[i + 1]] += word->uses;
    }
    for (int w = 0; w < list->count; w++) {
        const struct word *word = &list->words[w];
        for (int i = 0; i + 1 < word->count; i++) {
            int pair = word->tokens[i] * BPE_VOCAB + word->tokens[i + 1];
            if (pair_uses[pair] > *uses || (pair_uses[pair] == *uses && pair < best)) {
                *uses = pair_uses[pair];
                best = pair;
            }
        }
    }
    for (int w = 0; w < list->count; w++) {
        const struct word *word = &list->words[w];
        for (int i = 0; i + 1 < word->count; i++)
            pair_uses[word->tokens[i] * BPE_VOCAB + word->tokens[i + 1]] = 0;
    }
    return best;
}

static void apply_merge(struct word_list *list, int a, int b, int id)
{
    for (int w = 0; w < list->count; w++) {
        struct word *word = &list->words[w];
        int out = 0;
        for (int i = 0; i < word->count; i++) {
            int hit = i + 1 < word->count && word->tokens[i] == a && word->tokens[i + 1] == b;
            word->tokens[out++] = hit ? (uint16_t)id : word->tokens[i];
            i += hit;
        }
        word->count = out;
    }
}

struct bpe *bpe_learn(const char *text, size_t length)
{
    struct bpe *bpe = new_bpe();
    struct word_list list = {memory_checked(calloc(1, sizeof(struct word) * WORD_LIMIT)),
                             memory_checked(calloc(1, sizeof(int) * TABLE_SIZE)), 0};
    int *pair_uses = memory_checked(calloc(1, sizeof(int) * BPE_VOCAB * BPE_VOCAB));
    count_words(&list, text, length);
    while (bpe->size < BPE_VOCAB - BPE_SPECIALS) {
        int uses;
        int pair = best_pair(&list, pair_uses, &uses);
        if (uses < 2 || !add_merge(bpe, pair / BPE_VOCAB, pair % BPE_VOCAB))
            break;
        apply_merge(&list, pair / BPE_VOCAB, pair % BPE_VOCAB, bpe->size - 1);
    }
    printf("%d different pieces, %d tokens\n", list.count, bpe->size + BPE_SPECIALS);
    add_specials(bpe);
    free(list.words);
    free(list.table);
    free(pair_uses);
    return bpe;
}

int bpe_save(const struct bpe *bpe, const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return 0;
    for (int i = BPE_BYTES; i < bpe->first_special; i++)
        fprintf(file, "%d %d\n", bpe->left[i], bpe->right[i]);
    return fclose(file) == 0;
}

struct bpe *bpe_load(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return NULL;
    struct bpe *bpe = new_bpe();
    int a;
    int b;
    while (fscanf(file, "%d %d", &a, &b) == 2) {
        if (a < 0 || b < 0 || a >= bpe->size || b >= bpe->size ||
            bpe->size >= BPE_VOCAB - BPE_SPECIALS || !add_merge(bpe, a, b)) {
            fclose(file);
            bpe_free(bpe);
            return NULL;
        }
    }
    fclose(file);
    add_specials(bpe);
    return bpe;
}
