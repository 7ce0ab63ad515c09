// Choosing a chat template: see chat_choice.h.
#include "app/chat_choice.h"

#include "app/prompt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEMPLATE_MAX_BYTES = 4 << 20 };

static int no_template(const char *name, struct err *e)
{
    char names[256] = "", quoted[128];
    for (size_t i = 0; chat_builtin_name(i); i++) {
        size_t n = strlen(names);
        snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", chat_builtin_name(i));
    }
    err_quote(quoted, sizeof quoted, name, (int)strlen(name));
    return err_set(e, ERR_USAGE,
                   "--chat-template %s is neither a file nor a built-in template (%s)", quoted,
                   names);
}

int chat_choice_open(struct chat **out, const char *name, const struct gguf *g,
                     const struct vocab *v, struct err *e)
{
    char *text = NULL;
    size_t length = 0;
    *out = NULL;
    if (!name)
        return chat_open(out, g, v, e);
    struct gguf_string source = chat_builtin(name);
    if (source.text)
        return chat_open_source(out, source, v, e);
    if (access(name, F_OK))
        return no_template(name, e);
    int rc = prompt_read_file(name, TEMPLATE_MAX_BYTES, &text, &length, e);
    if (!rc)
        rc = chat_open_source(out, (struct gguf_string){.text = text, .length = length}, v, e);
    free(text);
    return rc;
}
