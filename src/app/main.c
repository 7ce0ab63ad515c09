// rondo: finds the verb, parses its options, runs it, and says in one sentence what went wrong.
#include "app/help.h"
#include "app/options.h"
#include "app/output.h"
#include "app/verbs.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// What `rondo` itself takes, without a verb.
static const struct verb program = {
    .name = "",
    .usage = "a verb",
    .options = (const struct verb_option[]){{OPT_VERSION, NULL}, {OPT_END, NULL}},
    .max_args = 1,
};

static int complain(const struct err *e, int code)
{
    fprintf(stderr, "rondo: %s\n", e->code ? e->text : "failed");
    return -code;
}

static int unknown_verb(const char *name, struct err *e)
{
    const char *names[64];
    char quoted[64];
    int n = 0;
    for (; verbs[n] && n < 63; n++)
        names[n] = verbs[n]->name;
    names[n++] = "help";
    const char *near = options_nearest(name, names, n);
    size_t length = strlen(name);
    err_quote(quoted, sizeof quoted, name, length < sizeof quoted ? (int)length : 64);
    if (near)
        return err_set(e, ERR_USAGE, "there is no verb '%s'; did you mean 'rondo %s'?", quoted,
                       near);
    return err_set(e, ERR_USAGE, "there is no verb '%s'; 'rondo help' lists them", quoted);
}

static int help(int argc, char **argv, struct err *e)
{
    if (argc < 1 || !strcmp(argv[0], "help")) {
        help_program(stdout);
        return 0;
    }
    const struct verb *v = verb_find(argv[0]);
    if (!v)
        return unknown_verb(argv[0], e);
    help_verb(stdout, v);
    return 0;
}

static int run_verb(const struct verb *v, int argc, char **argv, struct err *e)
{
    struct options o;
    int rc = options_parse(&o, v, argc, argv, e);
    if (!rc && options_flag(&o, OPT_HELP)) {
        help_verb(stdout, v);
    } else if (!rc) {
        log_set_level((enum log_level)options_enum(&o, OPT_LOG_LEVEL));
        rc = v->run(&o, e);
    }
    options_free(&o);
    return rc;
}

// `rondo`, `rondo --help`, `rondo --version`, and what is wrong with other options in that place.
static int run_program(int argc, char **argv, struct err *e)
{
    struct options o;
    int rc = options_parse(&o, &program, argc, argv, e);
    if (!rc && options_flag(&o, OPT_VERSION) && !options_flag(&o, OPT_HELP))
        rc = run_verb(&verb_version, 0, NULL, e);
    else if (!rc)
        help_program(stdout);
    options_free(&o);
    return rc;
}

// A closed standard stream would lend its number to the next file opened. What replaces it fails
// on use, as the closed one would have.
static void keep_standard_streams(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
    struct err e = {0};
    int rc;
    keep_standard_streams();
    signal(SIGPIPE, SIG_IGN); // a reader or a peer that went away is an error of that write
    if (argc < 2 || argv[1][0] == '-') {
        rc = run_program(argc < 1 ? 0 : argc - 1, argv + 1, &e);
    } else if (!strcmp(argv[1], "help")) {
        rc = help(argc - 2, argv + 2, &e);
    } else {
        const struct verb *v = verb_find(argv[1]);
        rc = v ? run_verb(v, argc - 2, argv + 2, &e) : unknown_verb(argv[1], &e);
    }
    if (output_finish(rc ? NULL : &e) && rc == 0)
        rc = ERR_FAILED;
    return rc < 0 ? complain(&e, rc) : rc;
}
