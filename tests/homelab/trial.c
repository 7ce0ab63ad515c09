// Runs a ring in a home (trial.h). The head comes first, because workers need its token.
#include "homelab/trial.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_ARGUMENTS = 2 * TRIAL_MAX_OPTIONS, POLL_MS = 10, END_MS = 5000, PORT = 7700 };

#define SENTENCE                                                                               \
    "Once upon a time there was a rabbit who had an umbrella, and when the rain came it went " \
    "out to see who else was in the garden. "

struct arguments {
    char *list[MAX_ARGUMENTS + 1];
    int n;
};

static void add(struct arguments *a, const char *argument)
{
    if (a->n < MAX_ARGUMENTS)
        a->list[a->n++] = (char *)(uintptr_t)argument;
    a->list[a->n] = NULL;
}

// ---- the prompt --------------------------------------------------------------------------------

// What a command prints, at most `size` - 1 bytes of it.
static int capture(const struct arguments *a, char *out, size_t size, struct err *e)
{
    int ends[2], status = -1;
    size_t n = 0;
    if (pipe(ends))
        return err_errno(e, ERR_FAILED, "no pipe");
    pid_t pid = fork();
    if (!pid) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execvp(a->list[0], a->list);
        fprintf(stderr, "homelab: %s cannot be run: %s\n", a->list[0], strerror(errno));
        _exit(127);
    }
    close(ends[1]);
    for (ssize_t got; pid > 0 && n < size - 1; n += (size_t)got)
        if ((got = read(ends[0], out + n, size - 1 - n)) <= 0)
            break;
    out[n] = 0;
    close(ends[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
        return err_set(e, ERR_FAILED, "%s could not say how many tokens a text has", a->list[0]);
    return 0;
}

static int tokenize(const struct trial *t, const char *option, const char *text, char *out,
                    size_t size, struct err *e)
{
    struct arguments a = {0};
    add(&a, t->rondo);
    add(&a, "tokenize");
    add(&a, t->model);
    add(&a, option);
    add(&a, text);
    return capture(&a, out, size, e);
}

// Where the first `n` numbers of a text of numbers end.
static size_t end_of_numbers(const char *text, int n)
{
    const char *p = text;
    for (; n > 0 && *p; n--) {
        p += strspn(p, " \n");
        p += strcspn(p, " \n");
    }
    return (size_t)(p - text);
}

int trial_make_prompt(struct trial *t, int tokens, struct err *e)
{
    static char ids[8 * TRIAL_PROMPT_BYTES];
    const size_t length = strlen(SENTENCE);
    if (tokens < 1 || tokens > TRIAL_PROMPT_BYTES / 16)
        return err_set(e, ERR_USAGE, "--prompt-tokens wants 1 to %d", TRIAL_PROMPT_BYTES / 16);
    for (size_t i = 0; i + length < sizeof t->prompt && i < (size_t)tokens * 12 + length;
         i += length)
        memcpy(t->prompt + i, SENTENCE, length + 1);
    int rc = tokenize(t, "--ids", t->prompt, ids, sizeof ids, e);
    if (rc)
        return rc;
    ids[end_of_numbers(ids, tokens)] = 0;
    return tokenize(t, "--decode", ids, t->prompt, sizeof t->prompt, e);
}

// ---- the ring ----------------------------------------------------------------------------------

struct ring {
    pid_t pids[HOME_MAX_NODES];
    char token[HOUSE_PATH_BYTES + 8], token_text[4096];
    char out[HOME_MAX_NODES][HOUSE_PATH_BYTES + 40], log[HOME_MAX_NODES][HOUSE_PATH_BYTES + 40];
};

static int start(struct house *h, struct ring *r, int node, struct arguments *a, struct err *e)
{
    struct house_process p = {
        .node = node, .command = a->list, .out = r->out[node], .log = r->log[node]};
    r->pids[node] = house_start(h, &p, e);
    return r->pids[node] > 0 ? 0 : ERR_FAILED;
}

static int start_head(struct house *h, const struct trial *t, struct ring *r, struct err *e)
{
    struct arguments a = {0};
    char workers[16], threads[16], listen[16];
    snprintf(workers, sizeof workers, "%d", h->home.n_nodes - 1);
    snprintf(threads, sizeof threads, "%d", h->home.nodes[0].threads);
    snprintf(listen, sizeof listen, ":%d", PORT);
    add(&a, t->rondo);
    add(&a, "run");
    add(&a, h->models[0]);
    add(&a, t->prompt);
    const char *const fixed[] = {"--raw", "--json", "--temp", "0", "-t", threads, NULL};
    const char *const ring[] = {
        "--workers", workers, "--name", h->home.nodes[0].name, "--token-file", r->token,
        "--listen",  listen,  NULL};
    for (int i = 0; fixed[i]; i++)
        add(&a, fixed[i]);
    for (int i = 0; ring[i] && h->home.n_nodes > 1; i++)
        add(&a, ring[i]);
    for (int i = 0; i < t->n_run_options; i++)
        add(&a, t->run_options[i]);
    return start(h, r, 0, &a, e);
}

static int start_worker(struct house *h, const struct trial *t, struct ring *r, int node,
                        struct err *e)
{
    struct arguments a = {0};
    char threads[16];
    snprintf(threads, sizeof threads, "%d", h->home.nodes[node].threads);
    const char *const fixed[] = {t->rondo,
                                 "join",
                                 r->token_text,
                                 "--model",
                                 h->models[node],
                                 "--name",
                                 h->home.nodes[node].name,
                                 "-t",
                                 threads,
                                 "--log-level",
                                 "info",
                                 NULL};
    for (int i = 0; fixed[i]; i++)
        add(&a, fixed[i]);
    for (int i = 0; i < t->n_join_options; i++)
        add(&a, t->join_options[i]);
    return start(h, r, node, &a, e);
}

// Whether the whole line of a token is there.
static bool read_token(struct ring *r)
{
    FILE *f = fopen(r->token, "r");
    bool whole = f && fgets(r->token_text, sizeof r->token_text, f) && strchr(r->token_text, '\n');
    if (f)
        fclose(f);
    r->token_text[strcspn(r->token_text, "\n")] = 0;
    return whole;
}

static bool has_joined(const char *log)
{
    FILE *f = fopen(log, "r");
    char line[1024];
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f))
        found = strstr(line, "joined") != NULL;
    if (f)
        fclose(f);
    return found;
}

static bool gives_layers(const struct trial *t)
{
    for (int i = 0; i < t->n_run_options; i++)
        if (!strncmp(t->run_options[i], "--layers", 8))
            return true;
    return false;
}

// All at once; with --layers one after the other, because the order of joining says whose are
// whose. `*code` is the head's exit code as soon as it has ended, -1 before.
static int start_workers(struct house *h, const struct trial *t, struct ring *r, int64_t end_ms,
                         int *code, struct err *e)
{
    while (*code < 0 && !read_token(r) && clock_ms() < end_ms)
        *code = house_wait(h, r->pids[0], POLL_MS);
    for (int i = 1; i < h->home.n_nodes && *code < 0; i++) {
        int rc = start_worker(h, t, r, i, e);
        if (rc)
            return rc;
        while (*code < 0 && gives_layers(t) && !has_joined(r->log[i]) && clock_ms() < end_ms)
            *code = house_wait(h, r->pids[0], POLL_MS);
    }
    return 0;
}

static void end_all(struct house *h, struct ring *r)
{
    for (int i = 0; i < h->home.n_nodes; i++)
        if (r->pids[i] > 0 && !kill(r->pids[i], SIGINT) && house_wait(h, r->pids[i], END_MS) < 0)
            kill(r->pids[i], SIGKILL);
}

static void show_file(const char *path)
{
    FILE *f = fopen(path, "r");
    for (int c; f && (c = fgetc(f)) != EOF;)
        fputc(c, stderr);
    if (f)
        fclose(f);
}

// Says which workers are no longer there: a head only knows that they do not answer.
static void show_dead(const struct house *h, const struct ring *r)
{
    for (int i = 1; i < h->home.n_nodes; i++) {
        struct cage_usage u;
        if (r->pids[i] <= 0 || !kill(r->pids[i], 0))
            continue;
        cage_usage(&h->cages[i], &u);
        fprintf(stderr, "homelab: %s has ended%s; it said:\n", h->home.nodes[i].name,
                u.oom_kills ? ", killed because its memory was used up" : "");
        show_file(r->log[i]);
    }
}

static void name_files(const struct house *h, const struct trial *t, struct ring *r)
{
    const char *folder = t->logs ? t->logs : h->folder;
    snprintf(r->token, sizeof r->token, "%s/token", h->folder);
    for (int i = 0; i < h->home.n_nodes; i++) {
        snprintf(r->out[i], sizeof r->out[i], "%s/%s.out", folder, h->home.nodes[i].name);
        snprintf(r->log[i], sizeof r->log[i], "%s/%s.log", folder, h->home.nodes[i].name);
    }
}

int trial_run(struct house *h, void *trial)
{
    static struct ring r;
    const struct trial *t = trial;
    struct err e = {0};
    int code = -1;
    int64_t start_ms = clock_ms(), end_ms = start_ms + t->limit_ms;
    name_files(h, t, &r);
    int rc = start_head(h, t, &r, &e);
    if (!rc)
        rc = start_workers(h, t, &r, end_ms, &code, &e);
    if (!rc && code < 0 && clock_ms() < end_ms)
        code = house_wait(h, r.pids[0], end_ms - clock_ms());
    int64_t wall_ms = clock_ms() - start_ms;
    if (!rc && code < 0)
        rc = err_set(&e, ERR_FAILED, "no answer after %lld s; --limit gives it longer",
                     (long long)(t->limit_ms / 1000));
    if (code)
        show_dead(h, &r);
    end_all(h, &r);
    if (!rc && code) {
        fprintf(stderr, "homelab: the head ended with %d and said:\n", code);
        show_file(r.log[0]);
        return code;
    }
    if (!rc)
        rc = trial_report(h, t, r.out[0], wall_ms, &e);
    if (rc)
        fprintf(stderr, "homelab: %s\n", e.text);
    return -rc;
}
