// rondo run: one prompt, one answer, as it comes; at a terminal without a prompt, a conversation.
#include "app/amounts.h"
#include "app/answer_options.h"
#include "app/conversation.h"
#include "app/interrupt.h"
#include "app/output.h"
#include "app/prompt.h"
#include "app/saved_session.h"
#include "app/screen.h"
#include "app/talk.h"
#include "app/verbs.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct text {
    char *bytes;
    size_t n, size;
};

struct run {
    const struct options *options;
    struct loaded loaded;
    struct conversation *conversation;
    struct prompt prompt;
    struct ids ids;     // of the prompt
    bool json;          // the answer is kept until its end
    struct text answer; // with --json
    struct text reasoning;
    struct screen screen;
    struct sampler_options sampler;
    struct answer made;
    int64_t open_ns;
    struct weights_status before; // the answer
};

static bool keep(struct text *t, const char *text, size_t size)
{
    if (t->n + size > t->size) {
        size_t larger = 2 * (t->n + size);
        char *p = realloc(t->bytes, larger);
        if (!p)
            return false;
        t->bytes = p;
        t->size = larger;
    }
    memcpy(t->bytes + t->n, text, size);
    t->n += size;
    return true;
}

// What is thought is for people who watch: programs that read the answer do not get it.
static bool take_text(void *arg, enum conversation_part part, const char *text, size_t size)
{
    struct run *r = arg;
    bool beside = part == CONVERSATION_REASONING;
    if (r->json)
        return keep(beside ? &r->reasoning : &r->answer, text, size);
    if (beside && !r->screen.terminal)
        return true;
    if (r->screen.terminal)
        screen_think(&r->screen, beside);
    return screen_text(&r->screen, text, size);
}

// ---- what is told ------------------------------------------------------------------------------

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

static json_t *json_timings(const struct answer *a, int64_t open_ns)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "open_ms", (double)open_ns / 1e6,
                     "prompt_ms", (double)a->prompt_ns / 1e6, "ttft_ms", (double)a->ttft_ns / 1e6,
                     "tpot_ms", (double)a->tpot_ns / 1e6, "prompt_tokens_per_s",
                     per_second(a->n_prompt - a->n_reused, a->prompt_ns), "tokens_per_s",
                     per_second(1, a->tpot_ns));
}

static int print_json(const struct run *r, struct err *e)
{
    const struct pipeline_info *info = &r->loaded.pipeline->info;
    const struct answer *a = &r->made;
    char hash[2 * DIGEST_BYTES + 1], path[256];
    err_quote(path, sizeof path, r->loaded.path, (int)strlen(r->loaded.path));
    digest_hex(&a->logits, hash);
    json_t *json = json_pack(
        "{s:s, s:s%, s:o, s:o, s:I, s:s, s:b, s:I, s:s, s:o, s:{s:s, s:i, s:i, s:i}}", "model",
        path, "text", r->answer.bytes ? r->answer.bytes : "", r->answer.n, "tokens",
        json_ids(&a->tokens), "prompt_tokens", json_ids(&r->ids), "reused", (json_int_t)a->n_reused,
        "stop", answer_stop_names[a->stop], "chat", (int)conversation_chats(r->conversation),
        "seed", (json_int_t)r->sampler.seed, "logits_sha256", hash, "timings",
        json_timings(a, r->open_ns), "plan", "on", info->description, "layers",
        info->hparams->n_layers, "context", info->max_context, "batch", info->max_batch);
    if (r->reasoning.n)
        json_object_set_new(json, "reasoning", json_stringn(r->reasoning.bytes, r->reasoning.n));
    if (r->loaded.head)
        json_object_set_new(json, "ring", head_json(r->loaded.head));
    return output_json(json, e);
}

// What this machine kept of the weights, and what its disk took; a ring has a table of all.
static void tell_weights(const struct run *r)
{
    struct pipeline *p = r->loaded.pipeline;
    struct weights_status s = p->ops->residency(p);
    char resident[AMOUNT_BYTES], streamed[AMOUNT_BYTES], read[AMOUNT_BYTES];
    amount_size(resident, s.resident);
    amount_size(streamed, s.streamed);
    amount_size(read, s.read_bytes - r->before.read_bytes);
    const char *governed = s.governed ? "; memory is short, so it is less than planned" : "";
    if (s.residency == RESIDENCY_MMAP && !s.resident)
        fprintf(stderr, "rondo: weights mapped from the file%s\n", governed);
    else if (s.residency == RESIDENCY_MMAP)
        fprintf(stderr, "rondo: weights mapped from the file, %s turned into lanes in memory%s\n",
                resident, governed);
    else if (!s.streamed)
        fprintf(stderr, "rondo: all weights resident, %s\n", resident);
    else
        fprintf(stderr,
                "rondo: %s of weights resident, %s streamed by %s: %s read, %.1f ms of disk "
                "wait%s\n",
                resident, streamed, s.reader, read, (double)(s.wait_ns - r->before.wait_ns) / 1e6,
                governed);
}

static void tell_times(const struct run *r)
{
    const struct answer *a = &r->made;
    char line[200];
    snprintf(line, sizeof line,
             "%zu tokens of prompt in %.0f ms, first token after %.0f ms, then %.1f tokens/s",
             a->n_prompt, (double)a->prompt_ns / 1e6, (double)a->ttft_ns / 1e6,
             per_second(1, a->tpot_ns));
    if (!options_flag(r->options, OPT_VERBOSE)) {
        log_info("%s", line);
        return;
    }
    fprintf(stderr, "rondo: %s\n", line);
    if (!r->loaded.head)
        tell_weights(r);
}

// ---- the steps ---------------------------------------------------------------------------------

static int open_conversation(struct run *r, struct err *e)
{
    const struct options *o = r->options;
    const char *system = options_text(o, OPT_SYSTEM), *file = options_text(o, OPT_SESSION);
    struct conversation_options options = {.raw = options_flag(o, OPT_RAW),
                                           .chat_template = options_text(o, OPT_CHAT_TEMPLATE),
                                           .kv_type = (enum kv_type)options_enum(o, OPT_KV)};
    struct conversation_found found = {0};
    int rc = file ? saved_can_write(file, e) : 0;
    if (!rc)
        rc = conversation_new(&r->conversation, &r->loaded, &options, e);
    if (!rc && system && !conversation_chats(r->conversation))
        rc = err_set(
            e, ERR_USAGE, "--system needs a conversation, but %s",
            options.raw
                ? "--raw continues plain text; use one of the two"
                : "this model has no chat template; choose one with --chat-template, or write it "
                  "into the prompt");
    if (!rc && file)
        rc = conversation_load(r->conversation, file, &found, e);
    if (rc < 0)
        return rc;
    if (found.other_model)
        return err_set(e, ERR_USAGE, "%s: %s; give this conversation a file of its own", file,
                       found.note);
    if (*found.note)
        log_warn("the saved conversation is computed again: %s", found.note);
    rc = conversation_set_think(r->conversation, (enum think)options_enum(o, OPT_THINK), e);
    if (!rc && system)
        rc = conversation_set_system(r->conversation, system, e);
    return rc;
}

// What can be refused is refused before a ring is waited for.
static int check_prompt(struct run *r, struct err *e)
{
    struct prompt *p = &r->prompt;
    bool chats = conversation_chats(r->conversation);
    if (chats && p->length && p->text[p->length - 1] == '\n')
        p->length--; // it ends a piped line and is not part of what is said
    int rc = conversation_encode(r->conversation, p->text, p->length, &r->ids, e);
    if (!rc && !options_flag(r->options, OPT_CTX_SHIFT))
        rc = session_fits(r->loaded.pipeline, r->ids.n, e);
    return rc;
}

static bool may_forget(void *arg)
{
    const struct run *r = arg;
    return options_flag(r->options, OPT_CTX_SHIFT);
}

static int answer(struct run *r, struct err *e)
{
    struct conversation_turn turn = {
        .text = r->prompt.text,
        .length = r->prompt.length,
        .max_tokens = answer_max_tokens(r->options),
        .sampler = r->sampler = answer_sampler(r->options),
        .hash = r->json,
        .take = take_text,
        .full = may_forget,
        .arg = r,
    };
    const char *file = options_text(r->options, OPT_SESSION);
    interrupt_catch();
    r->before = r->loaded.pipeline->ops->residency(r->loaded.pipeline);
    int rc = conversation_say(r->conversation, &turn, &r->made, e);
    screen_dim(&r->screen, false);
    screen_end_line(&r->screen);
    tell_times(r);
    if (!rc && r->loaded.head && !r->json && r->made.ttft_ns)
        head_print_times(r->loaded.head, r->made.ttft_ns, r->made.tpot_ns);
    if (!rc && file)
        rc = conversation_save(r->conversation, file, e);
    if (!rc && r->json)
        rc = print_json(r, e);
    if (!rc && r->made.stop == ANSWER_CONTEXT)
        rc = err_set(e, ERR_NO_MEMORY,
                     "the context of %d tokens is full, so the answer ends here; use a larger "
                     "--ctx, or -n to ask for less",
                     r->loaded.pipeline->info.max_context);
    if (!rc && r->made.stop == ANSWER_INTERRUPTED && interrupt_seen())
        rc = INTERRUPT_EXIT_CODE;
    return rc;
}

static int run(const struct options *o, struct err *e)
{
    struct run r = {.options = o, .json = options_flag(o, OPT_JSON)};
    struct loaded_wants wants = {.max_sessions = 1, .ring = true};
    bool talks = !options_arg(o, 1) && !r.json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    screen_init(&r.screen);
    int rc = talks ? 0 : prompt_read(&r.prompt, options_arg(o, 1), e);
    int64_t start = clock_ns();
    if (!rc)
        rc = loaded_open(&r.loaded, options_arg(o, 0), o, &wants, e);
    r.open_ns = clock_ns() - start;
    if (!rc)
        rc = open_conversation(&r, e);
    if (!rc && !talks)
        rc = check_prompt(&r, e);
    if (!rc) {
        start = clock_ns() - r.open_ns;
        rc = loaded_gather(&r.loaded, e);
        r.open_ns = clock_ns() - start;
    }
    if (!rc)
        rc = talks ? talk_run(r.conversation, &r.loaded, o, e) : answer(&r, e);
    if (r.loaded.head) { // what went wrong before is told first
        int traced = head_trace(r.loaded.head, e);
        rc = rc ? rc : traced;
    }
    answer_free(&r.made);
    ids_free(&r.ids);
    conversation_free(r.conversation);
    loaded_close(&r.loaded);
    prompt_free(&r.prompt);
    free(r.answer.bytes);
    free(r.reasoning.bytes);
    return rc;
}

const struct verb verb_run = {
    .name = "run",
    .summary = "answer a prompt, continue a text, or converse",
    .usage = "MODEL [PROMPT]",
    .text =
        "MODEL is the path of a GGUF file, or demo. The prompt comes from the command line or "
        "from standard input. It is put to the model as a turn of a conversation when the "
        "model has a chat template or the tokens of a known family; otherwise, and with --raw, the "
        "model "
        "continues it as plain text.\n\nAt a terminal, without a prompt, this is a conversation "
        "in turns, with line editing and history; /help lists its commands. Ctrl-C stops an "
        "answer, Ctrl-D ends. When the context is full it offers to forget the oldest turns; "
        "--ctx-shift does so without asking.\n\n--session keeps a conversation in a file, with "
        "the state of the model's memory: the next run with that file goes on where it "
        "stopped, without computing it again.\n\nWith --workers this machine waits for others "
        "to join with the token that it prints, asks them what they can do, and shares the "
        "model's layers out as is quickest; a machine that does not help waits. --layers, --even "
        "and --apply say otherwise. The answer is the same, token for token.\n\nCtrl-C ends the "
        "answer to a prompt "
        "where it is (exit code 130). When the context is full the answer ends with a sentence "
        "that says so (exit code 4).",
    .options = (const struct verb_option[]){{OPT_TOKENS, NULL},
                                            {OPT_RAW, NULL},
                                            {OPT_SYSTEM, NULL},
                                            {OPT_CHAT_TEMPLATE, NULL},
                                            {OPT_SESSION, NULL},
                                            {OPT_CTX_SHIFT, NULL},
                                            {OPT_THINK, "auto"},
                                            {OPT_TEMP, "0.8"},
                                            {OPT_TOP_K, "40"},
                                            {OPT_TOP_P, "0.95"},
                                            {OPT_MIN_P, "0.05"},
                                            {OPT_REPEAT_PENALTY, "1"},
                                            {OPT_SEED, NULL},
                                            {OPT_CTX, "0"},
                                            {OPT_THREADS, "0"},
                                            {OPT_PIN, "auto"},
                                            {OPT_KV, "f16"},
                                            {OPT_ISA, "auto"},
                                            {OPT_LAYOUT, "auto"},
                                            {OPT_MEMORY, "auto"},
                                            {OPT_RESIDENCY, "auto"},
                                            {OPT_BATCH, "128"},
                                            {OPT_JSON, NULL},
                                            {OPT_VERBOSE, NULL},
                                            {OPT_WORKERS, "0"},
                                            {OPT_LAYERS, NULL},
                                            {OPT_EVEN, NULL},
                                            {OPT_APPLY, NULL},
                                            {OPT_OBJECTIVE, "answer"},
                                            {OPT_SURVEY, NULL},
                                            {OPT_ROUNDS, "0"},
                                            {OPT_WIRE, "f32"},
                                            {OPT_NAME, NULL},
                                            {OPT_LISTEN, NULL},
                                            {OPT_TOKEN_FILE, NULL},
                                            {OPT_TRACE, NULL},
                                            {OPT_END, NULL}},
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
