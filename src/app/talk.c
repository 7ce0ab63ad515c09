// The turns of a conversation at the terminal: see talk.h.
//
// A message is a line. A backslash at its end continues it in the next one, and """ opens a block
// that ends with """. A message that begins with a slash is a command, unless that slash is doubled
// or stands behind a blank.
#include "app/talk.h"
#include "app/answer_options.h"
#include "app/interrupt.h"
#include "app/talk_state.h"
#include "cluster/identity.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void talk_say(struct talk *t, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    screen_end_line(&t->screen);
    screen_text(&t->screen, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
    screen_end_line(&t->screen);
}

bool talk_ask(struct talk *t, const char *question, bool by_default)
{
    char prompt[256], *line;
    snprintf(prompt, sizeof prompt, "%s [%s] ", question, by_default ? "Y/n" : "y/N");
    screen_end_line(&t->screen);
    for (;;) {
        enum line_end end = line_editor_read(t->editor, prompt, &line);
        if (end == LINE_NO_MORE)
            fputs("\n", stdout);
        if (end != LINE_WHOLE)
            return false;
        char answer = *line;
        free(line);
        if (!answer)
            return by_default;
        if (strchr("yYnN", answer))
            return answer == 'y' || answer == 'Y';
    }
}

// ---- messages ----------------------------------------------------------------------------------

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

// Joins a line to what is there, with a newline between. NULL: no memory.
static char *join(char *text, char *line)
{
    char *joined = NULL;
    if (!text)
        return line;
    if (asprintf(&joined, "%s\n%s", text, line) < 0)
        joined = NULL;
    free(text);
    free(line);
    return joined;
}

// A whole message, malloc'd.
static enum line_end read_message(struct talk *t, char **out)
{
    char *text = NULL, *line;
    bool block = false, more = true;
    for (*out = NULL; more;) {
        enum line_end end = line_editor_read(t->editor, text ? "... " : "> ", &line);
        if (end != LINE_WHOLE) {
            free(text);
            return end;
        }
        if (!text && !strncmp(line, "\"\"\"", 3)) {
            block = true;
            memmove(line, line + 3, strlen(line + 3) + 1);
        }
        more = block ? !ends_with(line, "\"\"\"") : ends_with(line, "\\");
        if (block != more) // the marks are not part of what is said
            line[strlen(line) - (block ? 3 : 1)] = 0;
        if (!(text = join(text, line)))
            return LINE_NO_MORE;
    }
    // A block's marks may stand on lines of their own.
    size_t n = strlen(text);
    if (block && *text == '\n')
        memmove(text, text + 1, n--);
    if (block && n && text[n - 1] == '\n')
        text[n - 1] = 0;
    *out = text;
    return LINE_WHOLE;
}

// ---- turns -------------------------------------------------------------------------------------

static bool show(void *arg, enum conversation_part part, const char *text, size_t size)
{
    struct talk *t = arg;
    screen_think(&t->screen, part == CONVERSATION_REASONING);
    return screen_text(&t->screen, text, size);
}

static bool ask_to_forget(void *arg)
{
    struct talk *t = arg;
    char question[160];
    bool dimmed = t->screen.dimmed;
    if (options_flag(&t->options, OPT_CTX_SHIFT))
        return true;
    screen_dim(&t->screen, false);
    snprintf(question, sizeof question,
             "The context of %zu tokens is full. Forget the oldest turns to go on?",
             conversation_room(t->c));
    bool yes = talk_ask(t, question, true);
    screen_dim(&t->screen, dimmed && yes);
    return yes;
}

static void tell_forgotten(void *arg, size_t n_turns, size_t n_free)
{
    struct talk *t = arg;
    bool dimmed = t->screen.dimmed;
    screen_dim(&t->screen, false);
    talk_say(t, "(%zu %s forgotten, %zu tokens free)", n_turns, n_turns == 1 ? "turn" : "turns",
             n_free);
    screen_dim(&t->screen, dimmed);
}

static void tell_times(struct talk *t, const struct answer *a)
{
    talk_say(t,
             "(prompt of %zu tokens, %zu of them known, in %.0f ms; answer of %zu tokens at %.1f "
             "tokens/s)",
             a->n_prompt, a->n_reused, (double)a->prompt_ns / 1e6, a->tokens.n,
             a->tpot_ns ? 1e9 / (double)a->tpot_ns : 0);
    if (t->loaded->head && a->ttft_ns)
        head_print_times(t->loaded->head, a->ttft_ns, a->tpot_ns);
}

static void take_turn(struct talk *t, const char *text)
{
    struct answer a = {0};
    struct err e = {0};
    struct conversation_turn turn = {
        .text = text,
        .length = strlen(text),
        .max_tokens = answer_max_tokens(&t->options),
        .sampler = answer_sampler(&t->options),
        .take = show,
        .full = ask_to_forget,
        .forgot = tell_forgotten,
        .arg = t,
    };
    int rc = t->loaded->head ? head_refresh(t->loaded->head, &e) : 0;
    if (!rc)
        rc = conversation_say(t->c, &turn, &a, &e);
    screen_dim(&t->screen, false);
    screen_end_line(&t->screen);
    if (rc)
        talk_say(t, "%s", e.text);
    else if (a.stop == ANSWER_CONTEXT)
        talk_say(t,
                 "The context of %zu tokens is full, so the answer ends here. /clear begins anew, "
                 "/save NAME keeps this conversation, and --ctx makes more room.",
                 conversation_room(t->c));
    if (!rc && t->timings)
        tell_times(t, &a);
    answer_free(&a);
}

// ---- the loop ----------------------------------------------------------------------------------

static void greet(struct talk *t)
{
    const char *name = model_hparams(t->loaded->model)->name;
    talk_say(t, "%s, %zu tokens of context. /help lists the commands, Ctrl-D ends.",
             *name ? name : "A model without a name", conversation_room(t->c));
    if (!conversation_chats(t->c))
        talk_say(t, "%s: what you write is plain text, which the model continues.",
                 options_flag(&t->options, OPT_RAW) ? "With --raw this is no conversation"
                                                    : "This model does not say how it converses");
}

static void take_message(struct talk *t, char *text)
{
    const char *said = text;
    if (text[0] == '/' && text[1] == '/')
        said = text + 1;
    else if (text[0] == ' ' && text[strspn(text, " ")] == '/')
        said = text + strspn(text, " ");
    else if (text[0] == '/')
        said = NULL;
    if (said && !said[strspn(said, " \t\n")] && conversation_chats(t->c))
        return; // nothing was said
    if (*text)
        line_editor_remember(t->editor, text);
    if (said)
        take_turn(t, said);
    else
        talk_command(t, text);
}

static void loop(struct talk *t)
{
    int n_given_up = 0;
    while (!t->over && !interrupt_ending()) {
        char *text;
        enum line_end end = read_message(t, &text);
        if (end == LINE_NO_MORE) {
            screen_text(&t->screen, "\n", 1);
            t->over = true;
        }
        n_given_up = end == LINE_GIVEN_UP ? n_given_up + 1 : 0;
        if (n_given_up == 2)
            talk_say(t, "Ctrl-D or /quit ends the conversation.");
        if (text)
            take_message(t, text);
        free(text);
    }
}

int talk_run(struct conversation *c, struct loaded *l, const struct options *o, struct err *e)
{
    struct talk t = {.c = c, .loaded = l, .options = *o, .timings = options_flag(o, OPT_VERBOSE)};
    char path[IDENTITY_PATH + 16], folder[IDENTITY_PATH];
    const char *file = options_text(o, OPT_SESSION);
    struct err why = {0};
    bool remembers = !identity_folder(folder, &why);
    snprintf(path, sizeof path, "%s/history", folder);
    screen_init(&t.screen);
    int rc = line_editor_open(&t.editor, remembers ? path : NULL, e);
    if (rc)
        return rc;
    greet(&t);
    if (!remembers)
        talk_say(&t, "(what you type is not remembered: %s)", why.text);
    loop(&t);
    if (file)
        rc = conversation_save(c, file, e);
    line_editor_close(t.editor);
    return rc ? rc : interrupt_ending() ? INTERRUPT_EXIT_CODE : 0;
}
