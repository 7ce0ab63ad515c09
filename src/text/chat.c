// Conversations as tokens: see chat.h.
#include "text/chat.h"

#include "text/jinja.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct chat {
    const struct vocab *v;
    struct jinja *template;
};

static const char chatml[] =
    "{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}";

static bool has_chatml(const struct vocab *v)
{
    int32_t start = vocab_find(v, "<|im_start|>"), end = vocab_find(v, "<|im_end|>");
    return start >= 0 && end >= 0 && vocab_is_control(v, start) && vocab_is_control(v, end);
}

int chat_open(struct chat **out, struct gguf_string source, const struct vocab *v, struct err *e)
{
    *out = NULL;
    if (!source.text && !has_chatml(v))
        return 0;
    if (!source.text)
        source = (struct gguf_string){.text = chatml, .length = sizeof chatml - 1};
    struct chat *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_NO_MEMORY, "no memory for the chat template");
    c->v = v;
    int rc = jinja_new(&c->template, source.text, source.length, NULL, e);
    if (rc) {
        chat_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void chat_free(struct chat *c)
{
    if (!c)
        return;
    jinja_free(c->template);
    free(c);
}

static json_t *token_text(const struct vocab *v, int32_t id)
{
    if (id < 0)
        return json_string("");
    struct gguf_string text = vocab_token_text(v, id);
    json_t *j = json_stringn(text.text, text.length);
    return j ? j : json_string(""); // no UTF-8
}

int chat_encode(const struct chat *c, const struct chat_request *r, struct ids *out, struct err *e)
{
    static const char *const trusted[] = {"bos_token", "eos_token", NULL};
    struct jinja_text text;
    struct jinja_input in = {.trusted = trusted};
    time_t now = time(NULL);
    localtime_r(&now, &in.now);
    in.variables =
        json_pack("{sO so? so so sb}", "messages", r->messages, "tools",
                  r->tools ? json_incref(r->tools) : json_null(), "bos_token",
                  token_text(c->v, vocab_bos(c->v)), "eos_token", token_text(c->v, vocab_eos(c->v)),
                  "add_generation_prompt", (int)r->answer);
    if (!in.variables)
        return err_set(e, ERR_NO_MEMORY, "no memory for the conversation");
    int rc = jinja_render(c->template, &in, &text, e);
    json_decref(in.variables);
    if (rc)
        return rc;
    rc = vocab_encode_marked(c->v, text.text, text.marks, text.n, out, e);
    jinja_text_free(&text);
    return rc;
}
