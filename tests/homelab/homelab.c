// A home in a box: several machines with little memory, shares of processors and slow links, made
// of network namespaces and control groups on this one. Each verb is one function.
//
//     homelab up HOME [OPTION...] -- COMMAND...     runs COMMAND on the head of the home
//     homelab in NODE COMMAND...                    within it: runs COMMAND on that node
//     homelab run HOME MODEL [OPTION...]            a ring of rondo, and what it took
//     homelab clean                                 removes what killed homes have left
#include "homelab/house.h"
#include "homelab/trial.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] =
    "homelab: a home in a box, of network namespaces and control groups; needs root\n"
    "\n"
    "Usage: homelab up HOME [OPTION...] -- COMMAND [ARGUMENT...]\n"
    "       homelab run HOME MODEL [OPTION...] [OPTION OF rondo run...]\n"
    "       homelab in NODE COMMAND [ARGUMENT...]\n"
    "       homelab clean\n"
    "\n"
    "HOME is a description file; tests/homelab/home.h says what may be in it, and homes/\n"
    "has some. up runs COMMAND on the head, which is the first node, and ends the whole\n"
    "home after it. In its arguments {NAME} is the address of that node, {ip} that of the\n"
    "node it runs on and {model} the node's file; the environment says the same in\n"
    "HOMELAB_NODE, HOMELAB_NODES, HOMELAB_IP and HOMELAB_MODEL. in, within such a command,\n"
    "runs another one on another node. run starts a ring with rondo join on every worker\n"
    "and prints what one answer took. What a killed home has left is removed by the next\n"
    "one, or by clean.\n"
    "\n"
    "Options (in brackets what is taken without them):\n"
    "  --copies DIR         folder for the nodes' own copies of the model (/var/tmp)\n"
    "  --state DIR          folder that keeps what nodes remember for the next time;\n"
    "                       without it they are new each time\n"
    "  --model MODEL        up: the model that nodes get\n"
    "  --exec RONDO         run: the program (rondo)\n"
    "  --prompt TEXT        run: the prompt\n"
    "  --prompt-tokens N    run: a prompt of about that many tokens (38)\n"
    "  --join OPTION        run: an option of rondo join for all workers, one word each\n"
    "  --limit SECONDS      run: how long it may take (600)\n"
    "  --keep-logs DIR      run: folder that keeps what the nodes said\n"
    "  --json               run: print JSON\n";

struct call {
    struct house_plan plan;
    struct trial trial;
    int prompt_tokens;
    char **command;
};

static int say(const struct err *e)
{
    fprintf(stderr, "homelab: %s\n", e->text);
    return -e->code;
}

// ---- options -----------------------------------------------------------------------------------

static int read_count(const char *name, const char *text, int *out, struct err *e)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (end == text || *end || n < 1 || n > 1000000)
        return err_set(e, ERR_USAGE, "%s wants a number from 1, not '%s'", name, text);
    *out = (int)n;
    return 0;
}

// 1: the option is one with this name and takes `value`; 0: another one.
static int take_option(struct call *c, const char *name, const char *value, struct err *e)
{
    struct trial *t = &c->trial;
    int seconds, rc;
    const struct {
        const char *name, **place;
    } texts[] = {{"--copies", &c->plan.copies},
                 {"--state", &c->plan.states},
                 {"--exec", &t->rondo},
                 {"--keep-logs", &t->logs},
                 {"--model", &c->plan.model}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!strcmp(name, texts[i].name)) {
            *texts[i].place = value;
            return 1;
        }
    if (!strcmp(name, "--prompt")) {
        if (strlen(value) >= sizeof t->prompt)
            return err_set(e, ERR_USAGE, "--prompt: the text is too long");
        strcpy(t->prompt, value);
    } else if (!strcmp(name, "--prompt-tokens")) {
        rc = read_count(name, value, &c->prompt_tokens, e);
        return rc ? rc : 1;
    } else if (!strcmp(name, "--limit")) {
        rc = read_count(name, value, &seconds, e);
        t->limit_ms = rc ? 0 : (int64_t)seconds * 1000;
        return rc ? rc : 1;
    } else if (!strcmp(name, "--join")) {
        if (t->n_join_options == TRIAL_MAX_OPTIONS)
            return err_set(e, ERR_USAGE, "too many options for rondo join");
        t->join_options[t->n_join_options++] = value;
    } else {
        return 0;
    }
    return 1;
}

static bool is_ours(const char *name)
{
    static const char *const with_value[] = {"--copies", "--state",         "--exec",
                                             "--prompt", "--prompt-tokens", "--limit",
                                             "--join",   "--keep-logs",     "--model"};
    for (size_t i = 0; i < sizeof with_value / sizeof *with_value; i++)
        if (!strcmp(name, with_value[i]))
            return true;
    return false;
}

// What is not ours is an option of rondo run, which a trial passes on; `up` has none.
static int read_options(struct call *c, char **words, bool is_trial, struct err *e)
{
    struct trial *t = &c->trial;
    for (char **w = words; *w; w++) {
        if (!strcmp(*w, "--") && !is_trial) {
            c->command = w + 1;
            return 0;
        }
        if (is_ours(*w)) {
            if (!w[1])
                return err_set(e, ERR_USAGE, "%s wants a value", *w);
            int rc = take_option(c, *w, w[1], e);
            if (rc < 0)
                return rc;
            w++;
        } else if (is_trial && !strcmp(*w, "--json")) {
            t->json = true;
        } else if (is_trial && t->n_run_options < TRIAL_MAX_OPTIONS) {
            t->run_options[t->n_run_options++] = *w;
        } else {
            return err_set(e, ERR_USAGE, "'%s' is one too many; --help tells what there is", *w);
        }
    }
    return 0;
}

// ---- verbs -------------------------------------------------------------------------------------

static int live(struct house *h, struct call *c, int (*body)(struct house *, void *), void *arg)
{
    struct err e = {0}, removed = {0};
    int code = 0, rc = geteuid() ? 0 : house_clean(&e);
    if (rc >= 0 && !(rc = house_build(h, &c->plan, &e)))
        code = house_live(h, body, arg, &e);
    if (house_remove(h, &removed))
        code = say(&removed);
    return e.code ? say(&e) : code;
}

static int run_command(struct house *h, void *command)
{
    struct house_process p = {.command = command};
    struct err e = {0};
    pid_t pid = house_start(h, &p, &e);
    return pid < 0 ? say(&e) : house_wait(h, pid, 0);
}

static int up(struct house *h, struct call *c, char **words, struct err *e)
{
    static struct home home;
    int rc = *words ? home_read(&home, *words, e)
                    : err_set(e, ERR_USAGE, "up wants a description file; --help tells more");
    if (!rc)
        rc = read_options(c, words + 1, false, e);
    if (!rc && (!c->command || !*c->command))
        rc = err_set(e, ERR_USAGE, "up wants a command, behind --");
    if (rc)
        return say(e);
    c->plan.home = &home;
    return live(h, c, run_command, c->command);
}

static int run(struct house *h, struct call *c, char **words, struct err *e)
{
    static struct home home;
    struct trial *t = &c->trial;
    char logs[PATH_MAX];
    int rc = 0;
    if (!words[0] || !words[1])
        rc = err_set(e, ERR_USAGE, "run wants a description file and a model; --help tells more");
    if (!rc && !(rc = home_read(&home, words[0], e)))
        rc = read_options(c, words + 2, true, e);
    if (rc)
        return say(e);
    t->file = words[0];
    t->model = c->plan.model = words[1];
    c->plan.home = &home;
    if (t->logs && (mkdir(t->logs, 0755), !realpath(t->logs, logs)))
        rc = err_errno(e, ERR_USAGE, "%s cannot be made", t->logs);
    else if (!*t->prompt)
        rc = trial_make_prompt(t, c->prompt_tokens, e);
    if (t->logs)
        t->logs = logs;
    return rc ? say(e) : live(h, c, trial_run, t);
}

static int in(struct house *h, char **words, struct err *e)
{
    struct house_process p = {.command = words + 1};
    int rc = 0;
    if (!words[0] || !words[1])
        rc = err_set(e, ERR_USAGE, "in wants a node and a command; --help tells more");
    if (rc || (rc = house_load(h, e)))
        return say(e);
    p.node = home_find(&h->home, words[0]);
    if (p.node < 0)
        err_set(e, ERR_USAGE, "there is no node %s in this home", words[0]);
    else
        house_become(h, &p, e);
    return say(e);
}

static int clean(struct err *e)
{
    int n = house_clean(e);
    if (n < 0)
        return say(e);
    printf("%d dead home%s removed\n", n, n == 1 ? "" : "s");
    return 0;
}

int main(int argc, char **argv)
{
    static struct house house;
    static struct call call = {.plan = {.copies = "/var/tmp"},
                               .prompt_tokens = 38,
                               .trial = {.rondo = "rondo", .limit_ms = 600000}};
    struct err e = {0};
    const char *verb = argc > 1 ? argv[1] : "";
    if (!strcmp(verb, "up"))
        return up(&house, &call, argv + 2, &e);
    if (!strcmp(verb, "run"))
        return run(&house, &call, argv + 2, &e);
    if (!strcmp(verb, "in"))
        return in(&house, argv + 2, &e);
    if (!strcmp(verb, "clean"))
        return clean(&e);
    bool asked = !strcmp(verb, "--help") || !strcmp(verb, "-h") || !strcmp(verb, "help");
    fputs(help, asked ? stdout : stderr);
    return asked ? 0 : -ERR_USAGE;
}
