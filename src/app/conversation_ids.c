// A conversation as tokens (conversation_state.h): the template's text in the tokens that were
// drawn, and what remains when the oldest turns are forgotten.
#include "app/conversation_state.h"

#include <stdlib.h>
#include <string.h>

// ---- tokens that are kept ----------------------------------------------------------------------

struct speller { // bytes of one list of tokens
    const struct vocab *v;
    const int32_t *id;
    size_t n, next; // token to be spelled next
    char text[VOCAB_MAX_TOKEN_BYTES];
    size_t at, end; // of `text`, not yet compared
};

static void spell(struct speller *s)
{
    s->at = 0;
    s->end = vocab_decode(s->v, s->id[s->next++], false, s->text, sizeof s->text);
}

// How many tokens of `held` say the same as the beginning of `ids`, and of how many of those.
// Control tokens say nothing but themselves.
static void agree(const struct vocab *v, const struct ids *held, const struct ids *ids,
                  size_t *n_held, size_t *n_ids)
{
    struct speller a = {.v = v, .id = held->id, .n = held->n};
    struct speller b = {.v = v, .id = ids->id, .n = ids->n};
    for (;;) {
        bool a_whole = a.at == a.end, b_whole = b.at == b.end;
        if (a_whole && b_whole) {
            *n_held = a.next;
            *n_ids = b.next;
            if (a.next == a.n || b.next == b.n)
                return;
            if (a.id[a.next] == b.id[b.next]) {
                a.next++;
                b.next++;
                continue;
            }
        }
        if ((a_whole && (a.next == a.n || vocab_is_control(v, a.id[a.next]))) ||
            (b_whole && (b.next == b.n || vocab_is_control(v, b.id[b.next]))))
            return;
        if (a_whole)
            spell(&a);
        if (b_whole)
            spell(&b);
        size_t left = a.end - a.at, right = b.end - b.at, n = left < right ? left : right;
        if (memcmp(a.text + a.at, b.text + b.at, n))
            return;
        a.at += n;
        b.at += n;
    }
}

// The ids with as many of `held` in their place as say the same.
static void keep_held(const struct conversation *c, struct ids *ids)
{
    size_t n_held, n_ids;
    struct ids kept = {0};
    agree(c->loaded->vocab, &c->held, ids, &n_held, &n_ids);
    for (size_t i = 0; i < n_held; i++)
        ids_push(&kept, c->held.id[i]);
    for (size_t i = n_ids; i < ids->n; i++)
        ids_push(&kept, ids->id[i]);
    ids_free(ids);
    *ids = kept;
}

static int encode_messages(const struct conversation *c, struct ids *out, struct chat_notes *notes,
                           struct err *e)
{
    json_t *all = json_array(), *system = NULL;
    if (c->system)
        system = json_pack("{ss ss}", "role", "system", "content", c->system);
    bool made = all && (!c->system || !json_array_append_new(all, system)) &&
                !json_array_extend(all, c->messages);
    struct chat_request r = {.messages = all, .variables = c->variables, .answer = true};
    int rc = made ? chat_encode(c->chat, &r, out, notes, e)
                  : err_set(e, ERR_NO_MEMORY, "no memory for the conversation");
    json_decref(all);
    return rc;
}

int conversation_ids(const struct conversation *c, struct ids *out, struct chat_notes *notes,
                     struct err *e)
{
    int rc = c->chat ? encode_messages(c, out, notes, e)
                     : vocab_encode(c->loaded->vocab, c->text.n ? c->text.bytes : "", c->text.n,
                                    ENCODE_SPECIAL, out, e);
    if (!rc && !out->n)
        rc = err_set(e, ERR_USAGE, "the prompt is empty, and this model cannot begin with nothing");
    if (!rc)
        keep_held(c, out);
    return rc;
}

// ---- forgetting --------------------------------------------------------------------------------

// Where the second turn begins; 0: there is one only.
static size_t second_turn(const json_t *messages)
{
    for (size_t i = 1; i < json_array_size(messages); i++)
        if (!strcmp(json_string_value(json_object_get(json_array_get(messages, i), "role")),
                    "user"))
            return i;
    return 0;
}

// Takes the first turn out of `c`, or of plain text its first quarter. False: nothing more can go.
static bool forget_first(struct conversation *c)
{
    size_t n = c->chat ? second_turn(c->messages) : c->text.n / 4;
    if (!n)
        return false;
    for (size_t i = 0; c->chat && i < n; i++)
        json_array_remove(c->messages, 0);
    if (c->chat)
        return true;
    while (n < c->text.n && ((unsigned char)c->text.bytes[n] & 0xc0) == 0x80)
        n++; // not inside a character
    memmove(c->text.bytes, c->text.bytes + n, c->text.n - n + 1);
    c->text.n -= n;
    return true;
}

int conversation_forget(struct conversation *c, size_t n_spoken, struct ids *out, size_t *n_turns,
                        struct err *e)
{
    size_t room = conversation_room(c), wanted = room - room / 4;
    struct conversation rest = *c;
    int rc = 1;
    rest.messages = json_copy(c->messages);
    rest.text = (struct conversation_text){0};
    if (!rest.messages || !conversation_append(&rest.text, c->text.bytes, c->text.n))
        rc = err_set(e, ERR_NO_MEMORY, "no memory for the conversation");
    for (*n_turns = 0; rc > 0 && forget_first(&rest); ++*n_turns) {
        out->n = 0;
        rc = conversation_ids(&rest, out, NULL, e);
        if (!rc && out->n + n_spoken > wanted)
            rc = 1;
    }
    if (rc > 0 && *n_turns && out->n + n_spoken < room)
        rc = 0; // less than was hoped for
    if (rc) {
        json_decref(rest.messages);
        free(rest.text.bytes);
        return rc;
    }
    json_decref(c->messages);
    free(c->text.bytes);
    c->messages = rest.messages;
    c->text = rest.text;
    return 0;
}
