// A verb run inside the test: see verb_output.h.
#include "verb_output.h"

#include "support.h"

#include <stdio.h>
#include <unistd.h>

char *verb_output(const struct verb *v, int argc, char **argv, int *rc, struct err *e)
{
    struct options o;
    const char *path = test_file("stdout");
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    assert_non_null(freopen(path, "w", stdout));
    *rc = options_parse(&o, v, argc, argv, e);
    if (!*rc)
        *rc = v->run(&o, e);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    options_free(&o);
    return (char *)test_read(path, NULL);
}
