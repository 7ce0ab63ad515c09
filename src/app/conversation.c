// Turns of a conversation: see conversation.h.
#include "app/conversation_state.h"
#include "text/chat_reader.h"

#include "app/chat_choice.h"

#include <stdlib.h>
#include <string.h>

// ---- what was said -----------------------------------------------------------------------------

bool conversation_append(struct conversation_text *t, const char *bytes, size_t n)
{
    if (t->n + n >= t->size) {
        size_t larger = 2 * (t->n + n) + 1;
        char *p = realloc(t->bytes, larger);
        if (!p)
            return false;
        t->bytes = p;
        t->size = larger;
    }
    if (n)
        memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    t->bytes[t->n] = 0;
    return true;
}

// Bytes that are no UTF-8 are passed on.
static json_t *message(const char *role, const char *text, size_t length)
{
    json_t *content = json_stringn(text, length);
    if (!content)
        content = json_stringn_nocheck(text, length);
    return json_pack("{ss so}", "role", role, "content", content);
}

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NO_MEMORY, "no memory for the conversation");
}

static int add_user(struct conversation *c, const char *text, size_t length, struct err *e)
{
    bool added = c->chat ? !json_array_append_new(c->messages, message("user", text, length))
                         : conversation_append(&c->text, text, length);
    return added ? 0 : no_memory(e);
}

// What was said until now, to come back to it.
struct past {
    json_t *messages;
    struct conversation_text text;
};

static int remember(struct past *p, const struct conversation *c, struct err *e)
{
    *p = (struct past){.messages = json_copy(c->messages)};
    bool kept = p->messages && conversation_append(&p->text, c->text.bytes, c->text.n);
    return kept ? 0 : no_memory(e);
}

static void forget_past(struct past *p)
{
    json_decref(p->messages);
    free(p->text.bytes);
}

static void return_to(struct conversation *c, struct past *p)
{
    json_t *messages = c->messages;
    struct conversation_text text = c->text;
    c->messages = p->messages;
    c->text = p->text;
    *p = (struct past){messages, text};
}

static size_t count(const struct conversation *c, const char *role)
{
    const json_t *m;
    size_t i, n = 0;
    json_array_foreach(c->messages, i, m)
    {
        n += !strcmp(json_string_value(json_object_get(m, "role")), role);
    }
    return n;
}

size_t conversation_turns(const struct conversation *c)
{
    return count(c, "user");
}

size_t conversation_tokens(const struct conversation *c)
{
    return c->held.n;
}

size_t conversation_room(const struct conversation *c)
{
    return (size_t)c->loaded->pipeline->info.max_context;
}

bool conversation_chats(const struct conversation *c)
{
    return c->chat;
}

const char *conversation_system(const struct conversation *c)
{
    return c->system;
}

int conversation_set_system(struct conversation *c, const char *text, struct err *e)
{
    char *copy = NULL;
    if (text && !c->chat)
        return err_set(e, ERR_USAGE,
                       "a system message needs a conversation, and this one continues plain text; "
                       "write it into the text");
    if (text && !(copy = strdup(text)))
        return no_memory(e);
    free(c->system);
    c->system = copy;
    return 0;
}

int conversation_set_think(struct conversation *c, enum think think, struct err *e)
{
    static const char *const efforts[THINK_COUNT] = {
        [THINK_LOW] = "low", [THINK_MEDIUM] = "medium", [THINK_HIGH] = "high"};
    json_t *variables = NULL;
    if (think != THINK_AUTO) {
        variables = json_pack("{sb}", "enable_thinking", think != THINK_OFF);
        if (!variables || (efforts[think] && json_object_set_new(variables, "reasoning_effort",
                                                                 json_string(efforts[think])))) {
            json_decref(variables);
            return no_memory(e);
        }
    }
    json_decref(c->variables);
    c->variables = variables;
    return 0;
}

void conversation_clear(struct conversation *c)
{
    json_array_clear(c->messages);
    c->text.n = 0;
    c->held.n = 0;
    session_truncate(c->session, 0);
}

int conversation_new(struct conversation **out, struct loaded *l,
                     const struct conversation_options *o, struct err *e)
{
    struct conversation *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c)
        return no_memory(e);
    c->loaded = l;
    c->kv_type = o->kv_type;
    c->messages = json_array();
    int rc = c->messages ? 0 : no_memory(e);
    if (!rc && !o->raw)
        rc = chat_choice_open(&c->chat, o->chat_template, l->gguf, l->vocab, e);
    if (!rc)
        rc = session_new(&c->session, l->pipeline, &(struct session_options){.id = 0}, e);
    if (rc) {
        conversation_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void conversation_free(struct conversation *c)
{
    if (!c)
        return;
    session_free(c->session);
    chat_free(c->chat);
    json_decref(c->messages);
    json_decref(c->variables);
    ids_free(&c->held);
    free(c->text.bytes);
    free(c->system);
    free(c);
}

// ---- a turn ------------------------------------------------------------------------------------

int conversation_encode(const struct conversation *c, const char *text, size_t length,
                        struct ids *out, struct err *e)
{
    struct conversation next = *c;
    struct past past;
    int rc = remember(&past, c, e);
    next.messages = past.messages;
    next.text = past.text;
    if (!rc)
        rc = add_user(&next, text, length, e);
    if (!rc)
        rc = conversation_ids(&next, out, NULL, e);
    past.text = next.text;
    forget_past(&past);
    return rc;
}

struct turn {
    struct conversation *c;
    const struct conversation_turn *how;
    struct chat_reader *reader;      // of messages
    struct conversation_text answer; // of plain text, as far as it is not yet among what was said
    bool heard;                      // somebody listens
    bool kept;                       // all of it found memory
};

static void take_event(void *arg, const struct chat_event *event)
{
    struct turn *t = arg;
    enum conversation_part part =
        event->kind == CHAT_REASONING ? CONVERSATION_REASONING : CONVERSATION_CONTENT;
    t->heard = t->heard && t->how->take(t->how->arg, part, event->text, event->n);
}

static bool take_token(void *arg, int32_t id, const char *text, size_t size)
{
    struct turn *t = arg;
    if (t->reader) {
        chat_read(t->reader, id, text, size);
    } else {
        t->kept = t->kept && conversation_append(&t->answer, text, size);
        t->heard =
            t->heard && (!size || t->how->take(t->how->arg, CONVERSATION_CONTENT, text, size));
    }
    return t->heard;
}

static int open_reader(struct turn *t, const struct chat_notes *notes, struct err *e)
{
    struct chat_reader_options o = {
        .in_reasoning = notes->in_reasoning, .take = take_event, .arg = t};
    return chat_reader_new(&t->reader, t->c->chat, &o, e);
}

// The oldest turns go, if that may be; 1: it may not, or is of no use.
static int make_room(struct turn *t, size_t n_spoken, struct ids *prompt, struct err *e)
{
    size_t n_turns = 0;
    if (!t->how->full || !t->how->full(t->how->arg))
        return 1;
    prompt->n = 0;
    int rc = conversation_forget(t->c, n_spoken, prompt, &n_turns, e);
    if (!rc && t->how->forgot)
        t->how->forgot(t->how->arg, n_turns, conversation_room(t->c) - prompt->n - n_spoken);
    return rc;
}

// The tokens of the conversation with what the user said last, such that they fit.
static int make_prompt(struct turn *t, struct ids *prompt, struct err *e)
{
    struct chat_notes notes = {0};
    int rc = conversation_ids(t->c, prompt, &notes, e);
    if (!rc && t->c->chat)
        rc = open_reader(t, &notes, e);
    if (rc || prompt->n <= conversation_room(t->c))
        return rc;
    size_t n = prompt->n;
    rc = make_room(t, 0, prompt, e);
    return rc > 0 ? session_fits(t->c->loaded->pipeline, n, e) : rc;
}

// The answer was cut by the context: room is made, and the prompt ends with what was drawn. Plain
// text has it as text.
static int make_room_behind(struct turn *t, const struct answer *a, struct ids *prompt,
                            struct err *e)
{
    if (t->c->chat) {
        int rc = make_room(t, a->tokens.n, prompt, e);
        for (size_t i = 0; !rc && i < a->tokens.n; i++)
            ids_push(prompt, a->tokens.id[i]);
        return rc;
    }
    size_t before = t->c->text.n;
    int rc = conversation_append(&t->c->text, t->answer.bytes, t->answer.n) ? 0 : no_memory(e);
    if (!rc)
        rc = make_room(t, 0, prompt, e);
    if (rc)
        t->c->text.n = before;
    else
        t->answer.n = 0;
    return rc;
}

static int answer(struct turn *t, struct ids *prompt, struct answer *a, struct err *e)
{
    struct conversation *c = t->c;
    struct answer_request request = {
        .max_tokens = t->how->max_tokens,
        .sampler = t->how->sampler,
        .keep_space = !c->chat,
        .hash = t->how->hash,
        .token = take_token,
        .arg = t,
    };
    struct answering *m;
    request.sampler.seed += count(c, "assistant"); // each answer has dice of its own
    int rc = answer_begin(&m, c->session, c->loaded->vocab, &request, e);
    if (rc)
        return rc;
    do {
        rc = answer_run(m, prompt, a, e);
        if (rc || a->stop != ANSWER_CONTEXT)
            break;
        rc = make_room_behind(t, a, prompt, e);
    } while (!rc);
    answer_end(m, a);
    if (t->reader)
        chat_read_end(t->reader);
    return rc > 0 ? 0 : rc; // no room was made: the answer ends here, which is no error
}

static void hold(struct conversation *c)
{
    const int32_t *ids = session_tokens(c->session);
    c->held.n = 0;
    for (size_t i = 0; i < session_length(c->session); i++)
        ids_push(&c->held, ids[i]);
}

// What was answered becomes part of what was said.
static int keep_answer(struct turn *t, struct err *e)
{
    struct conversation *c = t->c;
    if (t->reader)
        return json_array_append_new(c->messages, chat_reader_message(t->reader)) ? no_memory(e)
                                                                                  : 0;
    return t->kept && conversation_append(&c->text, t->answer.bytes, t->answer.n) ? 0
                                                                                  : no_memory(e);
}

int conversation_say(struct conversation *c, const struct conversation_turn *t, struct answer *a,
                     struct err *e)
{
    struct turn turn = {.c = c, .how = t, .heard = true, .kept = true};
    struct past past;
    struct ids prompt = {0};
    *a = (struct answer){0};
    int rc = remember(&past, c, e);
    if (!rc)
        rc = add_user(c, t->text, t->length, e);
    if (!rc)
        rc = make_prompt(&turn, &prompt, e);
    if (!rc)
        rc = answer(&turn, &prompt, a, e);
    bool nothing = !a->tokens.n && (rc || a->stop == ANSWER_INTERRUPTED);
    if (!nothing) {
        int kept = keep_answer(&turn, e);
        rc = rc ? rc : kept;
        nothing = kept;
    }
    if (nothing)
        return_to(c, &past);
    if (prompt.n)
        hold(c);
    forget_past(&past);
    ids_free(&prompt);
    chat_reader_free(turn.reader);
    free(turn.answer.bytes);
    return rc;
}
