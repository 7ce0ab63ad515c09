// Tokenizers: text to token ids and back, as a model file describes them.
//
// Kinds: "llama" (SentencePiece, merges by score, byte fallback), "t5" (SentencePiece, the best sum
// of scores) and "gpt2" (byte-level BPE with a pre-tokenizer: split_rules.c has their names). A
// vocabulary is immutable; any thread may use it.
#pragma once

#include "base/err.h"
#include "gguf/gguf.h"

#include <stdbool.h>
#include <stdint.h>

struct vocab;

enum { // limits
    VOCAB_MAX_TOKENS = 1 << 22,
    VOCAB_MAX_MERGES = 1 << 23,
    VOCAB_MAX_STORED_BYTES = 1024, // of one token's text in the file
    // Of one token's text on its way out, when each byte that is not UTF-8 became three.
    VOCAB_MAX_TOKEN_BYTES = 4096,
    VOCAB_MAX_TEXT_BYTES = 1 << 26, // of one call of vocab_encode
};

struct ids { // a growable list of token ids; zero-initialised is empty
    int32_t *id;
    size_t n, capacity;
};
void ids_push(struct ids *l, int32_t id);
void ids_free(struct ids *l);

int vocab_open(struct vocab **out, const struct gguf *g, struct err *e);
void vocab_free(struct vocab *v);

enum {
    ENCODE_SPECIAL = 1, // put BOS/EOS where the model asks for them
    ENCODE_CONTROL = 2, // text of control tokens becomes those tokens (never for a user's text)
};
// Appends the ids of `text` (UTF-8; invalid bytes are taken as bytes), or nothing when it fails:
// the text is too long, there is no memory, or it has a byte that no token stands for.
// User-defined tokens are found in any text.
int vocab_encode(const struct vocab *v, const char *text, size_t length, int flags, struct ids *out,
                 struct err *e);

// A text made by a template: marks[i] is 1 where byte i is somebody's own text. Control tokens are
// found where no byte is marked, and only there; BOS is put in front where the model asks for it
// and the text does not begin with it.
int vocab_encode_marked(const struct vocab *v, const char *text, const uint8_t *marks,
                        size_t length, struct ids *out, struct err *e);

int vocab_size(const struct vocab *v);
int32_t vocab_bos(const struct vocab *v); // -1: none; likewise below
int32_t vocab_eos(const struct vocab *v);
bool vocab_adds_bos(const struct vocab *v);
bool vocab_adds_space(const struct vocab *v); // in front of a text, which its pieces then show
bool vocab_is_end(const struct vocab *v, int32_t id);     // ends an answer: eos, eot, im_end ...
bool vocab_is_control(const struct vocab *v, int32_t id); // never shown
int32_t vocab_find(const struct vocab *v, const char *token); // id of an exact token text, -1: none
const char *vocab_kind(const struct vocab *v);                // "spm", "bpe", "unigram"
// Text of a token as stored in the file (not NUL-terminated).
struct gguf_string vocab_token_text(const struct vocab *v, int32_t id);

// Bytes that token `id` stands for in running text; returns their number, at most `size`.
// Control tokens stand for nothing unless `show_control`.
size_t vocab_decode(const struct vocab *v, int32_t id, bool show_control, char *out, size_t size);

// A stream of tokens to text that never splits a UTF-8 character: an incomplete one is held back.
struct detokenizer {
    const struct vocab *vocab;
    bool any; // SPM drops the space in front of the first piece; set it to go on with a text
    char held[8];
    int n_held;
};
// Text that became complete with this token, NUL-terminated, into out (size >=
// VOCAB_MAX_TOKEN_BYTES + 16); returns its length. It is always UTF-8: bytes that cannot be part of
// a character become U+FFFD. Allocates nothing.
size_t detokenize(struct detokenizer *d, int32_t id, char *out, size_t size);
// What is left at the end, incomplete bytes as U+FFFD.
size_t detokenize_end(struct detokenizer *d, char *out, size_t size);
