// rondo run: one prompt, one answer, as it comes.
#include "app/answer.h"
#include "app/head.h"
#include "app/interrupt.h"
#include "app/output.h"
#include "app/prompt.h"
#include "app/verbs.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/session.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REPEAT_LAST = 64 };

// Where the text of an answer goes: to standard output, or into memory for --json.
struct sink {
    bool memory, terminal;
    char *text;
    size_t n, size;
    char last; // byte written
};

static bool keep(struct sink *s, const char *text, size_t size)
{
    if (s->n + size > s->size) {
        size_t larger = 2 * (s->n + size);
        char *p = realloc(s->text, larger);
        if (!p)
            return false;
        s->text = p;
        s->size = larger;
    }
    memcpy(s->text + s->n, text, size);
    s->n += size;
    return true;
}

// A model must not be able to steer the terminal: control characters but newline and tab become
// '?'.
static bool show(struct sink *s, const char *text, size_t size)
{
    char safe[VOCAB_MAX_TOKEN_BYTES + 16];
    if (!s->terminal)
        return output_write(text, size);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        bool c1 = c == 0xc2 && i + 1 < size && (unsigned char)text[i + 1] < 0xa0;
        safe[i] = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ? '?' : text[i];
        if (c1) { // U+0080 to U+009F, two bytes
            safe[i++] = '?';
            safe[i] = '?';
        }
    }
    return output_write(safe, size);
}

static bool take_text(void *arg, const char *text, size_t size)
{
    struct sink *s = arg;
    s->last = text[size - 1];
    return s->memory ? keep(s, text, size) : show(s, text, size);
}

static struct sampler_options sampling(const struct options *o)
{
    return (struct sampler_options){
        .temp = (float)options_float(o, OPT_TEMP),
        .top_k = (int)options_int(o, OPT_TOP_K),
        .top_p = (float)options_float(o, OPT_TOP_P),
        .min_p = (float)options_float(o, OPT_MIN_P),
        .repeat_penalty = (float)options_float(o, OPT_REPEAT_PENALTY),
        .repeat_last = REPEAT_LAST,
        .seed = options_given(o, OPT_SEED) ? (uint64_t)options_int(o, OPT_SEED)
                                           : (uint64_t)clock_ns() % 1000000007u,
    };
}

static json_t *json_ids(const struct ids *ids)
{
    json_t *array = json_array();
    for (size_t i = 0; i < ids->n; i++)
        json_array_append_new(array, json_integer(ids->id[i]));
    return array;
}

static double per_second(size_t n, int64_t ns)
{
    return ns > 0 ? (double)n * 1e9 / (double)ns : 0;
}

static json_t *json_timings(const struct answer *a, size_t n_prompt, int64_t open_ns)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "open_ms", (double)open_ns / 1e6,
                     "prompt_ms", (double)a->prompt_ns / 1e6, "ttft_ms", (double)a->ttft_ns / 1e6,
                     "tpot_ms", (double)a->tpot_ns / 1e6, "prompt_tokens_per_s",
                     per_second(n_prompt, a->prompt_ns), "tokens_per_s", per_second(1, a->tpot_ns));
}

struct run {
    struct loaded loaded;
    struct prompt prompt;
    struct ids ids;
    struct sink sink;
    struct sampler_options sampler;
    struct answer answer;
    int64_t open_ns;
};

static int print_json(const struct run *r, struct err *e)
{
    const struct pipeline_info *info = &r->loaded.pipeline->info;
    const struct answer *a = &r->answer;
    char hash[2 * DIGEST_BYTES + 1], path[256];
    err_quote(path, sizeof path, r->loaded.path, (int)strlen(r->loaded.path));
    digest_hex(&a->logits, hash);
    json_t *json = json_pack(
        "{s:s, s:s%, s:o, s:o, s:s, s:b, s:I, s:s, s:o, s:{s:s, s:i, s:i, s:i}}", "model", path,
        "text", r->sink.text ? r->sink.text : "", r->sink.n, "tokens", json_ids(&a->tokens),
        "prompt_tokens", json_ids(&r->ids), "stop", answer_stop_names[a->stop], "chat",
        r->prompt.chat, "seed", (json_int_t)r->sampler.seed, "logits_sha256", hash, "timings",
        json_timings(a, r->ids.n, r->open_ns), "plan", "on", info->description, "layers",
        info->hparams->n_layers, "context", info->max_context, "batch", info->max_batch);
    if (r->loaded.head)
        json_object_set_new(json, "ring", head_json(r->loaded.head));
    return output_json(json, e);
}

static int make(struct run *r, const struct options *o, struct err *e)
{
    struct answer_request request = {
        .prompt = &r->ids,
        .max_tokens = options_given(o, OPT_TOKENS) ? (size_t)options_int(o, OPT_TOKENS) : SIZE_MAX,
        .sampler = r->sampler = sampling(o),
        .keep_space = !r->prompt.chat,
        .hash = r->sink.memory,
        .text = take_text,
        .arg = &r->sink,
    };
    interrupt_catch();
    int rc = answer_make(&r->answer, &r->loaded, &request, e);
    if (!r->sink.memory && r->sink.last && r->sink.last != '\n')
        output_write("\n", 1);
    log_info("%zu tokens of prompt in %.0f ms, first token after %.0f ms, then %.1f tokens/s",
             r->ids.n, (double)r->answer.prompt_ns / 1e6, (double)r->answer.ttft_ns / 1e6,
             per_second(1, r->answer.tpot_ns));
    if (!rc && r->loaded.head && !r->sink.memory && r->answer.ttft_ns)
        head_print_times(r->loaded.head, r->answer.ttft_ns, r->answer.tpot_ns);
    return rc;
}

static int run(const struct options *o, struct err *e)
{
    struct run r = {
        .sink = {.memory = options_flag(o, OPT_JSON), .terminal = isatty(STDOUT_FILENO) == 1}};
    struct loaded_wants wants = {.max_sessions = 1, .ring = true};
    int64_t start;
    int rc = prompt_read(&r.prompt, options_arg(o, 1), e);
    start = clock_ns();
    if (!rc)
        rc = loaded_open(&r.loaded, options_arg(o, 0), o, &wants, e);
    r.open_ns = clock_ns() - start;
    if (!rc)
        rc = prompt_encode(&r.prompt, r.loaded.gguf, r.loaded.vocab, o, &r.ids, e);
    if (!rc)
        rc = session_fits(r.loaded.pipeline, r.ids.n, e);
    if (!rc) {
        start = clock_ns() - r.open_ns;
        rc = loaded_gather(&r.loaded, e);
        r.open_ns = clock_ns() - start;
    }
    if (!rc)
        rc = make(&r, o, e);
    if (!rc && r.sink.memory)
        rc = print_json(&r, e);
    if (!rc && r.answer.stop == ANSWER_CONTEXT)
        rc = err_set(e, ERR_NO_MEMORY,
                     "the context of %d tokens is full, so the answer ends here; use a larger "
                     "--ctx, or -n to ask for less",
                     r.loaded.pipeline->info.max_context);
    if (!rc && r.answer.stop == ANSWER_INTERRUPTED && interrupt_seen())
        rc = INTERRUPT_EXIT_CODE;
    answer_free(&r.answer);
    ids_free(&r.ids);
    loaded_close(&r.loaded);
    prompt_free(&r.prompt);
    free(r.sink.text);
    return rc;
}

const struct verb verb_run = {
    .name = "run",
    .summary = "answer a prompt, or continue a text",
    .usage = "MODEL [PROMPT]",
    .text = "MODEL is the path of a GGUF file, or demo. The prompt comes from the command line or "
            "from standard input. It is put to the model as a turn of a conversation when the "
            "model has a chat template or knows ChatML; otherwise, and with --raw, the model "
            "continues it as plain "
            "text.\n\nWith --workers this machine waits for others to join with the token that it "
            "prints, and the model's layers are shared out among them. The answer is the same, "
            "token for token.\n\nCtrl-C ends the answer where it is (exit code 130). When the "
            "context is full the answer ends with a sentence that says so (exit code 4).",
    .options =
        (const struct verb_option[]){
            {OPT_TOKENS, NULL},  {OPT_RAW, NULL},           {OPT_SYSTEM, NULL},
            {OPT_TEMP, "0.8"},   {OPT_TOP_K, "40"},         {OPT_TOP_P, "0.95"},
            {OPT_MIN_P, "0.05"}, {OPT_REPEAT_PENALTY, "1"}, {OPT_SEED, NULL},
            {OPT_CTX, "0"},      {OPT_THREADS, "0"},        {OPT_PIN, "auto"},
            {OPT_KV, "f16"},     {OPT_ISA, "auto"},         {OPT_LAYOUT, "auto"},
            {OPT_BATCH, "128"},  {OPT_JSON, NULL},          {OPT_WORKERS, "0"},
            {OPT_LAYERS, NULL},  {OPT_ROUNDS, "1"},         {OPT_WIRE, "f32"},
            {OPT_NAME, NULL},    {OPT_LISTEN, NULL},        {OPT_TOKEN_FILE, NULL},
            {OPT_END, NULL}},
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
