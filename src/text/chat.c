// Conversations as tokens: see chat.h.
#include "text/chat.h"

#include "text/chat_state.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char chatml[] =
    "{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}";

static bool has_chatml(const struct vocab *v)
{
    int32_t start = vocab_find(v, "<|im_start|>"), end = vocab_find(v, "<|im_end|>");
    return start >= 0 && end >= 0 && vocab_is_control(v, start) && vocab_is_control(v, end);
}

struct gguf_string chat_builtin(const char *name)
{
    if (strcmp(name, chat_builtin_name(0)))
        return (struct gguf_string){0};
    return (struct gguf_string){.text = chatml, .length = sizeof chatml - 1};
}

const char *chat_builtin_name(size_t i)
{
    return i ? NULL : "chatml";
}

int chat_open(struct chat **out, const struct gguf *g, const struct vocab *v, struct err *e)
{
    struct gguf_string source = {0};
    *out = NULL;
    if (!g || !gguf_get_string(g, "tokenizer.chat_template", &source)) {
        if (!has_chatml(v))
            return 0;
        source = chat_builtin("chatml");
    }
    return chat_open_source(out, source, v, e);
}

int chat_open_source(struct chat **out, struct gguf_string source, const struct vocab *v,
                     struct err *e)
{
    struct chat *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_NO_MEMORY, "no memory for the chat template");
    c->vocab = v;
    c->format = chat_format_of(source);
    c->thinking = chat_thinking_of(source, v);
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

int chat_encode(const struct chat *c, const struct chat_request *r, struct ids *out,
                struct chat_notes *notes, struct err *e)
{
    if (notes)
        *notes = (struct chat_notes){0};
    static const char *const trusted[] = {"bos_token", "eos_token", NULL};
    struct jinja_text text;
    struct jinja_input in = {.trusted = trusted};
    time_t now = time(NULL);
    localtime_r(&now, &in.now);
    in.variables = json_pack("{sO so? so so sb}", "messages", r->messages, "tools",
                             r->tools ? json_incref(r->tools) : json_null(), "bos_token",
                             token_text(c->vocab, vocab_bos(c->vocab)), "eos_token",
                             token_text(c->vocab, vocab_eos(c->vocab)), "add_generation_prompt",
                             (int)r->answer);
    if (!in.variables)
        return err_set(e, ERR_NO_MEMORY, "no memory for the conversation");
    int rc = 0;
    if (r->variables)
        json_object_update_missing(in.variables, r->variables);
    rc = jinja_render(c->template, &in, &text, e);
    json_decref(in.variables);
    if (rc)
        return rc;
    rc = vocab_encode_marked(c->vocab, text.text, text.marks, text.n, out, e);
    jinja_text_free(&text);
    return rc;
}
