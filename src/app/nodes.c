// rondo nodes: what the heads that run on this machine say of their rings.
#include "app/gantt.h"
#include "app/output.h"
#include "app/ring_report.h"
#include "app/status_socket.h"
#include "app/terminal.h"
#include "app/verbs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// A text of another process, safe to print.
static const char *text_of(const json_t *json, const char *key, char *out, int size)
{
    const json_t *value = json_object_get(json, key);
    return err_quote(out, size, json_is_string(value) ? json_string_value(value) : "?",
                     json_is_string(value) ? (int)json_string_length(value) : 1);
}

static int show_ring(const json_t *ring, struct err *e)
{
    const struct gantt_look look = {.columns = terminal_columns(STDOUT_FILENO),
                                    .utf8 = terminal_utf8()};
    struct node_report r;
    struct timings_trace last;
    int rc = ring_report_read(&r, &last, ring, e);
    if (!rc) {
        ring_report_map(stdout, &r);
        ring_report_times(stdout, &r);
        char *text = last.n_passes ? gantt_text(&last, last.passes, r.names, &look) : NULL;
        fputs(text ? text : "", stdout);
        free(text);
    }
    timings_trace_free(&last);
    return rc;
}

static int show_head(const json_t *head, struct err *e)
{
    char model[256], state[64], name[64];
    const json_t *member, *ring = json_object_get(head, "ring");
    size_t i;
    printf("head %lld: %s, %s; %lld workers wanted\n",
           (long long)json_integer_value(json_object_get(head, "pid")),
           text_of(head, "model", model, sizeof model), text_of(head, "state", state, sizeof state),
           (long long)json_integer_value(json_object_get(head, "workers")));
    json_array_foreach(json_object_get(head, "members"), i, member)
    {
        printf("  worker %s: ", text_of(member, "name", name, sizeof name));
        printf("%s\n", text_of(member, "state", state, sizeof state));
    }
    return ring ? show_ring(ring, e) : 0;
}

static int run(const struct options *o, struct err *e)
{
    json_t *heads;
    int rc = status_ask(&heads, e);
    if (!rc && !json_array_size(heads))
        rc = err_set(e, ERR_UNREACHABLE,
                     "no head runs on this machine; rondo run MODEL --workers N starts one");
    if (!rc && options_flag(o, OPT_JSON))
        return output_json(json_pack("{s:o}", "heads", heads), e);
    for (size_t i = 0; !rc && i < json_array_size(heads); i++) {
        if (i)
            putchar('\n');
        rc = show_head(json_array_get(heads, i), e);
    }
    json_decref(heads);
    return rc;
}

const struct verb verb_nodes = {
    .name = "nodes",
    .summary = "what the rings that this machine heads are doing",
    .usage = "",
    .text = "For each head that runs here (rondo run MODEL --workers N, of the same user): who "
            "has joined and what they are doing, which layers each node runs, how it keeps its "
            "weights, what a token costs it beside what was planned, and the last token as a "
            "chart: a line for each node, time from left to right.\n\nReceiving is drawn from when "
            "the node before has sent; what a window waited for the disk, at its beginning.",
    .options = (const struct verb_option[]){{OPT_JSON, NULL}, {OPT_END, NULL}},
    .run = run,
};
