// Lines from a terminal: see line_editor.h.
//
// libedit asks read_character for each character. That waits for the terminal and for an eventfd at
// once: a signal may be taken by any thread, so its handler notes it and writes to the eventfd.
#include "app/line_editor.h"

#include "app/interrupt.h"
#include "app/line_history.h"
#include "text/utf8.h"

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <wchar.h>

enum { INPUT_BYTES = 4096, PASTE_LIMIT = 1 << 22 };

struct line_editor {
    EditLine *edit;
    History *history;
    const char *prompt;
    char path[4096]; // of the history; empty: none
    int wake;
    bool smart; // the terminal knows more than to print
    char input[INPUT_BYTES];
    size_t at, n; // of input
};

// ---- signals -----------------------------------------------------------------------------------

static atomic_bool resized, stopping, going_on;
static atomic_int signal_wake;

static void on_signal(int number)
{
    int code = errno;
    uint64_t one = 1;
    atomic_store(number == SIGWINCH ? &resized : number == SIGTSTP ? &stopping : &going_on, true);
    (void)!write(atomic_load(&signal_wake), &one, sizeof one);
    errno = code;
}

static const int ours[] = {SIGWINCH, SIGTSTP, SIGCONT};
enum { N_OURS = sizeof ours / sizeof *ours };

static void take_signals(struct sigaction *before)
{
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    for (int i = 0; i < N_OURS; i++)
        sigaction(ours[i], &a, &before[i]);
}

static void give_signals(const struct sigaction *before)
{
    for (int i = 0; i < N_OURS; i++)
        sigaction(ours[i], &before[i], NULL);
}

static void tell_terminal(const struct line_editor *l, bool editing)
{
    if (l->smart) { // bracketed paste
        fputs(editing ? "\033[?2004h" : "\033[?2004l", stdout);
        fflush(stdout);
    }
}

// Ctrl-Z: the terminal is left as it was found, and taken back when the program goes on.
static void stop(struct line_editor *l)
{
    struct sigaction before, plain = {.sa_handler = SIG_DFL};
    tell_terminal(l, false);
    el_set(l->edit, EL_PREP_TERM, 0);
    sigaction(SIGTSTP, &plain, &before);
    raise(SIGTSTP);
    sigaction(SIGTSTP, &before, NULL);
    atomic_store(&going_on, true);
}

static void attend_signals(struct line_editor *l)
{
    uint64_t count;
    (void)!read(l->wake, &count, sizeof count);
    if (atomic_exchange(&stopping, false))
        stop(l);
    if (atomic_exchange(&going_on, false)) {
        el_set(l->edit, EL_PREP_TERM, 1);
        tell_terminal(l, true);
        el_set(l->edit, EL_REFRESH);
    }
    if (atomic_exchange(&resized, false)) {
        el_resize(l->edit);
        el_set(l->edit, EL_REFRESH);
    }
}

// ---- characters --------------------------------------------------------------------------------

// 1: there is input; 0: the terminal is gone; -1: given up.
static int fill(struct line_editor *l)
{
    while (l->at == l->n) {
        struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                               {.fd = l->wake, .events = POLLIN}};
        if (interrupt_seen())
            return -1;
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return 0;
        if (fds[1].revents)
            attend_signals(l);
        else if (fds[0].revents) {
            ssize_t got = read(STDIN_FILENO, l->input, sizeof l->input);
            if (got < 0 && (errno == EINTR || errno == EAGAIN))
                continue;
            if (got <= 0)
                return 0;
            l->at = 0;
            l->n = (size_t)got;
        }
    }
    return 1;
}

// As fill; a character that is broken becomes U+FFFD.
static int next_character(struct line_editor *l, wchar_t *out)
{
    char bytes[4];
    size_t n = 0;
    int rc, length = UTF8_INCOMPLETE;
    while (length == UTF8_INCOMPLETE && (rc = fill(l)) > 0) {
        bytes[n++] = l->input[l->at++];
        length = utf8_length(bytes, n);
    }
    if (length == UTF8_INCOMPLETE)
        return rc;
    if (n == 1 && !bytes[0]) { // Ctrl-D, typed before lines were edited
        *out = 'D' - '@';
        return 1;
    }
    if (length == UTF8_INVALID) {
        *out = 0xfffd;
        l->at -= n > 1; // it may begin the next one
        return 1;
    }
    static const unsigned char first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    *out = (unsigned char)bytes[0] & first_bits[length];
    for (int i = 1; i < length; i++)
        *out = *out << 6 | ((unsigned char)bytes[i] & 0x3f);
    return 1;
}

static int read_character(EditLine *edit, wchar_t *out)
{
    struct line_editor *l;
    el_get(edit, EL_CLIENTDATA, &l);
    return next_character(l, out);
}

// What comes between the terminal's marks of a paste, as text: newlines do not end the line.
static unsigned char paste(EditLine *edit, int key)
{
    static const wchar_t end[] = L"\033[201~";
    struct line_editor *l;
    size_t n = 0, size = 256;
    wchar_t *text = malloc(size * sizeof *text), c;
    (void)key;
    el_get(edit, EL_CLIENTDATA, &l);
    while (text && n < PASTE_LIMIT && next_character(l, &c) > 0) {
        if (n + 2 > size) {
            wchar_t *larger = realloc(text, 2 * size * sizeof *text);
            if (!larger)
                break;
            text = larger;
            size *= 2;
        }
        text[n++] = c == '\r' ? '\n' : c;
        text[n] = 0;
        if (n >= 6 && !wcscmp(text + n - 6, end)) {
            n -= 6;
            break;
        }
    }
    if (text)
        text[n] = 0;
    if (n)
        el_winsertstr(edit, text);
    free(text);
    return CC_REFRESH;
}

// ---- the editor --------------------------------------------------------------------------------

static char *prompt_of(EditLine *edit)
{
    struct line_editor *l;
    el_get(edit, EL_CLIENTDATA, &l);
    return (char *)l->prompt;
}

static void enter(void *arg, const char *entry)
{
    struct line_editor *l = arg;
    HistEvent event;
    history(l->history, &event, H_ENTER, entry);
}

static void bind_keys(EditLine *edit)
{
    static const char *const keys[][2] = {
        {"\\e[3~", "ed-delete-next-char"}, {"\\e[1;5C", "em-next-word"},
        {"\\e[1;5D", "ed-prev-word"},      {"\\e[H", "ed-move-to-beg"},
        {"\\e[F", "ed-move-to-end"},       {"^R", "em-inc-search-prev"},
        {"\\e[200~", "paste-text"},
    };
    el_set(edit, EL_EDITOR, "emacs");
    // The narrow form copies both texts and never frees them.
    el_wset(edit, EL_ADDFN, L"paste-text", L"Take what was pasted", paste);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        el_set(edit, EL_BIND, keys[i][0], keys[i][1], NULL);
}

// libedit measures characters by the locale.
static void use_utf8(void)
{
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8"))
        setlocale(LC_CTYPE, "C.UTF-8");
}

int line_editor_open(struct line_editor **out, const char *history_path, struct err *e)
{
    const char *kind = getenv("TERM");
    struct line_editor *l = calloc(1, sizeof *l);
    HistEvent event;
    *out = NULL;
    if (!l)
        return err_set(e, ERR_NO_MEMORY, "no memory for reading lines");
    use_utf8();
    l->prompt = "";
    l->smart = kind && *kind && strcmp(kind, "dumb");
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->edit = el_init("rondo", stdin, stdout, stderr);
    l->history = history_init();
    if (l->wake < 0 || !l->edit || !l->history) {
        line_editor_close(l);
        return err_set(e, ERR_NO_MEMORY, "the terminal's lines cannot be edited");
    }
    atomic_store(&signal_wake, l->wake);
    interrupt_keep(l->wake);
    history(l->history, &event, H_SETSIZE, LINE_HISTORY_MAX_ENTRIES);
    history(l->history, &event, H_SETUNIQUE, 1);
    el_set(l->edit, EL_CLIENTDATA, l);
    el_set(l->edit, EL_PROMPT, prompt_of);
    el_set(l->edit, EL_HIST, history, l->history);
    el_set(l->edit, EL_SIGNAL, 0);
    el_set(l->edit, EL_GETCFN, read_character);
    bind_keys(l->edit);
    el_source(l->edit, NULL); // what the user has in ~/.editrc
    if (history_path) {
        snprintf(l->path, sizeof l->path, "%s", history_path);
        int rc = line_history_load(l->path, enter, l, e);
        if (rc) {
            line_editor_close(l);
            return rc;
        }
    }
    *out = l;
    return 0;
}

void line_editor_close(struct line_editor *l)
{
    if (!l)
        return;
    interrupt_keep(-1);
    if (l->edit)
        el_end(l->edit);
    if (l->history)
        history_end(l->history);
    if (l->wake >= 0)
        close(l->wake);
    free(l);
}

enum line_end line_editor_read(struct line_editor *l, const char *prompt, char **line)
{
    struct sigaction before[N_OURS];
    int n = 0;
    *line = NULL;
    l->prompt = prompt;
    interrupt_clear();
    take_signals(before);
    el_set(l->edit, EL_PREP_TERM, 1); // libedit would do so only behind the prompt
    tell_terminal(l, true);
    const char *text = el_gets(l->edit, &n);
    tell_terminal(l, false);
    give_signals(before);
    if (interrupt_seen()) {
        fputs("\n", stdout);
        fflush(stdout);
        l->at = l->n = 0; // what was typed ahead is given up too
        return LINE_GIVEN_UP;
    }
    if (!text || n <= 0)
        return LINE_NO_MORE;
    size_t length = strlen(text);
    *line = strndup(text, length && text[length - 1] == '\n' ? length - 1 : length);
    return *line ? LINE_WHOLE : LINE_NO_MORE;
}

void line_editor_remember(struct line_editor *l, const char *entry)
{
    enter(l, entry);
    if (*l->path)
        line_history_add(l->path, entry, NULL); // without it the conversation goes on all the same
}
