// Which tokens end an answer: by the ids that the file gives, and by the texts that model families
// use. Such a text is a control token whatever the file says, so that nobody's words can end an
// answer.
//
// "<|end|>" ends an answer of Phi, but with gpt-oss only a message, of which an answer may have
// several: there "<|return|>" and "<|call|>" end it. "</s>" is markup in some vocabularies, so only
// a control token of that text counts.
#include "text/tables.h"

#include <string.h>

static int32_t find(const struct vocab *v, const char *text)
{
    return lookup_find(&v->by_text, text, strlen(text));
}

static void end_at(struct vocab *v, const char *text)
{
    int32_t id = find(v, text);
    if (id < 0)
        return;
    v->ends[id] = true;
    v->type[id] = TOKEN_CONTROL;
}

static bool has_messages(const struct vocab *v)
{
    return (find(v, "<|return|>") >= 0 && find(v, "<|call|>") >= 0) ||
           (find(v, "<|flush|>") >= 0 && find(v, "<|calls|>") >= 0); // Solar's names
}

void ends_load(struct vocab *v, const struct gguf *g)
{
    static const char *const keys[] = {"tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    static const char *const texts[] = {
        "<|im_end|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|eot|>",
        "<|eom|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<|calls|>",
        "<|flush|>",
        "<|end_of_text|>",
        "<|endoftext|>",
        "<|end_of_turn|>",
        "<end_of_turn>",
        "<end_of_utterance>",
        "<EOT>",
        "_<EOT>",
        "[EOT]",
        "[EOS]",
        "<\uff5cend\u2581of\u2581sentence\uff5c>", // DeepSeek
    };
    if (v->eos >= 0)
        v->ends[v->eos] = true;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        end_at(v, texts[i]);
    int32_t id = find(v, "</s>");
    if (id >= 0 && v->type[id] == TOKEN_CONTROL)
        v->ends[id] = true;
    id = find(v, "<|end|>");
    if (id >= 0 && id != v->eos && has_messages(v))
        v->ends[id] = false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        id = vocab_load_id(v, g, keys[i], -1);
        if (id >= 0)
            v->ends[id] = true;
    }
}
