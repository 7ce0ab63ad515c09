// The source of a template as tokens: text between tags, what is inside of them, and the rules of
// white space around them.
//
//   {%- and -%}   take all white space on that side; {%+ and +%} keep what trim_blocks and
//                 lstrip_blocks would take
//   {# ... #}     nothing is left; trim_blocks and lstrip_blocks go for comments as for blocks
//   {% raw %}     everything up to {% endraw %} is text
// One newline at the very end of the source is not part of the template; carriage returns count as
// newlines.
#include "text/jinja_ast.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

struct lexer {
    struct jinja_run *r;
    const struct jinja_options *options;
    const char *s;
    size_t at, end;
    int line;
    struct jinja_lexeme *tokens;
    size_t n, capacity;
    bool trim_left;    // white space that follows goes
    bool trim_newline; // one newline that follows goes
};

static struct jinja_lexeme *push(struct lexer *x, int token)
{
    if (x->n == x->capacity) {
        size_t capacity = x->capacity ? 2 * x->capacity : 256;
        struct jinja_lexeme *tokens = jinja_alloc(x->r, capacity * sizeof *tokens);
        if (x->n)
            memcpy(tokens, x->tokens, x->n * sizeof *tokens);
        x->tokens = tokens;
        x->capacity = capacity;
    }
    struct jinja_lexeme *t = &x->tokens[x->n++];
    t->token = token;
    t->line = x->line;
    return t;
}

static void push_text(struct lexer *x, int token, const char *text, size_t n)
{
    char *copy = jinja_alloc(x->r, n + 1);
    memcpy(copy, text, n);
    struct jinja_lexeme *t = push(x, token);
    t->text = copy;
    t->n = n;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_name(char c)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (unsigned char)c >= 0x80;
}

static bool starts(const struct lexer *x, size_t at, const char *with)
{
    size_t n = strlen(with);
    return x->end - at >= n && !memcmp(x->s + at, with, n);
}

static void advance(struct lexer *x, size_t to)
{
    for (; x->at < to; x->at++)
        x->line += x->s[x->at] == '\n';
    x->r->line = x->line;
}

// ---- text between tags -------------------------------------------------------------------------

// Where the next tag begins.
static size_t find_tag(const struct lexer *x, size_t from)
{
    for (size_t at = from; at + 1 < x->end; at++)
        if (x->s[at] == '{' && strchr("%{#", x->s[at + 1]) && x->s[at + 1])
            return at;
    return x->end;
}

// Text [x->at, tag), cut as the tags around it ask. `sign`: the character behind the tag's opening.
static void emit_text(struct lexer *x, size_t tag, char opening, char sign)
{
    size_t from = x->at, to = tag;
    if (x->trim_left) {
        while (from < to && is_space(x->s[from]))
            from++;
    } else if (x->trim_newline && from < to && x->s[from] == '\n') {
        from++;
    }
    if (opening && sign == '-') {
        while (to > from && is_space(x->s[to - 1]))
            to--;
    } else if (opening && opening != '{' && sign != '+' && x->options->lstrip_blocks) {
        size_t start = to;
        while (start > from && (x->s[start - 1] == ' ' || x->s[start - 1] == '\t'))
            start--;
        bool at_line =
            start == 0 || x->s[start - 1] == '\n' || (start == from && x->at == from && x->at == 0);
        if (at_line)
            to = start;
    }
    if (to > from)
        push_text(x, TOKEN_TEXT, x->s + from, to - from);
    x->trim_left = x->trim_newline = false;
    advance(x, tag);
}

// A closing sign in front of %}, }} or #}.
static void note_close(struct lexer *x, char sign, bool block)
{
    x->trim_left = sign == '-';
    x->trim_newline = block && sign != '+' && sign != '-' && x->options->trim_blocks;
}

static void skip_comment(struct lexer *x)
{
    size_t at = x->at + 2;
    while (at < x->end && !starts(x, at, "#}"))
        at++;
    if (at >= x->end)
        jinja_fail(x->r, "a comment is not closed with #}");
    char sign = x->s[at - 1];
    if (at - 1 < x->at + 2)
        sign = 0;
    advance(x, at + 2);
    note_close(x, sign, true);
}

// ---- inside of tags ----------------------------------------------------------------------------

static size_t hex_digits(const struct lexer *x, size_t at, int n, uint32_t *code)
{
    *code = 0;
    for (int i = 0; i < n; i++, at++) {
        char c = at < x->end ? x->s[at] : 0;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            jinja_fail(x->r, "a \\x or \\u in a string lacks digits");
        *code = *code * 16 + (uint32_t)digit;
    }
    return at;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf00 >> n & 0xff) | c);
    return n;
}

// The escape at x->s[at] (behind the backslash); returns where the text goes on.
static size_t escape(const struct lexer *x, size_t at, char *out, size_t *n)
{
    static const char letters[] = "ntrbfav0\\'\"", values[] = "\n\t\r\b\f\a\v\0\\'\"";
    char c = x->s[at];
    const char *letter = c ? memchr(letters, c, sizeof letters - 1) : NULL;
    uint32_t code;
    if (letter) {
        out[(*n)++] = values[letter - letters];
    } else if (c == '\n') {
        // A line that goes on.
    } else if (c == 'x' || c == 'u' || c == 'U') {
        at = hex_digits(x, at + 1, c == 'x' ? 2 : c == 'u' ? 4 : 8, &code) - 1;
        if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            jinja_fail(x->r, "a string has a \\u that is no character");
        *n += put_utf8(out + *n, code);
    } else {
        out[(*n)++] = '\\';
        out[(*n)++] = c;
    }
    return at + 1;
}

static void lex_string(struct lexer *x)
{
    char quote = x->s[x->at];
    size_t at = x->at + 1, close = at, n = 0;
    while (close < x->end && x->s[close] != quote)
        close += x->s[close] == '\\' ? 2 : 1;
    if (close >= x->end)
        jinja_fail(x->r, "a string is not closed");
    char *out = jinja_alloc(x->r, close - at + 1);
    while (at < close) {
        if (x->s[at] == '\\')
            at = escape(x, at + 1, out, &n);
        else
            out[n++] = x->s[at++];
    }
    struct jinja_lexeme *t = push(x, TOKEN_STRING);
    t->text = out;
    t->n = n;
    advance(x, close + 1);
}

static void lex_number(struct lexer *x)
{
    char digits[64];
    size_t n = 0, at = x->at;
    bool is_float = false;
    bool index = x->n && x->tokens[x->n - 1].token == '.'; // the 0 and the 1 of a.0.1
    for (; at < x->end && n + 1 < sizeof digits; at++) {
        char c = x->s[at], next = at + 1 < x->end ? x->s[at + 1] : 0;
        if ((c == '.' && !is_float && !index && next >= '0' && next <= '9') ||
            ((c == 'e' || c == 'E') &&
             ((next >= '0' && next <= '9') || ((next == '-' || next == '+') && at + 2 < x->end &&
                                               x->s[at + 2] >= '0' && x->s[at + 2] <= '9')))) {
            is_float = true;
            digits[n++] = c;
            if (next == '-' || next == '+')
                digits[n++] = x->s[++at];
        } else if (c >= '0' && c <= '9') {
            digits[n++] = c;
        } else if (c != '_') {
            break;
        }
    }
    digits[n] = 0;
    struct jinja_lexeme *t = push(x, is_float ? TOKEN_FLOAT : TOKEN_INT);
    if (is_float)
        t->number = strtod(digits, NULL);
    else if (n > 18)
        jinja_fail(x->r, "the number %s is too large", digits);
    else
        t->integer = strtoll(digits, NULL, 10);
    advance(x, at);
}

static void lex_operator(struct lexer *x)
{
    static const struct {
        const char *text;
        int token;
    } two[] = {{"==", TOKEN_EQ}, {"!=", TOKEN_NE},    {"<=", TOKEN_LE},
               {">=", TOKEN_GE}, {"//", TOKEN_FLOOR}, {"**", TOKEN_POWER}};
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (starts(x, x->at, two[i].text)) {
            push(x, two[i].token);
            advance(x, x->at + 2);
            return;
        }
    char c = x->s[x->at];
    if (!c || !strchr("+-*/%~<>=|.,:()[]{}", c))
        jinja_fail(x->r, "what is '%c' doing in a tag?", c >= 32 && c < 127 ? c : '?');
    push(x, c);
    advance(x, x->at + 1);
}

// Everything up to the closing of a tag.
static void lex_tag(struct lexer *x, bool block)
{
    const char *close = block ? "%}" : "}}";
    int nesting = 0;
    for (;;) {
        while (x->at < x->end && is_space(x->s[x->at]))
            advance(x, x->at + 1);
        if (x->at >= x->end)
            jinja_fail(x->r, "a tag is not closed with %s", close);
        char c = x->s[x->at];
        bool sign = (c == '-' || (c == '+' && block)) && starts(x, x->at + 1, close);
        if (sign || (!nesting && starts(x, x->at, close))) {
            push(x, block ? TOKEN_BLOCK_END : TOKEN_PRINT_END);
            advance(x, x->at + (sign ? 3 : 2));
            note_close(x, sign ? c : 0, block);
            return;
        }
        nesting += c == '{' || c == '[' || c == '(';
        nesting -= c == '}' || c == ']' || c == ')';
        if (c == '"' || c == '\'') {
            lex_string(x);
        } else if (c >= '0' && c <= '9') {
            lex_number(x);
        } else if (is_name(c)) {
            size_t end = x->at;
            while (end < x->end && is_name(x->s[end]))
                end++;
            push_text(x, TOKEN_NAME, x->s + x->at, end - x->at);
            advance(x, end);
        } else {
            lex_operator(x);
        }
    }
}

// ---- raw ---------------------------------------------------------------------------------------

// Whether {% NAME %} stands at `at`; its end and signs then.
static bool bare_block(const struct lexer *x, size_t at, const char *name, size_t *end, char *open,
                       char *close)
{
    *open = *close = 0;
    if (!starts(x, at, "{%"))
        return false;
    at += 2;
    if (at < x->end && (x->s[at] == '-' || x->s[at] == '+'))
        *open = x->s[at++];
    while (at < x->end && is_space(x->s[at]))
        at++;
    if (!starts(x, at, name))
        return false;
    at += strlen(name);
    while (at < x->end && is_space(x->s[at]))
        at++;
    if (at < x->end && (x->s[at] == '-' || x->s[at] == '+'))
        *close = x->s[at++];
    if (!starts(x, at, "%}"))
        return false;
    *end = at + 2;
    return true;
}

static bool lex_raw(struct lexer *x)
{
    size_t end, after;
    char open, close;
    if (!bare_block(x, x->at, "raw", &end, &open, &close))
        return false;
    advance(x, end);
    note_close(x, close, true);
    for (size_t at = end; at < x->end; at++)
        if (bare_block(x, at, "endraw", &after, &open, &close)) {
            emit_text(x, at, '%', open);
            advance(x, after);
            note_close(x, close, true);
            return true;
        }
    jinja_fail(x->r, "a raw block is not closed with {%% endraw %%}");
}

// The source with \r\n and \r as \n.
static const char *one_kind_of_newline(struct jinja_run *r, const char *source, size_t *n)
{
    size_t to = 0;
    if (!*n || !memchr(source, '\r', *n))
        return source;
    char *out = jinja_alloc(r, *n);
    for (size_t i = 0; i < *n; i++)
        if (source[i] != '\r')
            out[to++] = source[i];
        else if (i + 1 >= *n || source[i + 1] != '\n')
            out[to++] = '\n';
    *n = to;
    return out;
}

struct jinja_lexeme *jinja_lex(struct jinja_run *r, const char *source, size_t n,
                               const struct jinja_options *o)
{
    if (n > JINJA_MAX_SOURCE)
        jinja_fail(r, "it is longer than %d MiB", JINJA_MAX_SOURCE >> 20);
    source = one_kind_of_newline(r, source, &n);
    struct lexer x = {.r = r, .options = o, .s = source, .end = n, .line = 1};
    if (n && source[n - 1] == '\n')
        x.end--;
    while (x.at < x.end) {
        size_t tag = find_tag(&x, x.at);
        bool found = tag < x.end;
        char opening = found ? x.s[tag + 1] : 0, sign = found && tag + 2 < x.end ? x.s[tag + 2] : 0;
        emit_text(&x, tag, opening, sign);
        if (!found)
            break;
        if (opening == '#') {
            skip_comment(&x);
            continue;
        }
        if (opening == '%' && lex_raw(&x))
            continue;
        push(&x, opening == '%' ? TOKEN_BLOCK_BEGIN : TOKEN_PRINT_BEGIN);
        advance(&x, tag + 2 + (sign == '-' || sign == '+'));
        lex_tag(&x, opening == '%');
    }
    push(&x, TOKEN_END);
    return x.tokens;
}
