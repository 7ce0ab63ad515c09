// A vocabulary laid open, for the files of this room; the rest of the house uses vocab.h.
//
// Each token has its text, as stored in the file, and its piece, the bytes it stands for:
//
//                   text        piece
//   spm  normal     ▁hello      " hello"      a space is written as U+2581
//   spm  byte       <0x0A>      "\n"
//   bpe  normal     Ġhello      " hello"      each byte is written as one printable character
//   (unigram as spm)
//   all  control    <|im_end|>  "<|im_end|>"  likewise user-defined and unknown tokens
//
// Words are matched against pieces, so running text is never rewritten into the stored form. Only
// tokens that ordinary text may become are in `by_piece`; control and user-defined tokens are found
// by special.c, byte tokens through `byte_id`.
#pragma once

#include "text/charsmap.h"
#include "text/lattice.h"
#include "text/lookup.h"
#include "text/merge.h"
#include "text/pretokenize.h"
#include "text/special.h"
#include "text/trie.h"
#include "text/vocab.h"
#include "text/words.h"

enum vocab_model { VOCAB_SPM, VOCAB_BPE, VOCAB_UNIGRAM };

enum token_type { // tokenizer.ggml.token_type
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL,
    TOKEN_USER_DEFINED,
    TOKEN_UNUSED,
    TOKEN_BYTE,
};

struct bpe_merge {
    int32_t left, right; // left -1: empty slot
    uint32_t rank;       // line of the merge list, the lowest goes first
    int32_t id;          // what the two become
};

struct vocab {
    enum vocab_model model;
    int32_t n;
    char *bytes;               // texts, then pieces
    struct span *text, *piece; // (n)
    uint8_t *type;             // (n), enum token_type
    bool *ends;                // (n)
    struct lookup by_text, by_piece;
    int32_t byte_id[256]; // token of a single byte, -1: none
    int32_t bos, eos, unk;
    bool add_bos, add_eos, add_space_prefix;
    bool *eats_space;                     // (n) or NULL: see special.h
    struct special user_defined, special; // special: control and unknown tokens as well

    // spm and unigram
    float *score;      // (n)
    bool space_begins; // no piece has a space behind another character

    // spm and bpe
    uint32_t n_ranks; // of tokens, of merges; a rank is lower, the lowest goes first

    // spm
    uint32_t *rank; // (n), by score

    // unigram
    struct trie trie; // of pieces
    struct charsmap charsmap;
    double unknown_score; // of a character that is no token
    bool merges_spaces;

    // bpe
    struct bpe_merge *merges;
    uint32_t merge_mask;
    bool whole_words; // a word that is a token needs no merges
    bool nfc;         // text is composed first
    struct pretokenizer *split;
};

// What one call of vocab_encode works with.
struct encoder {
    const struct vocab *vocab;
    struct merger merger;
    struct lattice lattice;
    struct ids *out;
    struct err *err;
};

// vocab_load.c: everything but `user_defined` and `special`.
int vocab_load(struct vocab *v, const struct gguf *g, struct err *e);
// An id that the file gives, `otherwise` where it gives none, -1 where that is no token.
int32_t vocab_load_id(const struct vocab *v, const struct gguf *g, const char *key,
                      int32_t otherwise);
void ends_load(struct vocab *v, const struct gguf *g); // ends.c

// spm.c, bpe.c, unigram.c: append the ids of text without special tokens.
int spm_load(struct vocab *v, struct err *e);
int spm_encode(struct encoder *x, const char *text, size_t n, bool space_prefix);
// A character that is no token: its bytes, or the unknown token.
int spm_push_bytes(struct encoder *x, const char *text, size_t n);
int bpe_load(struct vocab *v, const struct gguf *g, struct err *e);
int bpe_encode(struct encoder *x, const char *text, size_t n);
int unigram_load(struct vocab *v, const struct gguf *g, struct err *e);
int unigram_encode(struct encoder *x, const char *text, size_t n);

// The characters in which files of byte-level vocabularies write bytes.
enum { BPE_CODES = 256 + 68 };
struct bpe_alphabet {
    int16_t byte[BPE_CODES]; // of a code point, -1: none
};
void bpe_alphabet_init(struct bpe_alphabet *a);
// The bytes that a stored text stands for, at most n of them. False where a character is no byte's:
// the text as it is.
bool bpe_piece(const struct bpe_alphabet *a, const char *text, size_t n, char *out,
               uint32_t *n_out);
