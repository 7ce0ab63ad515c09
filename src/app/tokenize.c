// rondo tokenize: text to tokens as a model's vocabulary has them, and back.
//
// Decoding writes the very bytes that the ids stand for, so `--ids` piped into `--decode` gives the
// text again, whatever it was.
#include "app/model_path.h"
#include "app/output.h"
#include "app/printable.h"
#include "app/prompt.h"
#include "app/tokenize_bench.h"
#include "app/verbs.h"
#include "gguf/gguf.h"
#include "text/vocab.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE_COLUMNS = 1 << 16 };

struct tokenize {
    char path[MODEL_PATH_BYTES];
    struct vocab *vocab;
    char *text; // of the input: text, or ids
    size_t length;
    struct ids ids;
};

static int open_vocab(struct tokenize *t, const char *model, struct err *e)
{
    struct gguf *g = NULL;
    int rc = model_path_find(model, t->path, sizeof t->path, e);
    if (!rc)
        rc = gguf_open(&g, t->path, e);
    if (!rc)
        rc = vocab_open(&t->vocab, g, e);
    gguf_free(g);
    return rc;
}

static int read_input(struct tokenize *t, const char *word, struct err *e)
{
    if (word && strcmp(word, "-")) {
        t->text = strdup(word);
        t->length = strlen(word);
        return t->text ? 0 : err_set(e, ERR_NO_MEMORY, "no memory for the text");
    }
    if (isatty(STDIN_FILENO))
        return err_set(e, ERR_USAGE,
                       "there is no text; write it behind the model, in quotes, or pipe it in");
    return prompt_read_file("-", VOCAB_MAX_TEXT_BYTES, &t->text, &t->length, e);
}

static bool is_separator(char c)
{
    return isspace((unsigned char)c) || c == ',' || c == '[' || c == ']';
}

// Ids in decimal, apart from each other by spaces, commas or brackets.
static int parse_ids(struct tokenize *t, struct err *e)
{
    for (size_t at = 0; at < t->length;) {
        if (is_separator(t->text[at])) {
            at++;
            continue;
        }
        size_t begin = at;
        int64_t id = 0;
        for (; at < t->length && isdigit((unsigned char)t->text[at]) && id <= INT32_MAX; at++)
            id = id * 10 + (t->text[at] - '0');
        if (at == begin || (at < t->length && !is_separator(t->text[at])) ||
            id >= vocab_size(t->vocab)) {
            char quoted[32];
            while (at < t->length && !is_separator(t->text[at]))
                at++;
            size_t n = at - begin;
            return err_set(e, ERR_USAGE,
                           "'%s' is no token id of this model; they are numbers from 0 to %d",
                           err_quote(quoted, sizeof quoted, t->text + begin, n < 31 ? (int)n : 31),
                           vocab_size(t->vocab) - 1);
        }
        ids_push(&t->ids, (int32_t)id);
    }
    return 0;
}

// The text of all ids: malloc'd, NULL: no memory.
static char *decode(const struct tokenize *t, bool control, size_t *n)
{
    char piece[VOCAB_MAX_STORED_BYTES];
    size_t size = 0;
    for (size_t i = 0; i < t->ids.n; i++)
        size += vocab_decode(t->vocab, t->ids.id[i], control, piece, sizeof piece);
    char *text = malloc(size + 1);
    if (!text)
        return NULL;
    *n = 0;
    for (size_t i = 0; i < t->ids.n; i++) {
        size_t m = vocab_decode(t->vocab, t->ids.id[i], control, text + *n, size - *n);
        bool first = !*n && !vocab_is_control(t->vocab, t->ids.id[i]);
        if (first && m && text[0] == ' ' && vocab_adds_space(t->vocab))
            memmove(text, text + 1, --m);
        *n += m;
    }
    return text;
}

static int print_text(const struct tokenize *t, const struct options *o, struct err *e)
{
    size_t n = 0, n_utf8 = 0;
    char *text = decode(t, options_flag(o, OPT_CONTROL), &n), *utf8 = NULL;
    int rc = 0;
    if (text && options_flag(o, OPT_JSON)) {
        utf8 = printable_utf8(text, n, &n_utf8);
        rc = output_json(utf8 ? json_pack("{s:s%}", "text", utf8, n_utf8) : NULL, e);
    } else if (text) {
        output_write(text, n);
        if (isatty(STDOUT_FILENO))
            output_write("\n", 1);
    } else {
        rc = err_set(e, ERR_NO_MEMORY, "no memory for the text");
    }
    free(text);
    free(utf8);
    return rc;
}

static json_t *json_token(const struct vocab *v, int32_t id)
{
    char piece[VOCAB_MAX_STORED_BYTES];
    size_t n = vocab_decode(v, id, true, piece, sizeof piece), n_utf8 = 0;
    char *utf8 = printable_utf8(piece, n, &n_utf8);
    json_t *token = utf8 ? json_pack("{s:i, s:s%, s:b}", "id", id, "piece", utf8, n_utf8, "control",
                                     vocab_is_control(v, id))
                         : NULL;
    if (token && (n_utf8 != n || memcmp(piece, utf8, n))) { // part of a character: its bytes too
        json_t *bytes = json_array();
        for (size_t i = 0; i < n; i++)
            json_array_append_new(bytes, json_integer((uint8_t)piece[i]));
        json_object_set_new(token, "bytes", bytes);
    }
    free(utf8);
    return token;
}

static int print_json(const struct tokenize *t, struct err *e)
{
    json_t *tokens = json_array();
    for (size_t i = 0; i < t->ids.n; i++)
        if (json_array_append_new(tokens, json_token(t->vocab, t->ids.id[i]))) {
            json_decref(tokens);
            return output_json(NULL, e);
        }
    return output_json(json_pack("{s:s, s:I, s:I, s:o}", "kind", vocab_kind(t->vocab), "bytes",
                                 (json_int_t)t->length, "count", (json_int_t)t->ids.n, "tokens",
                                 tokens),
                       e);
}

static void print_ids(const struct tokenize *t)
{
    for (size_t i = 0; i < t->ids.n; i++)
        printf("%s%d", i ? " " : "", t->ids.id[i]);
    putchar('\n');
}

static void print_table(const struct tokenize *t)
{
    char piece[VOCAB_MAX_STORED_BYTES];
    for (size_t i = 0; i < t->ids.n; i++) {
        int32_t id = t->ids.id[i];
        size_t n = vocab_decode(t->vocab, id, true, piece, sizeof piece);
        printf("%8d  '", id);
        printable_put(stdout, piece, n, PIECE_COLUMNS);
        printf("'%s\n", vocab_is_control(t->vocab, id) ? "  control" : "");
    }
    printf("%zu token%s, %zu byte%s\n", t->ids.n, t->ids.n == 1 ? "" : "s", t->length,
           t->length == 1 ? "" : "s");
}

static int print_tokens(const struct tokenize *t, const struct options *o, struct err *e)
{
    if (options_flag(o, OPT_JSON))
        return print_json(t, e);
    if (options_flag(o, OPT_IDS))
        print_ids(t);
    else
        print_table(t);
    return 0;
}

static int run(const struct options *o, struct err *e)
{
    struct tokenize t = {0};
    bool back = options_flag(o, OPT_DECODE);
    int flags = (options_flag(o, OPT_SPECIAL) ? ENCODE_SPECIAL : 0) |
                (options_flag(o, OPT_CONTROL) ? ENCODE_CONTROL : 0);
    bool bench = options_flag(o, OPT_BENCH);
    if (bench && (back || options_flag(o, OPT_IDS) || flags))
        return err_set(e, ERR_USAGE,
                       "--bench prints figures only, so it goes with --json and nothing else");
    if (back && (options_flag(o, OPT_IDS) || options_flag(o, OPT_SPECIAL)))
        return err_set(e, ERR_USAGE,
                       "--decode makes text, so --ids and --special say nothing; "
                       "leave them out");
    int rc = read_input(&t, options_arg(o, 1), e);
    if (!rc)
        rc = open_vocab(&t, options_arg(o, 0), e);
    if (!rc && back)
        rc = parse_ids(&t, e);
    else if (!rc && bench)
        rc = tokenize_bench(t.vocab, t.text, t.length, options_flag(o, OPT_JSON), e);
    else if (!rc)
        rc = vocab_encode(t.vocab, t.text, t.length, flags, &t.ids, e);
    if (!rc && !bench)
        rc = back ? print_text(&t, o, e) : print_tokens(&t, o, e);
    ids_free(&t.ids);
    free(t.text);
    vocab_free(t.vocab);
    return rc;
}

const struct verb verb_tokenize = {
    .name = "tokenize",
    .summary = "show the tokens of a text, or the text of tokens",
    .usage = "MODEL [TEXT]",
    .text = "MODEL is the path of a GGUF file, or demo. The text comes from the command line or "
            "from standard input, byte for byte. With --decode it is ids instead, in decimal, and "
            "what they stand for is printed as it is. With --bench the text is repeated to a "
            "megabyte.",
    .options = (const struct verb_option[]){{OPT_IDS, NULL},
                                            {OPT_SPECIAL, NULL},
                                            {OPT_CONTROL, NULL},
                                            {OPT_DECODE, NULL},
                                            {OPT_BENCH, NULL},
                                            {OPT_JSON, NULL},
                                            {OPT_END, NULL}},
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
