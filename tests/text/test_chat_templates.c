// Templates of real models as conversations: what each takes and how its answers look, that
// nobody's words become a control token in any of them, and that what a template writes of an
// answer is what the reader makes of it.
#include "support.h"

#include "base/clock.h"
#include "text/chat_reader.h"
#include "text/chat_state.h"
#include "tiny_vocab.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct known {
    const char *name, *format, *thinking;
    const char *takes; // s: system messages; t: tools; c: calls, C: with arguments as text;
                       // n: null content of calls, e: empty content; 9: short ids
};

static const struct known known[] = {
    {"Apertus-8B-Instruct", "apertus", "<|inner_prefix|>", "stc"},
    {"Apriel-1.6-15b-Thinker-fixed", "apriel", "Here are my reasoning steps:", "stc"},
    {"Bielik-11B-v3.0-Instruct", "hermes", "<think>", "stce"},
    {"ByteDance-Seed-OSS", "seed", "<seed:think>", "stc"},
    {"Cohere2MoE", "command-r7b", "<|START_THINKING|>", "stc"},
    {"CohereForAI-c4ai-command-r-plus-tool_use", "command-r", "", "stce"},
    {"CohereForAI-c4ai-command-r7b-12-2024-tool_use", "command-r7b", "<|START_THINKING|>", "stc"},
    {"CohereForAI-c4ai-command-r7b-12-2024-tool_use.llamacpp-2025-02", "command-r7b",
     "<|START_THINKING|>", "stc"},
    {"GLM-4.6", "glm", "<think>", "stce"},
    {"GLM-4.7-Flash", "glm", "<think>", "stce"},
    {"GLM-5.2", "glm", "<think>", "stce"},
    {"GigaChat3-10B-A1.8B", "none", "", "stc"},
    {"GigaChat3.1-10B-A1.8B", "none", "", "stc"},
    {"HuggingFaceTB-SmolLM3-3B", "none", "<think>", "s"},
    {"Kimi-K2-Instruct", "kimi", "", "st"},
    {"Kimi-K2-Thinking", "kimi", "<think>", "st"},
    {"LFM2-8B-A1B", "none", "", "st"},
    {"LFM2.5-Instruct", "none", "<think>", "st"},
    {"MiMo-VL", "hermes", "", "stc"},
    {"MiroThinker", "hermes", "<think>", "s"},
    {"Mistral-Small-3.2-24B-Instruct-2506", "mistral", "", "stc9"},
    {"NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "tags", "<think>", "stc"},
    {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "hermes", "", "stc"},
    {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "hermes", "", "stc"},
    {"Qwen-QwQ-32B", "hermes", "<think>", "stce"},
    {"Qwen-Qwen2.5-7B-Instruct", "hermes", "", "stc"},
    {"Qwen-Qwen3-0.6B", "hermes", "<think>", "stce"},
    {"Qwen3-Coder", "tags", "", "stc"},
    {"Qwen3.5-4B", "tags", "<think>", "stc"},
    {"Reka-Edge", "hermes", "<think>", "stc"},
    {"StepFun3.5-Flash", "tags", "<think>", "stc"},
    {"cz-alpaca", "none", "", "s"},
    {"cz-amberchat", "none", "", "s"},
    {"cz-chatml", "none", "", "s"},
    {"cz-chatqa", "none", "", "s"},
    {"cz-falcon-instruct", "none", "", "s"},
    {"cz-gemma-it", "none", "", "s"},
    {"cz-granite-3.0-instruct", "granite", "", "st"},
    {"cz-llama-2-chat", "none", "", "s"},
    {"cz-llama-3-instruct", "none", "", "s"},
    {"cz-mistral-instruct", "none", "", "s"},
    {"cz-openchat-3.5", "none", "", "s"},
    {"cz-phi-3-small", "none", "", "s"},
    {"cz-phi-3", "none", "", "s"},
    {"cz-qwen2.5-instruct", "hermes", "", "stc"},
    {"cz-saiga", "none", "", "s"},
    {"cz-solar-instruct", "none", "", "s"},
    {"cz-vicuna", "none", "", "s"},
    {"cz-zephyr", "none", "", "s"},
    {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek", "<think>", "sCn"},
    {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B.llamacpp-2025-02", "deepseek", "<think>", "sCn"},
    {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek", "<think>", "sc"},
    {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.llamacpp-2025-02", "deepseek", "<think>", "sCn"},
    {"deepseek-ai-DeepSeek-V3.1", "deepseek", "<think>", "sc"},
    {"deepseek-ai-DeepSeek-V3.2", "none", "<think>", "stc"},
    {"deepseek-ai-DeepSeek-V4", "none", "<think>", "stc"},
    {"fireworks-ai-llama-3-firefunction-v2", "functools", "", "s"},
    {"fireworks-ai-llama-3-firefunction-v2.llamacpp-2025-02", "functools", "", "s"},
    {"google-gemma-2-2b-it", "none", "", ""},
    {"google-gemma-4-31B-it-interleaved", "none", "", "stc"},
    {"google-gemma-4-31B-it", "none", "", "stc"},
    {"ibm-granite-granite-3.3-2B-Instruct", "granite", "<think>", "st"},
    {"llama-cpp-deepseek-r1", "deepseek", "<think>", "s"},
    {"llama-cpp-deepseek-r1.llamacpp-2025-02", "deepseek", "<think>", "s"},
    {"llama-cpp-rwkv-world", "none", "<think>", "s"},
    {"meetkai-functionary-medium-v3.1", "functions", "", "stc"},
    {"meetkai-functionary-medium-v3.1.llamacpp-2025-02", "functions", "", "stC"},
    {"meetkai-functionary-medium-v3.2", "none", "", "stC"},
    {"meta-llama-Llama-3.1-8B-Instruct", "llama3", "", "stc"},
    {"meta-llama-Llama-3.2-3B-Instruct", "llama3", "", "stc"},
    {"meta-llama-Llama-3.3-70B-Instruct", "llama3", "", "stc"},
    {"microsoft-Phi-3.5-mini-instruct", "none", "", "s"},
    {"mistralai-Ministral-3-14B-Reasoning-2512", "mistral", "[THINK]", "stce"},
    {"mistralai-Mistral-Nemo-Instruct-2407", "mistral", "", "stc9"},
    {"moonshotai-Kimi-K2", "kimi", "", "stc"},
    {"ollama-gemma4_31b_chat_template", "none", "", "stc"},
    {"ollama-gemma4_e2b_chat_template", "none", "", "stc"},
    {"ollama-glimmer_chat_template", "none", "", "stc"},
    {"ollama-laguna_v2_chat_template", "glm", "<think>", "stc"},
    {"ollama-laguna_v8_chat_template", "glm", "<think>", "stc"},
    {"ollama-nemotron35_chat_template", "tags", "<think>", "stc"},
    {"ollama-nemotron3nano_chat_template", "tags", "<think>", "stc"},
    {"ollama-qwen38_chat_template", "tags", "<think>", "stc"},
    {"openai-gpt-oss-120b", "harmony", "", "stce"},
    {"stepfun-ai-Step-3.5-Flash", "tags", "<think>", "stc"},
    {"unsloth-Apriel-1.5", "apriel", "Here are my reasoning steps:", "stc"},
    {"unsloth-mistral-Devstral-Small-2507", "mistral", "", "stce"},
};
enum { N_KNOWN = sizeof known / sizeof *known };

// ---- a vocabulary with every control token that the templates write
// ------------------------------

struct rig {
    struct vocab *v, *bare; // bare: bytes alone
    char *source[N_KNOWN];
    size_t length[N_KNOWN];
    char hostile[1 << 15]; // all of them, as somebody may write them
};

static bool listed(const struct tiny_vocab *t, const char *text, size_t n)
{
    for (int i = 0; i < t->n; i++)
        if (t->token[i].length == n && !memcmp(t->token[i].text, text, n))
            return true;
    return false;
}

// <|name|>, <｜name｜>, <name>, [NAME] and the like.
static size_t token_at(const char *text, size_t n)
{
    const char *end = *text == '<' ? ">" : "]";
    const char *last = memchr(text, *end, n < 48 ? n : 48);
    size_t length = last ? (size_t)(last - text) + 1 : 0;
    bool bracket = *text == '[';
    for (size_t i = 1; i + 1 < length; i++) {
        char c = text[i];
        bool upper = (c >= 'A' && c <= 'Z') || c == '_' || c == '/';
        bool other =
            (c >= 'a' && c <= 'z') || c == '|' || c == ':' || (c & 0x80) || (c >= '0' && c <= '9');
        if (!upper && (bracket || !other))
            return 0;
    }
    return length > 3 ? length : 0;
}

static void add_tokens(struct rig *g, struct tiny_vocab *t, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t length = text[i] == '<' || text[i] == '[' ? token_at(text + i, n - i) : 0;
        char token[64];
        if (!length || listed(t, text + i, length))
            continue;
        memcpy(token, text + i, length);
        token[length] = 0;
        tiny_add(t, token, TINY_CONTROL, 0);
        strcat(g->hostile, token);
        assert_true(strlen(g->hostile) < sizeof g->hostile - 64);
    }
}

static int open_rig(void **state)
{
    if (!test_data("templates/jinja"))
        return 0;
    struct rig *g = calloc(1, sizeof *g);
    struct tiny_vocab *t = tiny_bpe();
    add_tokens(g, t, "<s>", 3);
    t->bos = tiny_add(t, "<s>", TINY_CONTROL, 0);
    t->eos = tiny_add(t, "</s>", TINY_CONTROL, 0);
    for (size_t i = 0; i < N_KNOWN; i++) {
        char path[256];
        snprintf(path, sizeof path, "templates/jinja/%s.jinja", known[i].name);
        g->source[i] = (char *)test_read(test_data(path), &g->length[i]);
        add_tokens(g, t, g->source[i], g->length[i]);
    }
    assert_true(t->n > 400);
    g->v = tiny_done(t);
    g->bare = tiny_done(tiny_bpe());
    *state = g;
    return 0;
}

static int close_rig(void **state)
{
    struct rig *g = *state;
    if (!g)
        return 0;
    for (size_t i = 0; i < N_KNOWN; i++)
        free(g->source[i]);
    vocab_free(g->v);
    vocab_free(g->bare);
    free(g);
    return 0;
}

static struct chat *open_template(const struct rig *g, size_t i, const struct vocab *v)
{
    struct chat *c;
    struct err e = {0};
    struct gguf_string source = {g->source[i], g->length[i]};
    assert_ok(chat_open_source(&c, source, v, &e), &e);
    return c;
}

#define NEEDS_RIG(g, state)   \
    struct rig *g = *(state); \
    if (!g)                   \
    test_skip("no test data (RONDO_TESTDATA) with templates/jinja")

// ---- what each takes ---------------------------------------------------------------------------

static void every_template_is_known_by_format_and_abilities(void **state)
{
    NEEDS_RIG(g, state);
    size_t wrong = 0;
    for (size_t i = 0; i < N_KNOWN; i++) {
        struct chat *c = open_template(g, i, g->bare);
        const struct chat_template *t = &c->template;
        char takes[16];
        snprintf(takes, sizeof takes, "%s%s%s%s%s", t->takes.system ? "s" : "",
                 t->takes.tools ? "t" : "",
                 !t->takes.calls       ? ""
                 : t->takes.text_calls ? "C"
                                       : "c",
                 !t->takes.calls || t->takes.empty == EMPTY_EITHER ? ""
                 : t->takes.empty == EMPTY_NULL                    ? "n"
                                                                   : "e",
                 t->takes.short_ids ? "9" : "");
        const char *open = t->thinking ? t->thinking->open : "";
        if (strcmp(t->format->name, known[i].format) || strcmp(open, known[i].thinking) ||
            strcmp(takes, known[i].takes)) {
            printf("# {\"%s\", \"%s\", \"%s\", \"%s\"},\n", known[i].name, t->format->name, open,
                   takes);
            wrong++;
        }
        chat_free(c);
    }
    assert_int_equal(wrong, 0);
    struct dirent **names;
    int n = scandir(test_data("templates/jinja"), &names, NULL, NULL), n_templates = 0;
    for (int i = 0; i < n; i++) {
        n_templates += names[i]->d_name[0] != '.';
        free(names[i]);
    }
    free(names);
    assert_int_equal(n_templates, N_KNOWN);
}

// ---- nobody's words become control tokens ------------------------------------------------------

// A conversation in which everybody says `text`, in whatever place.
static struct chat_request conversation(const struct chat_template *t, const char *text)
{
    struct chat_request r = {.answer = true};
    bool tools = t->takes.tools && t->takes.calls;
    r.messages =
        json_pack("[{ss ss} {ss ss}]", "role", t->takes.system ? "system" : "user", "content", text,
                  "role", t->takes.system ? "user" : "assistant", "content", text);
    r.variables = json_pack("{sb sb}", "enable_thinking", 1, "thinking", 1);
    if (t->takes.system)
        json_array_append_new(r.messages,
                              json_pack("{ss ss}", "role", "assistant", "content", text));
    json_array_append_new(r.messages, json_pack("{ss ss}", "role", "user", "content", text));
    if (!tools)
        return r;
    r.tools =
        json_pack("[{ss s{ss ss s{ss s{s{ss ss}} s[s]}}}]", "type", "function", "function", "name",
                  "look", "description", text, "parameters", "type", "object", "properties", text,
                  "type", "string", "description", text, "required", text);
    json_t *call = json_pack("{ss sn ss s[{ss ss s{ss s{ss}}}]}", "role", "assistant", "content",
                             "reasoning_content", text, "tool_calls", "id", "call00001", "type",
                             "function", "function", "name", "look", "arguments", text, text);
    json_array_append_new(r.messages, call);
    json_array_append_new(r.messages, json_pack("{ss ss ss}", "role", "tool", "tool_call_id",
                                                "call00001", "content", text));
    return r;
}

static void request_free(struct chat_request *r)
{
    json_decref(r->messages);
    json_decref(r->tools);
    json_decref(r->variables);
}

// The control tokens of the conversation, in their order. False: the template refuses it.
static bool control_tokens(const struct rig *g, const struct chat *c, const char *text,
                           struct ids *out)
{
    struct chat_request r = conversation(&c->template, text);
    struct ids all = {0};
    struct err e = {0};
    assert_non_null(r.messages);
    int rc = chat_encode(c, &r, &all, NULL, &e);
    for (size_t i = 0; !rc && i < all.n; i++)
        if (vocab_is_control(g->v, all.id[i]))
            ids_push(out, all.id[i]);
    ids_free(&all);
    request_free(&r);
    return rc == 0;
}

// False: the control tokens are others when somebody writes them. *said: it takes the conversation.
static bool is_deaf(const struct rig *g, const struct chat *c, const char *name, bool *said)
{
    struct ids plain = {0}, hostile = {0};
    *said = control_tokens(g, c, "words", &plain);
    assert_int_equal(control_tokens(g, c, g->hostile, &hostile), *said);
    bool same = plain.n == hostile.n &&
                (!plain.n || !memcmp(plain.id, hostile.id, plain.n * sizeof *plain.id));
    if (!same)
        printf("# %s: %zu control tokens, not %zu\n", name, hostile.n, plain.n);
    ids_free(&plain);
    ids_free(&hostile);
    return same;
}

static void nobodys_words_become_control_tokens_in_any_template(void **state)
{
    NEEDS_RIG(g, state);
    size_t wrong = 0, compared = 0;
    const char *name;
    bool said;
    for (size_t i = 0; i < N_KNOWN; i++) {
        struct chat *c = open_template(g, i, g->v);
        wrong += !is_deaf(g, c, known[i].name, &said);
        compared += said;
        chat_free(c);
    }
    assert_true(compared > 80);
    for (size_t i = 0; (name = chat_builtin_name(i)); i++) {
        struct chat *c;
        struct err e = {0};
        assert_ok(chat_open_source(&c, chat_builtin(name), g->v, &e), &e);
        wrong += !is_deaf(g, c, name, &said);
        assert_true(said);
        chat_free(c);
    }
    assert_int_equal(wrong, 0);
}

// ---- what a template writes of an answer, read -------------------------------------------------

struct answer {
    char *text[2]; // content, reasoning
    json_t *calls;
};

static void note(void *arg, const struct chat_event *e)
{
    struct answer *a = arg;
    if (e->kind == CHAT_CALL) {
        json_t *arguments = json_loadb(e->text, e->n, 0, NULL);
        json_array_append_new(a->calls, json_pack("[so]", e->name, arguments));
        return;
    }
    char **text = &a->text[e->kind == CHAT_REASONING];
    size_t n = *text ? strlen(*text) : 0;
    *text = realloc(*text, n + e->n + 1);
    memcpy(*text + n, e->text, e->n);
    (*text)[n + e->n] = 0;
}

static void read_tokens(const struct rig *g, const struct chat *c, const struct chat_request *r,
                        bool in_reasoning, const int32_t *id, size_t n, struct answer *out)
{
    struct chat_reader *reader;
    struct err e = {0};
    struct detokenizer d = {.vocab = g->v};
    struct chat_reader_options o = {
        .tools = r->tools, .in_reasoning = in_reasoning, .take = note, .arg = out};
    char text[VOCAB_MAX_TOKEN_BYTES + 16];
    assert_ok(chat_reader_new(&reader, c, &o, &e), &e);
    for (size_t i = 0; i < n && !vocab_is_end(g->v, id[i]); i++)
        chat_read(reader, id[i], text, detokenize(&d, id[i], text, sizeof text));
    chat_read_end(reader);
    chat_reader_free(reader);
}

static bool ask_and_answer(const struct rig *g, const struct chat *c, json_t *answer,
                           struct answer *out)
{
    struct chat_request r = {.answer = true};
    struct chat_notes notes;
    struct ids asked = {0}, all = {0};
    struct err e = {0};
    r.messages = json_pack("[{ss ss}]", "role", "user", "content", "Look!");
    r.tools = json_pack("[{ss s{ss ss s{ss s{s{ss}s{ss}}}}}]", "type", "function", "function",
                        "name", "look", "description", "looks", "parameters", "type", "object",
                        "properties", "city", "type", "string", "days", "type", "integer");
    assert_non_null(r.tools);
    int rc = chat_encode(c, &r, &asked, &notes, &e);
    json_array_append(r.messages, answer);
    r.answer = false;
    if (!rc)
        rc = chat_encode(c, &r, &all, NULL, &e);
    // Some generation prompts open reasoning, which is not there in answers that have none.
    bool continues =
        !rc && all.n > asked.n && !memcmp(asked.id, all.id, asked.n * sizeof *asked.id);
    if (continues)
        read_tokens(g, c, &r, notes.in_reasoning, all.id + asked.n, all.n - asked.n, out);
    request_free(&r);
    ids_free(&asked);
    ids_free(&all);
    return continues;
}

static json_t *call_of(json_t *arguments, bool reasoning)
{
    json_t *m = json_pack("{ss ss s[{ss ss s{ss sO}}]}", "role", "assistant", "content", "",
                          "tool_calls", "id", "call00001", "type", "function", "function", "name",
                          "look", "arguments", arguments);
    if (reasoning)
        json_object_set_new(m, "reasoning_content", json_string("I look."));
    return m;
}

// Once with reasoning, which some generation prompts open, and once without.
static void what_templates_write_of_calls_is_read_as_calls(void **state)
{
    NEEDS_RIG(g, state);
    size_t wrong = 0, compared = 0, reasoned = 0;
    json_t *want = json_pack("[[s{sssi}]]", "look", "city", "Hanoi \"<b>\"", "days", 3);
    for (size_t i = 0; i < 2 * N_KNOWN; i++) {
        struct chat *c = open_template(g, i / 2, g->v);
        const struct chat_template *t = &c->template;
        struct answer a = {.calls = json_array()};
        json_t *answer = call_of(json_array_get(json_array_get(want, 0), 1), i % 2);
        if (t->takes.calls && t->format->payload && ask_and_answer(g, c, answer, &a)) {
            char *got = json_dumps(a.calls, 0);
            bool same = json_equal(a.calls, want) && !a.text[0] &&
                        (!a.text[1] || !strcmp(a.text[1], "I look."));
            compared++;
            reasoned += a.text[1] != NULL;
            if (!same)
                printf("# %s (%s): %s, content: %s, reasoning: %s\n", known[i / 2].name,
                       t->format->name, got, a.text[0] ? a.text[0] : "",
                       a.text[1] ? a.text[1] : "");
            wrong += !same;
            free(got);
        }
        free(a.text[0]);
        free(a.text[1]);
        json_decref(a.calls);
        json_decref(answer);
        chat_free(c);
    }
    json_decref(want);
    assert_int_equal(wrong, 0);
    assert_true(compared >= 70 && reasoned >= 15);
}

// ---- speed -------------------------------------------------------------------------------------

static json_t *ten_turns(void)
{
    static const char text[] = "Rain is likely over the coast this afternoon, with gusts from the "
                               "west; the evening stays dry, and tomorrow begins with fog. ";
    json_t *messages = json_pack("[{ssss}]", "role", "system", "content", "You are helpful.");
    for (int i = 0; i < 20; i++) {
        json_t *content = json_sprintf("%s%s%s(%d)", text, text, text, i);
        json_array_append_new(messages, json_pack("{ssso}", "role", i % 2 ? "assistant" : "user",
                                                  "content", content));
    }
    return messages;
}

// Milliseconds of one render, the quickest of 50.
static double render_ms(const struct chat *c, const struct vocab *v, const struct chat_request *r,
                        size_t *n)
{
    double best = 1e9;
    for (int i = 0; i < 50; i++) {
        struct jinja_text text;
        struct err e = {0};
        int64_t start = clock_ns();
        if (chat_render(v, chat_template_for(c, r->tools)->jinja, r, &text, &e))
            return -1;
        double ms = (double)(clock_ns() - start) / 1e6;
        best = ms < best ? ms : best;
        *n = text.n;
        jinja_text_free(&text);
    }
    return best;
}

static int bench(void)
{
    struct rig *g = NULL;
    open_rig((void **)&g);
    if (!g)
        return 77;
    json_t *tool =
        json_pack("[{ss s{ss ss s{ss s{s{ss}s{ss}}}}}]", "type", "function", "function", "name",
                  "look", "description", "says what the weather is", "parameters", "type", "object",
                  "properties", "city", "type", "string", "days", "type", "integer");
    printf("%-64s %9s %9s %9s %9s\n", "template", "open ms", "plain ms", "tools ms", "bytes");
    for (size_t i = 0; i < N_KNOWN; i++) {
        int64_t start = clock_ns();
        struct chat *c = open_template(g, i, g->bare);
        double open = (double)(clock_ns() - start) / 1e6;
        struct chat_request r = {.messages = ten_turns(), .answer = true};
        size_t n = 0;
        double plain = render_ms(c, g->bare, &r, &n);
        r.tools = tool;
        double tools = render_ms(c, g->bare, &r, &n);
        printf("%-64s %9.2f %9.3f %9.3f %9zu\n", known[i].name, open, plain, tools, n);
        json_decref(r.messages);
        chat_free(c);
    }
    json_decref(tool);
    close_rig((void **)&g);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--bench"))
        return bench();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobodys_words_become_control_tokens_in_any_template),
        cmocka_unit_test(what_templates_write_of_calls_is_read_as_calls),
        cmocka_unit_test(every_template_is_known_by_format_and_abilities),
    };
    return cmocka_run_group_tests_name("chat_templates", tests, open_rig, close_rig);
}
