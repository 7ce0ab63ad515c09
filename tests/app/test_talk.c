// A conversation as a person at a terminal has it: the program behind a pseudo-terminal, typed at
// and read from. Every step waits for what must appear, however long that takes.
#include "support.h"

#include "tiny_model.h"

#include "app/saved_session.h"
#include "gguf/writer.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 120000, SILENCE_MS = 1000, SCREEN_BYTES = 1 << 20 };

static char program[PATH_MAX];

struct terminal {
    pid_t pid;
    int fd;
    char *seen;   // SCREEN_BYTES
    size_t n, at; // what was waited for ends at `at`
};

// Starts the program with words separated by '|', on a terminal of this kind.
static struct terminal start(const char *kind, const char *line)
{
    static char words[4096];
    char *argv[64] = {program};
    struct winsize size = {.ws_row = 50, .ws_col = 200};
    struct terminal t = {.seen = calloc(1, SCREEN_BYTES)};
    int argc = 1;
    assert_non_null(t.seen);
    snprintf(words, sizeof words, "%s", line);
    for (char *w = strtok(words, "|"); w; w = strtok(NULL, "|"))
        argv[argc++] = w;
    t.pid = forkpty(&t.fd, NULL, NULL, &size);
    assert_true(t.pid >= 0);
    if (!t.pid) {
        setenv("TERM", kind, 1);
        execv(program, argv);
        _exit(98);
    }
    return t;
}

// Reads once. False: the program has closed the terminal.
static bool look(struct terminal *t, const char *why)
{
    struct pollfd p = {.fd = t->fd, .events = POLLIN};
    if (poll(&p, 1, PATIENCE_MS) <= 0)
        fail_msg("nothing came while waiting for \"%s\"; seen: %s", why, t->seen);
    assert_true(t->n < SCREEN_BYTES - 1);
    ssize_t got = read(t->fd, t->seen + t->n, SCREEN_BYTES - 1 - t->n);
    if (got <= 0)
        return false;
    for (ssize_t i = 0; i < got; i++) // so that it can be searched
        if (!t->seen[t->n + (size_t)i])
            t->seen[t->n + (size_t)i] = '@';
    t->n += (size_t)got;
    return true;
}

// Waits until this appears behind what was waited for before.
static void await(struct terminal *t, const char *text)
{
    const char *found;
    while (!(found = strstr(t->seen + t->at, text)))
        if (!look(t, text))
            fail_msg("the program ended before \"%s\"; seen: %s", text, t->seen + t->at);
    t->at = (size_t)(found - t->seen) + strlen(text);
}

static void type(struct terminal *t, const char *text)
{
    size_t n = strlen(text);
    assert_int_equal(write(t->fd, text, n), n);
}

// Types a line at the prompt.
static void enter(struct terminal *t, const char *line)
{
    await(t, "> ");
    type(t, line);
    type(t, "\n");
}

// Reads to the end; the exit code, 128 + signal.
static int finish(struct terminal *t)
{
    int status;
    while (look(t, "the end"))
        ;
    while (waitpid(t->pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    close(t->fd);
    free(t->seen);
    t->seen = NULL;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void quit(struct terminal *t)
{
    enter(t, "/quit");
    assert_int_equal(finish(t), 0);
}

// A place of its own for what a test leaves behind.
static const char *fresh_state(const char *name)
{
    const char *path = test_file(name);
    mkdir(path, 0700);
    setenv("RONDO_STATE", path, 1);
    return path;
}

static char *state_file(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", getenv("RONDO_STATE"), name);
    return path;
}

// Message `index` of a saved session, "role: content".
static const char *saved_message(const char *name, size_t index)
{
    static char out[4096];
    struct saved_reader *r;
    struct err e = {0};
    char path[64];
    snprintf(path, sizeof path, "sessions/%s.session", name);
    assert_ok(saved_open(&r, state_file(path), &e), &e);
    const json_t *m = json_array_get(json_object_get(r->text, "messages"), index);
    assert_non_null(m);
    snprintf(out, sizeof out, "%s: %s", json_string_value(json_object_get(m, "role")),
             json_string_value(json_object_get(m, "content")));
    saved_close(r);
    return out;
}

static const char demo[] = "run|demo|--temp|0|-n|12";

// ---- messages ----------------------------------------------------------------------------------

static void turns_are_answered_until_the_end(void **state)
{
    (void)state;
    fresh_state("turns");
    struct terminal t = start("dumb", demo);
    await(&t, "/help lists the commands, Ctrl-D ends.");
    enter(&t, "Tell me a story about a fox.");
    await(&t, "a fox.\r\n"); // the echo
    await(&t, "Here is a story for you.");
    enter(&t, "Another one, about a kite.");
    await(&t, "kite.\r\n");
    await(&t, "> ");
    type(&t, "\004");
    assert_int_equal(finish(&t), 0);
}

static void messages_may_have_several_lines(void **state)
{
    (void)state;
    fresh_state("lines");
    struct terminal t = start("xterm", demo);
    enter(&t, "one\\");
    await(&t, "... ");
    type(&t, "two\n");
    enter(&t, "\"\"\"");
    await(&t, "... ");
    type(&t, "three\\\n");
    await(&t, "... ");
    type(&t, "\n");
    await(&t, "... ");
    type(&t, "four\n");
    await(&t, "... ");
    type(&t, "\"\"\"\n");
    enter(&t, "\"\"\"five\"\"\"");
    await(&t, "> ");
    type(&t, "\033[200~six\r\n/seven\n\033[201~ \303\251ight\n"); // pasted
    enter(&t, "//nine");
    enter(&t, "  /ten");
    enter(&t, "/save lines");
    await(&t, "Saved as lines");
    assert_string_equal(saved_message("lines", 0), "user: one\ntwo");
    assert_string_equal(saved_message("lines", 2), "user: three\\\n\nfour");
    assert_string_equal(saved_message("lines", 4), "user: five");
    assert_string_equal(saved_message("lines", 6), "user: six\n\n/seven\n \303\251ight");
    assert_string_equal(saved_message("lines", 8), "user: /nine");
    assert_string_equal(saved_message("lines", 10), "user: /ten");
    quit(&t);
}

static void what_was_typed_is_remembered(void **state)
{
    (void)state;
    fresh_state("history");
    struct terminal t = start("xterm", demo);
    enter(&t, "one\\");
    await(&t, "... ");
    type(&t, "two");
    type(&t, "\n");
    enter(&t, "back\\slash");
    enter(&t, "/set temp 0");
    quit(&t);
    struct stat s;
    assert_int_equal(stat(state_file("history"), &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
    char *text = (char *)test_read(state_file("history"), NULL);
    assert_string_equal(text, "one\\ntwo\nback\\\\slash\n/set temp 0\n/quit\n");
    free(text);
    // The next conversation has it: up, up, up.
    t = start("xterm", demo);
    await(&t, "> ");
    type(&t, "\033[A\033[A\033[A\n");
    enter(&t, "/save history");
    await(&t, "Saved as history");
    assert_string_equal(saved_message("history", 0), "user: back\\slash");
    quit(&t);
}

// ---- commands ----------------------------------------------------------------------------------

static void every_command_does_what_it_says(void **state)
{
    (void)state;
    fresh_state("commands");
    struct terminal t = start("dumb", demo);
    enter(&t, "/help");
    await(&t, "/clear");
    await(&t, "/set OPTION VALUE");
    enter(&t, "/system You are a fox.");
    enter(&t, "/system");
    await(&t, "system    You are a fox.");
    enter(&t, "Who are you?");
    enter(&t, "/show");
    await(&t, "model     Rondo Tales");
    await(&t, "of 512 tokens");
    await(&t, "turns     1");
    await(&t, "system    You are a fox.");
    await(&t, "temp 0, top_k 40");
    enter(&t, "/clear");
    await(&t, "begins anew");
    enter(&t, "/show");
    await(&t, "context   0 of 512");
    await(&t, "turns     0");
    await(&t, "system    You are a fox.");
    enter(&t, "/system \"\"");
    enter(&t, "/system");
    await(&t, "There is no system message.");
    enter(&t, "/set top-k 7");
    enter(&t, "/set seed 5");
    enter(&t, "/set think off");
    enter(&t, "/set timings on");
    enter(&t, "/set");
    await(&t, "top_k 7");
    await(&t, "seed 5, tokens 12, think off, ctx_shift off, timings on");
    enter(&t, "Hello");
    await(&t, "tokens/s)");
    enter(&t, "/set tokens off");
    enter(&t, "/set seed off");
    enter(&t, "/set");
    await(&t, "seed off, tokens off");
    enter(&t, "/set temp hot");
    await(&t, "temp wants a number, not 'hot'");
    enter(&t, "/set top_p 3");
    await(&t, "top_p 3 is out of range");
    enter(&t, "/set volume 3");
    await(&t, "There is no setting volume");
    enter(&t, "/halp");
    await(&t, "There is no command /halp; did you mean /help");
    enter(&t, "/save ../x");
    await(&t, "a session's name has");
    enter(&t, "/clear");
    enter(&t, "/save empty"); // a conversation in which nothing was said
    await(&t, "Saved as empty, 0 tokens");
    enter(&t, "/load empty");
    await(&t, "Loaded empty, 0 turns, 0 tokens");
    enter(&t, "/load nothing");
    await(&t, "There is no session nothing");
    enter(&t, "/load");
    await(&t, "Saved sessions: empty");
    enter(&t, "/bye");
    assert_int_equal(finish(&t), 0);
}

static void sessions_are_saved_listed_and_not_replaced_unasked(void **state)
{
    (void)state;
    fresh_state("sessions");
    struct terminal t = start("dumb", demo);
    enter(&t, "/load");
    await(&t, "No session is saved yet.");
    enter(&t, "/save");
    await(&t, "wants a name");
    enter(&t, "Hello");
    enter(&t, "/save one");
    await(&t, "Saved as one");
    enter(&t, "/save two");
    await(&t, "Saved as two");
    enter(&t, "/load");
    await(&t, "Saved sessions: one, two");
    enter(&t, "/clear");
    enter(&t, "Tell me a story.");
    enter(&t, "/save one");
    await(&t, "replace it? [y/N] ");
    type(&t, "\n");
    enter(&t, "/show");
    await(&t, "turns     1");
    assert_string_equal(saved_message("one", 0), "user: Hello");
    enter(&t, "/save one");
    await(&t, "replace it? [y/N] ");
    type(&t, "y\n");
    await(&t, "Saved as one");
    assert_string_equal(saved_message("one", 0), "user: Tell me a story.");
    enter(&t, "/load two");
    await(&t, "nothing need be computed again.");
    enter(&t, "/save"); // it has a name now
    await(&t, "Saved as two");
    // A file that is damaged.
    size_t size;
    uint8_t *data = test_read(state_file("sessions/two.session"), &size);
    data[250] ^= 1;
    test_write(state_file("sessions/two.session"), data, size);
    free(data);
    enter(&t, "/load two");
    await(&t, "the file is damaged");
    enter(&t, "/show");
    await(&t, "turns     1");
    quit(&t);
}

// ---- interrupts --------------------------------------------------------------------------------

static bool is_silent(const struct terminal *t)
{
    struct pollfd p = {.fd = t->fd, .events = POLLIN};
    return poll(&p, 1, SILENCE_MS) == 0;
}

// A model that says anything, without end.
static const char *babbler(void)
{
    const char *path = test_file("babbler.gguf");
    tiny_model_write(path, &(struct tiny_model){.seed = 11, .n_layers = 1});
    return path;
}

static void ctrl_c_stops_the_answer_and_not_the_program(void **state)
{
    (void)state;
    fresh_state("interrupts");
    char line[PATH_MAX + 64];
    snprintf(line, sizeof line, "run|%s|--temp|0|--ctx-shift", babbler());
    struct terminal t = start("dumb", line);
    await(&t, "which the model continues.");
    for (int i = 0; i < 3; i++) {
        enter(&t, "Once upon a time there was");
        await(&t, "there was\r\n");
        size_t from = t.n;
        // Longer than its context. What the second and the third answer say depends on where the
        // one before was stopped; one may come to repeat a token that shows nothing.
        while (t.n < from + 3000 && !(i && is_silent(&t)))
            assert_true(look(&t, "an answer without end"));
        t.at = t.n;
        type(&t, "\003");
        enter(&t, "/show");
        await(&t, "of 512 tokens");
    }
    await(&t, "> ");
    type(&t, "half a line\003");
    await(&t, "> ");
    type(&t, "\003");
    await(&t, "Ctrl-D or /quit ends");
    await(&t, "> ");
    type(&t, "\004");
    assert_int_equal(finish(&t), 0);
}

static void control_characters_of_a_model_do_not_reach_the_terminal(void **state)
{
    (void)state;
    fresh_state("controls");
    char line[PATH_MAX + 64];
    snprintf(line, sizeof line,
             "run|%s|--seed|7|--temp|50|--top-k|0|--top-p|1|--min-p|0|-n|2000|--ctx-shift",
             babbler());
    struct terminal t = start("dumb", line);
    for (int i = 0; i < 8; i++)
        enter(&t, "Say anything.");
    enter(&t, "/quit");
    while (look(&t, "the end"))
        ;
    assert_true(t.n > 2000);
    for (size_t i = 0; i < t.n; i++) {
        unsigned char c = (unsigned char)t.seen[i];
        if (c < 0x20 && !strchr("\r\n\t\b", c))
            fail_msg("byte 0x%02x at %zu of %zu", c, i, t.n);
    }
    assert_int_equal(finish(&t), 0);
}

static void an_end_from_outside_keeps_the_session(void **state)
{
    (void)state;
    fresh_state("ends");
    const char *file = test_file("ends.session");
    char line[PATH_MAX + 64];
    snprintf(line, sizeof line, "%s|--session|%s", demo, file);
    struct terminal t = start("dumb", line);
    enter(&t, "Hello");
    await(&t, "Hello\r\n");
    await(&t, "> ");
    kill(t.pid, SIGTERM);
    assert_int_equal(finish(&t), 130);
    t = start("dumb", line);
    enter(&t, "/show");
    await(&t, "turns     1");
    quit(&t);
}

// ---- a full context ----------------------------------------------------------------------------

static void a_full_context_asks(void **state)
{
    (void)state;
    fresh_state("full");
    struct terminal t = start("dumb", "run|demo|--temp|0|--ctx|80|-n|30");
    enter(&t, "Tell me a story about a fox.");
    enter(&t, "Tell me a story about a kite.");
    await(&t, "[Y/n] "); // 16 tokens of prompt and 30 of answer each: the second does not end
    type(&t, "n\n");
    await(&t, "The context of 80 tokens is full, so the answer ends here.");
    enter(&t, "/save full");
    await(&t, "Saved as full");
    enter(&t, "Tell me a story about a cat.");
    await(&t, "[Y/n] ");
    type(&t, "no\n");
    await(&t, "the context holds 80");
    enter(&t, "Tell me a story about a cat.");
    await(&t, "[Y/n] ");
    type(&t, "\n");
    await(&t, "forgotten,");
    await(&t, "tokens free)");
    await(&t, "Here is a story");
    enter(&t, "/set ctx-shift on");
    for (int i = 0; i < 3; i++)
        enter(&t, "Tell me a story about a dog.");
    await(&t, "forgotten,");
    quit(&t);
}

// ---- kept --------------------------------------------------------------------------------------

static void a_session_goes_on_in_another_process(void **state)
{
    (void)state;
    fresh_state("again");
    const char *kite = "And one about a kite?";
    char whole[512] = "", *end;
    struct terminal t = start("dumb", demo);
    enter(&t, "Tell me a story about a fox.");
    enter(&t, "/save fox");
    await(&t, "Saved as fox");
    enter(&t, kite);
    await(&t, "kite?\r\n");
    size_t from = t.at;
    await(&t, "> ");
    snprintf(whole, sizeof whole, "%.*s", (int)(t.at - from), t.seen + from);
    type(&t, "/quit\n");
    assert_int_equal(finish(&t), 0);
    assert_true(strlen(whole) > 20);

    t = start("dumb", demo);
    enter(&t, "/load fox");
    await(&t, "Loaded fox, 1 turn, ");
    size_t tokens = strtoul(t.seen + t.at, &end, 10);
    assert_true(tokens > 20);
    await(&t, "nothing need be computed again.");
    enter(&t, "/set timings on");
    enter(&t, kite);
    await(&t, "kite?\r\n");
    from = t.at;
    await(&t, "(prompt of ");
    assert_memory_equal(t.seen + from, whole, strlen(whole) - 2); // without the next prompt
    char known[64];
    snprintf(known, sizeof known, "%zu of them known", tokens);
    await(&t, known);
    quit(&t);
}

static void another_models_session_is_said_to_be_one(void **state)
{
    (void)state;
    fresh_state("models");
    const char *file = test_file("models.session");
    char line[2 * PATH_MAX];
    snprintf(line, sizeof line, "run|%s|--temp|0|-n|5|--session|%s", babbler(), file);
    struct terminal t = start("dumb", line);
    enter(&t, "Once");
    quit(&t);
    snprintf(line, sizeof line, "run|demo|--raw|--session|%s", file);
    t = start("dumb", line);
    await(&t, "it was saved with another model");
    assert_int_equal(finish(&t), 2);
    // What could not be kept in the end is refused in the beginning.
    t = start("dumb", "run|demo|Hello|--session|/nowhere/at/all.session");
    await(&t, "/nowhere/at/all.session: cannot be written");
    assert_int_equal(finish(&t), 1);
    char *kept = (char *)test_read(file, NULL); // and is untouched
    assert_memory_equal(kept, "RONDOSES", 8);
    free(kept);
}

// ---- reasoning ---------------------------------------------------------------------------------

// The demo model with a template that begins its answers with a section of reasoning.
static const char *thinker(void)
{
    static const char template[] =
        "{%- for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + "
        "'<|im_end|>\\n' }}{%- endfor %}{%- if add_generation_prompt %}"
        "{{ '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}{# </think> #}";
    const char *path = test_file("thinker.gguf");
    struct gguf *g;
    struct gguf_writer *w;
    struct err e = {0};
    size_t size;
    assert_ok(gguf_open(&g, "models/tales-q8_0.gguf", &e), &e);
    assert_ok(gguf_writer_open(&w, path, &e), &e);
    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        const struct gguf_key *k = gguf_key_at(g, i);
        if (strncmp(k->name.text, "tokenizer.chat_template", k->name.length))
            gguf_put_key(w, k);
    }
    gguf_put_string(w, "tokenizer.chat_template", template, sizeof template - 1);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *x = gguf_tensor_at(g, i);
        gguf_declare(w, x->name.text, x->type, x->n_dims, x->dims);
    }
    uint8_t *all = test_read("models/tales-q8_0.gguf", &size);
    for (size_t i = 0; i < gguf_n_tensors(g); i++)
        gguf_write(w, all + gguf_tensor_at(g, i)->offset, gguf_tensor_at(g, i)->size);
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
    gguf_free(g);
    free(all);
    return path;
}

static void reasoning_is_dimmed_or_said_to_be_such(void **state)
{
    (void)state;
    fresh_state("thinks");
    char line[PATH_MAX + 64];
    snprintf(line, sizeof line, "run|%s|--temp|0|-n|10", thinker());
    struct terminal t = start("xterm", line);
    enter(&t, "Hello");
    await(&t, "\033[2m");
    await(&t, "\033[0m");
    quit(&t);
    setenv("NO_COLOR", "1", 1);
    t = start("xterm", line);
    enter(&t, "Hello");
    await(&t, "(thinking)");
    await(&t, "> ");
    assert_null(strstr(t.seen, "\033[2m"));
    type(&t, "/quit\n");
    unsetenv("NO_COLOR");
    assert_int_equal(finish(&t), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_are_answered_until_the_end),
        cmocka_unit_test(messages_may_have_several_lines),
        cmocka_unit_test(what_was_typed_is_remembered),
        cmocka_unit_test(every_command_does_what_it_says),
        cmocka_unit_test(sessions_are_saved_listed_and_not_replaced_unasked),
        cmocka_unit_test(ctrl_c_stops_the_answer_and_not_the_program),
        cmocka_unit_test(control_characters_of_a_model_do_not_reach_the_terminal),
        cmocka_unit_test(an_end_from_outside_keeps_the_session),
        cmocka_unit_test(a_full_context_asks),
        cmocka_unit_test(a_session_goes_on_in_another_process),
        cmocka_unit_test(another_models_session_is_said_to_be_one),
        cmocka_unit_test(reasoning_is_dimmed_or_said_to_be_such),
    };
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 16);
    for (int i = 0; i < 3 && n > 0; i++)
        while (n > 0 && program[--n] != '/')
            ;
    strcpy(program + n, "/rondo");
    test_folder(); // before there are children
    return cmocka_run_group_tests(tests, NULL, NULL);
}
