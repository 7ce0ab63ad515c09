// The regular expressions of the byte-level vocabularies, run by PCRE2.
//
// They are what the published tokenizers of these models split by (their tokenizer.json), with
// three changes of form. White space is spelled out as Unicode's White_Space, because PCRE2's \s
// has U+180E in addition. Contractions list both cases, because caseless matching would let U+017F
// stand for an s. Repetitions that nothing can shorten are possessive.
//
// PCRE2 sees valid UTF-8 only: a text is cut into valid stretches first, each a subject of its own,
// so no match has to check it again and bytes that are not UTF-8 need no rule.
#include "text/pretokenize.h"

#include "base/check.h"
#include "text/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#define SPACE       "\\x09-\\x0d\\x{85}\\p{Z}" // inside brackets
#define SPACES_LAST "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]++"
#define CONTRACTION "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"

// Llama 3 and Qwen 2 differ in how many digits make a word.
#define WORDS(digits)                                                     \
    CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|" digits "| ?+[^" SPACE \
                "\\p{L}\\p{N}]++[\\r\\n]*+|"                              \
                "[" SPACE "]*[\\r\\n]+|" SPACES_LAST

static const char words_llama3[] = WORDS("\\p{N}{1,3}+");
static const char words_qwen2[] = WORDS("\\p{N}");
static const char words_gpt2[] = "'(?:[stmd]|re|ve|ll)| ?\\p{L}++| ?\\p{N}++"
                                 "| ?[^" SPACE "\\p{L}\\p{N}]++|" SPACES_LAST;
// First every digit alone, then gpt-2 on what lies between them: a digit ends white space as the
// end of the text does.
static const char words_digits[] = "'(?:[stmd]|re|ve|ll)| ?\\p{L}++|\\p{N}"
                                   "| ?[^" SPACE "\\p{L}\\p{N}]++"
                                   "|[" SPACE "]+(?![^" SPACE "\\p{N}])|[" SPACE "]++";

static const struct known {
    const char *name, *pattern;
    struct pretokenize_rules rules;
} known[] = {
    {"llama-bpe", words_llama3, {.whole_words = true, .adds_bos = true}},
    {"llama3", words_llama3, {.whole_words = true, .adds_bos = true}},
    {"llama-v3", words_llama3, {.whole_words = true, .adds_bos = true}},
    {"falcon3", words_llama3, {.whole_words = true, .adds_bos = true}},
    {"dbrx", words_llama3, {0}},
    {"smaug-bpe", words_llama3, {0}},
    {"qwen2", words_qwen2, {0}},
    {"deepseek-r1-qwen", words_qwen2, {0}},
    {"stablelm2", words_qwen2, {0}},
    {"gpt-2", words_gpt2, {0}},
    {"default", words_gpt2, {0}},
    {"phi-2", words_gpt2, {0}},
    {"mpt", words_gpt2, {0}},
    {"olmo", words_gpt2, {0}},
    {"starcoder", words_digits, {0}},
    {"refact", words_digits, {0}},
    {"command-r", words_digits, {0}},
    {"smollm", words_digits, {0}},
    {"codeshell", words_digits, {0}},
};

// A match may go this many steps per byte of its text, and never fewer than the first number: the
// expressions are linear, so a text that needs more shows a fault in one of them.
enum { STEPS_BASE = 10000, STEPS_PER_BYTE = 16 };

struct pretokenizer {
    pcre2_code *code;
    bool jit;
};

int pretokenizer_new(struct pretokenizer **out, struct gguf_string name,
                     struct pretokenize_rules *rules, struct err *e)
{
    *out = NULL;
    if (!name.length)
        name = (struct gguf_string){"gpt-2", 5};
    const struct known *k = NULL;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == name.length && !memcmp(known[i].name, name.text, name.length))
            k = &known[i];
    char quoted[64];
    if (!k)
        return err_set(
            e, ERR_FAILED,
            "this model splits words as '%s', which Rondo does not know yet; use a "
            "model of the Llama, Qwen or GPT-2 families",
            err_quote(quoted, sizeof quoted, name.text, name.length < 60 ? (int)name.length : 60));
    struct pretokenizer *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_NO_MEMORY, "no memory for the vocabulary");
    int code = 0;
    PCRE2_SIZE offset = 0;
    p->code = pcre2_compile((PCRE2_SPTR)k->pattern, PCRE2_ZERO_TERMINATED,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_NO_AUTO_CAPTURE, &code, &offset, NULL);
    if (!p->code) {
        free(p);
        return err_set(e, ERR_NO_MEMORY, "PCRE2 does not compile its pattern (error %d at %zu)",
                       code, (size_t)offset);
    }
    // Where the system forbids making code at run time the interpreter does the same, slower.
    p->jit = pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) == 0;
    *rules = k->rules;
    *out = p;
    return 0;
}

void pretokenizer_free(struct pretokenizer *p)
{
    if (!p)
        return;
    pcre2_code_free(p->code);
    free(p);
}

struct splitting {
    const struct pretokenizer *p;
    pcre2_match_data *match;
    pcre2_match_context *context;
    int (*word)(void *arg, const char *word, size_t n);
    void *arg;
    struct err *err;
};

static int match_next(const struct splitting *s, const char *text, size_t n, size_t at)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    if (s->p->jit)
        return pcre2_jit_match(s->p->code, subject, n, at, PCRE2_NO_UTF_CHECK, s->match,
                               s->context);
    return pcre2_match(s->p->code, subject, n, at, PCRE2_NO_UTF_CHECK, s->match, s->context);
}

// Words of valid UTF-8. What no part of the expression matches is a word too.
static int split_valid(const struct splitting *s, const char *text, size_t n)
{
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(s->match);
    size_t at = 0;
    while (at < n) {
        int found = match_next(s, text, n, at);
        if (found < 0 && found != PCRE2_ERROR_NOMATCH)
            return err_set(s->err, ERR_FAILED,
                           "the text cannot be split into words (PCRE2 error %d)", found);
        size_t begin = found < 0 ? n : range[0], end = found < 0 ? n : range[1];
        CHECK(begin >= at && (end > begin || begin == n));
        int rc = begin > at ? s->word(s->arg, text + at, begin - at) : 0;
        if (!rc && end > begin)
            rc = s->word(s->arg, text + begin, end - begin);
        if (rc)
            return rc;
        at = end;
    }
    return 0;
}

// Bytes at the beginning that are UTF-8, or are not, all of them.
static size_t stretch(const char *text, size_t n, bool *valid)
{
    *valid = utf8_length(text, n) > 0;
    size_t i = 0;
    while (i < n) {
        int length = utf8_length(text + i, n - i);
        if ((length > 0) != *valid)
            break;
        i += length > 0 ? (size_t)length : 1;
    }
    return i;
}

int pretokenize(const struct pretokenizer *p, const char *text, size_t n,
                int (*word)(void *arg, const char *word, size_t n), void *arg, struct err *e)
{
    struct splitting s = {.p = p, .word = word, .arg = arg, .err = e};
    int rc = ERR_NO_MEMORY;
    s.match = pcre2_match_data_create(1, NULL);
    s.context = pcre2_match_context_create(NULL);
    if (!s.match || !s.context) {
        err_set(e, rc, "no memory to split a text of %zu bytes into words", n);
        goto out;
    }
    uint64_t steps = STEPS_BASE + (uint64_t)n * STEPS_PER_BYTE;
    pcre2_set_match_limit(s.context, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    rc = 0;
    for (size_t at = 0, length; !rc && at < n; at += length) {
        bool valid;
        length = stretch(text + at, n - at, &valid);
        rc = valid ? split_valid(&s, text + at, length) : word(arg, text + at, length);
    }
out:
    pcre2_match_context_free(s.context);
    pcre2_match_data_free(s.match);
    return rc;
}
