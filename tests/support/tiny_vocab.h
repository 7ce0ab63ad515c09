// Vocabularies made by tests: a list of tokens in memory, written as a GGUF and opened again. Every
// field can be bent before that, to see what a damaged file does.
#pragma once

#include "base/err.h"
#include "gguf/gguf.h"
#include "text/vocab.h"

enum { TINY_NORMAL = 1, TINY_UNKNOWN, TINY_CONTROL, TINY_USER, TINY_UNUSED, TINY_BYTE };
enum { TINY_TOKENS = 2048, TINY_MERGES = 1024, TINY_ABSENT = -1 };

struct tiny_vocab {
    struct gguf_string token[TINY_TOKENS], merge[TINY_MERGES]; // malloc'd texts
    float score[TINY_TOKENS];
    int32_t type[TINY_TOKENS];
    int n, n_merges;
    int n_scores, n_types; // to be written when not the number of tokens; TINY_ABSENT: no key
    bool no_merges;        // leave the key out
    const char *model, *pre, *name;
    int64_t bos, eos, unk, eot; // TINY_ABSENT: no key; likewise the flags
    int add_bos, add_eos, add_space_prefix, merges_spaces;
    const void *charsmap; // NULL: no key
    size_t n_charsmap;    // bytes
};

// Empty but for the kind: unk, bos, eos and the 256 byte tokens of SentencePiece; pad, eos and unk
// of a Unigram one; or one token for each byte, pre-tokenizer gpt-2.
struct tiny_vocab *tiny_spm(void);
struct tiny_vocab *tiny_unigram(void);
struct tiny_vocab *tiny_bpe(void);
void tiny_free(struct tiny_vocab *t);

// As stored in a file: U+2581 or byte characters must be in the text already. Returns the id.
int tiny_add(struct tiny_vocab *t, const char *stored, int type, float score);
// bpe: the merge of two pieces (plain bytes), and its token unless there is one.
int tiny_merge(struct tiny_vocab *t, const char *left, const char *right);
void tiny_merge_line(struct tiny_vocab *t, const char *line);
// How byte-level vocabularies write bytes; static storage, overwritten by the next call but one.
const char *tiny_bytes(const char *bytes, size_t n);

// A table of characters that replaces `n` keys, all of which together have few bytes: malloc'd.
void *tiny_charsmap(int n, const char *const *keys, const char *const *replacements, size_t *size);

void tiny_write(const struct tiny_vocab *t, const char *path);
int tiny_open(const struct tiny_vocab *t, struct vocab **out, struct err *e);
// Opens it, which must work, and frees `t`.
struct vocab *tiny_done(struct tiny_vocab *t);

// Fails unless the text has just these ids.
void assert_ids(const struct vocab *v, const char *text, int flags, int n, const int32_t *ids);
#define ASSERT_IDS(v, text, flags, ...)                                             \
    assert_ids(v, text, flags, (int)(sizeof(int32_t[]){__VA_ARGS__} / sizeof(int)), \
               (int32_t[]){__VA_ARGS__})
// The text of ids as vocab_decode gives it, all kinds shown: malloc'd.
char *tiny_text(const struct vocab *v, const struct ids *l, size_t *n);
