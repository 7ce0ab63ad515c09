// Chat templates: any bytes as a template, rendered with a conversation that has a bit of
// everything.
#include "text/jinja.h"

#include "base/check.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *conversation(void)
{
    return json_pack("{s:[{ssss},{ssss},{sss[{s{sss{sisf}}}]}], s:b, s:n, ss, ss}", "messages",
                     "role", "system", "content", "  Be \xc3\xa9 <b>\n", "role", "user", "content",
                     "Hi", "role", "assistant", "tool_calls", "function", "name", "f", "arguments",
                     "a", 1, "b", 2.5, "add_generation_prompt", 1, "tools", "bos_token", "<s>",
                     "eos_token", "</s>");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *variables;
    struct err e = {0};
    struct jinja *t;
    if (!variables)
        variables = conversation();
    CHECK(variables);
    // A megabyte of loops is slow, not wrong.
    if (size > 4096 || jinja_new(&t, (const char *)data, size, NULL, &e)) {
        CHECK(size > 4096 || e.text[0]);
        return 0;
    }
    static const char *const trusted[] = {"bos_token", NULL};
    struct jinja_input in = {.variables = variables, .trusted = trusted};
    struct jinja_text text;
    if (jinja_render(t, &in, &text, &e) == 0)
        for (size_t i = 0; i < text.n; i++)
            CHECK(text.marks[i] <= 1);
    else
        CHECK(e.text[0]);
    jinja_text_free(&text);
    jinja_free(t);
    return 0;
}
