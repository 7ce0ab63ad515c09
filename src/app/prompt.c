// The prompt: see prompt.h.
#include "app/prompt.h"

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
