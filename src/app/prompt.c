// The prompt: see prompt.h.
#include "app/prompt.h"

#include "text/chat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int read_all(FILE *f, const char *name, size_t max, char **text, size_t *length,
                    struct err *e)
{
    size_t size = 0, n = 0, got;
    char *p = NULL;
    do {
        if (n == size) {
            size = size ? 2 * size : 4096;
            char *larger = realloc(p, size);
            if (!larger) {
                free(p);
                return err_set(e, ERR_NO_MEMORY, "no memory for the text of %s", name);
            }
            p = larger;
        }
        got = fread(p + n, 1, size - n, f);
        n += got;
    } while (got && n <= max);
    if (ferror(f) || n > max) {
        free(p);
        return ferror(f) ? err_errno(e, ERR_FAILED, "cannot read %s", name)
                         : err_set(e, ERR_FAILED, "%s is longer than %zu MiB", name, max >> 20);
    }
    *text = p;
    *length = n;
    return 0;
}

int prompt_read_file(const char *path, size_t max, char **text, size_t *length, struct err *e)
{
    if (!strcmp(path, "-"))
        return read_all(stdin, "standard input", max, text, length, e);
    FILE *f = fopen(path, "rb");
    if (!f)
        return err_errno(e, ERR_FAILED, "cannot open %s", path);
    int rc = read_all(f, path, max, text, length, e);
    fclose(f);
    return rc;
}

int prompt_read(struct prompt *p, const char *word, struct err *e)
{
    *p = (struct prompt){0};
    if (word && strcmp(word, "-")) {
        p->text = strdup(word);
        p->length = strlen(word);
        return p->text ? 0 : err_set(e, ERR_NO_MEMORY, "no memory for the prompt");
    }
    if (isatty(STDIN_FILENO))
        return err_set(e, ERR_USAGE,
                       "there is no prompt; write it behind the model, in quotes, or pipe it in");
    return prompt_read_file("-", PROMPT_MAX_BYTES, &p->text, &p->length, e);
}

void prompt_free(struct prompt *p)
{
    free(p->text);
    *p = (struct prompt){0};
}

// Bytes that are no UTF-8 are passed on.
static json_t *message(const char *role, const char *text, size_t length)
{
    json_t *content = json_stringn(text, length);
    if (!content)
        content = json_stringn_nocheck(text, length);
    return json_pack("{ss so}", "role", role, "content", content);
}

// What is said, after what the system is told. NULL: no memory.
static json_t *messages_of(const struct prompt *p, const char *system)
{
    size_t length = p->length; // the newline that ends a piped line is not part of what is said
    length -= length && p->text[length - 1] == '\n';
    json_t *list = json_array();
    bool made =
        list &&
        (!system || !json_array_append_new(list, message("system", system, strlen(system)))) &&
        !json_array_append_new(list, message("user", p->text, length));
    if (!made) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static int encode_chat(struct prompt *p, const struct chat *c, const char *system, struct ids *out,
                       struct err *e)
{
    struct chat_request r = {.messages = messages_of(p, system), .answer = true};
    if (!r.messages)
        return err_set(e, ERR_NO_MEMORY, "no memory for the conversation");
    int rc = chat_encode(c, &r, out, NULL, e);
    json_decref(r.messages);
    return rc;
}

int prompt_encode(struct prompt *p, const struct gguf *g, const struct vocab *v,
                  const struct options *o, struct ids *out, struct err *e)
{
    const char *system = options_text(o, OPT_SYSTEM);
    bool raw = options_flag(o, OPT_RAW);
    struct chat *c = NULL;
    int rc = raw ? 0 : chat_open(&c, g, v, e);
    if (rc)
        return rc;
    p->chat = c;
    if (system && !c)
        rc = err_set(e, ERR_USAGE, "--system needs a conversation, but %s",
                     raw ? "--raw continues plain text; use one of the two"
                         : "this model has no chat template and no ChatML tokens; write it into "
                           "the prompt");
    if (!rc)
        rc = c ? encode_chat(p, c, system, out, e)
               : vocab_encode(v, p->text, p->length, ENCODE_SPECIAL, out, e);
    if (!rc && !out->n)
        rc = err_set(e, ERR_USAGE, "the prompt is empty, and this model cannot begin with nothing");
    chat_free(c);
    return rc;
}
