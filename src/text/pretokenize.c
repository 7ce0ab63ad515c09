// The expressions of split_rules.c, run by PCRE2 one after the other: each cuts what the one before
// left, as if that were a text of its own.
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

// A match may go this many steps per byte of its text, and never fewer than the first number: the
// expressions are linear, so a text that needs more shows a fault in one of them.
enum { STEPS_BASE = 10000, STEPS_PER_BYTE = 16 };

struct pretokenizer {
    pcre2_code *code[SPLIT_MAX_PATTERNS];
    int n;
    bool jit, thirds;
};

static int compile(struct pretokenizer *p, const char *pattern, struct err *e)
{
    int code = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code *c =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_NO_AUTO_CAPTURE, &code, &offset, NULL);
    if (!c)
        return err_set(e, ERR_NO_MEMORY, "PCRE2 does not compile its pattern (error %d at %zu)",
                       code, (size_t)offset);
    p->code[p->n++] = c;
    // Where the system forbids making code at run time the interpreter does the same, slower.
    p->jit &= pcre2_jit_compile(c, PCRE2_JIT_COMPLETE) == 0;
    return 0;
}

int pretokenizer_new(struct pretokenizer **out, struct gguf_string name,
                     const struct split_rules **rules, struct err *e)
{
    *out = NULL;
    if (!name.length)
        name = (struct gguf_string){"gpt-2", 5};
    const struct split_rules *r = split_rules_find(name.text, name.length);
    char quoted[64];
    if (!r)
        return err_set(
            e, ERR_FAILED,
            "this model splits words as '%s', which Rondo does not know yet; use a newer Rondo, "
            "or a model of the Llama, Qwen, Mistral, DeepSeek, Granite, GPT or GPT-2 families",
            err_quote(quoted, sizeof quoted, name.text, name.length < 60 ? (int)name.length : 60));
    struct pretokenizer *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_NO_MEMORY, "no memory for the vocabulary");
    p->jit = true;
    p->thirds = r->flags & SPLIT_THIRDS;
    int rc = 0;
    for (int i = 0; !rc && i < SPLIT_MAX_PATTERNS && r->pattern[i]; i++)
        rc = compile(p, r->pattern[i], e);
    if (rc) {
        pretokenizer_free(p);
        return rc;
    }
    *rules = r;
    *out = p;
    return 0;
}

void pretokenizer_free(struct pretokenizer *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n; i++)
        pcre2_code_free(p->code[i]);
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

// The next match of an expression from `at` on, [n, n) when there is none.
static int match_next(const struct splitting *s, const pcre2_code *code, const char *text, size_t n,
                      size_t at, size_t *begin, size_t *end)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int found =
        s->p->jit ? pcre2_jit_match(code, subject, n, at, PCRE2_NO_UTF_CHECK, s->match, s->context)
                  : pcre2_match(code, subject, n, at, PCRE2_NO_UTF_CHECK, s->match, s->context);
    *begin = *end = n;
    if (found == PCRE2_ERROR_NOMATCH)
        return 0;
    if (found < 0)
        return err_set(s->err, ERR_FAILED, "the text cannot be split into words (PCRE2 error %d)",
                       found);
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(s->match);
    *begin = range[0];
    *end = range[1];
    CHECK(*begin >= at && *end > *begin && *end <= n);
    return 0;
}

// Cuts in front of each third digit from the end of a number.
static int split_thirds(const struct splitting *s, const pcre2_code *code, const char *text,
                        size_t n)
{
    size_t begin, end, word = 0;
    for (size_t at = 0; at < n; at = end) {
        int rc = match_next(s, code, text, n, at, &begin, &end);
        if (rc)
            return rc;
        size_t digits = 0;
        for (size_t i = begin; i < end; i += (size_t)utf8_length(text + i, end - i))
            digits++;
        for (size_t i = begin; !rc && i < end; i += (size_t)utf8_length(text + i, end - i))
            if (digits-- % 3 == 0 && i > word) {
                rc = s->word(s->arg, text + word, i - word);
                word = i;
            }
        if (rc)
            return rc;
    }
    return s->word(s->arg, text + word, n - word);
}

// What the expressions from `step` on make of valid UTF-8 of n > 0 bytes.
static int split_valid(const struct splitting *s, int step, const char *text, size_t n)
{
    if (step == s->p->n || utf8_length(text, n) == (int)n) // one character is not cut
        return s->word(s->arg, text, n);
    const pcre2_code *code = s->p->code[step];
    if (s->p->thirds && step == s->p->n - 1)
        return split_thirds(s, code, text, n);
    size_t begin, end;
    for (size_t at = 0; at < n; at = end) {
        int rc = match_next(s, code, text, n, at, &begin, &end);
        if (!rc && begin > at)
            rc = split_valid(s, step + 1, text + at, begin - at);
        if (!rc && end > begin)
            rc = split_valid(s, step + 1, text + begin, end - begin);
        if (rc)
            return rc;
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
        rc = valid ? split_valid(&s, 0, text + at, length) : word(arg, text + at, length);
    }
out:
    pcre2_match_context_free(s.context);
    pcre2_match_data_free(s.match);
    return rc;
}
