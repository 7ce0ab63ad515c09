// A byte-level BPE tokenizer: learn it, save it, load it, use it.
//
// Tokens 0..255 are the bytes, then come the learned merges, then the three special tokens.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { BPE_VOCAB = 2048, BPE_BYTES = 256, BPE_SPECIALS = 3, BPE_TOKEN_BYTES = 64 };

// Indices of the special tokens, counted from first_special.
enum { SPECIAL_END_OF_TEXT, SPECIAL_IM_START, SPECIAL_IM_END };

extern const char *const bpe_special_names[BPE_SPECIALS];

struct bpe {
    int size; // tokens in all, specials included
    int first_special;
    int left[BPE_VOCAB]; // the two halves of a merged token
    int right[BPE_VOCAB];
    char text[BPE_VOCAB][BPE_TOKEN_BYTES];
    int length[BPE_VOCAB];
    int *merged; // merged[a * BPE_VOCAB + b]: token made of a and b, or 0
    struct word_cache *cache;
};

struct bpe *bpe_learn(const char *text, size_t length);
int bpe_save(const struct bpe *bpe, const char *path);
struct bpe *bpe_load(const char *path);
void bpe_free(struct bpe *bpe);

// Encodes plain text (no special tokens in it); returns the number of tokens written to out, which
// must have room for one token per byte.
size_t bpe_encode(struct bpe *bpe, const char *text, size_t length, uint16_t *out);

// The length of the special token that text starts with, its index in *special; or 0.
size_t bpe_special_at(const char *text, size_t length, int *special);
