// What a ring in a home took (trial.h), as a table or as JSON: the head's own figures, what was
// planned where the head says it, and each node's memory as its control group counted it.
#include "homelab/trial.h"

#include "app/amounts.h"
#include "app/sheet.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

enum { LAYERS_BYTES = 56 };

struct figures {
    double tpot_ms, planned_ms, prompt_ms, open_ms, ttft_ms; // 0: not known
    size_t n_prompt, n_tokens;
};

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void read_figures(const json_t *head, struct figures *f)
{
    const json_t *timings = json_object_get(head, "timings"), *ring = json_object_get(head, "ring");
    *f = (struct figures){
        .tpot_ms = number(timings, "tpot_ms"),
        .planned_ms = number(ring, "planned_token_ms"),
        .prompt_ms = number(timings, "prompt_ms"),
        .open_ms = number(timings, "open_ms"),
        .ttft_ms = number(timings, "ttft_ms"),
        .n_prompt = json_array_size(json_object_get(head, "prompt_tokens")),
        .n_tokens = json_array_size(json_object_get(head, "tokens")),
    };
}

// The head's line about a node, by its name; NULL in a home of one.
static const json_t *line_of(const json_t *head, const char *name)
{
    const json_t *nodes = json_object_get(json_object_get(head, "ring"), "nodes");
    size_t i;
    json_t *line;
    json_array_foreach(nodes, i, line)
    {
        const char *its = json_string_value(json_object_get(line, "name"));
        if (its && !strcmp(its, name))
            return line;
    }
    return NULL;
}

// "0-3 8", the last ones included; where that is too long it ends in "..."
static void list_layers(const json_t *line, char out[LAYERS_BYTES])
{
    const json_t *windows = json_object_get(line, "windows");
    size_t i, used = 0;
    json_t *w;
    *out = 0;
    json_array_foreach(windows, i, w)
    {
        int first = (int)json_integer_value(json_array_get(w, 0));
        int end = (int)json_integer_value(json_array_get(w, 1));
        char text[32] = "";
        if (end > first + 1)
            snprintf(text, sizeof text, "%d-%d ", first, end - 1);
        else if (end > first)
            snprintf(text, sizeof text, "%d ", first);
        if (used + strlen(text) + 4 > LAYERS_BYTES) {
            strcpy(out + used, "...");
            return;
        }
        strcpy(out + used, text);
        used += strlen(text);
    }
}

static void add_size(struct sheet *s, uint64_t bytes)
{
    char text[AMOUNT_BYTES];
    amount_size(text, bytes);
    sheet_add(s, "%s", bytes ? text : "");
}

static void add_ms(struct sheet *s, const json_t *times, const char *key)
{
    char text[32] = "";
    if (times)
        snprintf(text, sizeof text, "%.1f", number(times, key));
    sheet_add(s, "%s", text);
}

static void print_table(const struct house *h, const json_t *head)
{
    static const char *const titles[] = {"node",       "memory",   "peak",     "hits",
                                         "kills",      "layers",   "resident", "from disk",
                                         "ms a token", "disk wait"};
    static const bool right[] = {false, true, true, true, true, false, true, true, true, true};
    struct sheet s;
    sheet_init(&s, titles, right, 10);
    for (int i = 0; i < h->home.n_nodes; i++) {
        const struct home_node *n = &h->home.nodes[i];
        const json_t *line = line_of(head, n->name), *token = json_object_get(line, "token");
        struct cage_usage u;
        char layers[LAYERS_BYTES];
        cage_usage(&h->cages[i], &u);
        list_layers(line, layers);
        sheet_add(&s, "%s%s", n->name, i ? "" : " (head)");
        add_size(&s, n->memory_bytes);
        add_size(&s, u.peak_bytes);
        sheet_add(&s, "%" PRIu64, u.limit_hits);
        sheet_add(&s, "%" PRIu64, u.oom_kills);
        sheet_add(&s, "%s", layers);
        add_size(&s, (uint64_t)number(line, "resident_bytes"));
        add_size(&s, (uint64_t)number(line, "streamed_bytes"));
        add_ms(&s, token, "compute_ms");
        add_ms(&s, token, "disk_wait_ms");
    }
    sheet_print_columns(&s);
    sheet_fini(&s);
}

static void print_text(const struct house *h, const struct trial *t, const json_t *head,
                       const struct figures *f, int64_t wall_ms)
{
    printf("%s, %s: %zu tokens of prompt, %zu generated\n", t->file, t->model, f->n_prompt,
           f->n_tokens);
    printf("a token                %9.1f ms", f->tpot_ms);
    if (f->planned_ms > 0)
        printf("   planned %.1f ms (%+.0f %%)", f->planned_ms,
               100 * (f->tpot_ms / f->planned_ms - 1));
    printf("\nprompt                 %9.1f ms\n", f->prompt_ms);
    printf("start to first token   %9.1f ms   %.1f ms of it until the ring stood\n",
           f->open_ms + f->ttft_ms, f->open_ms);
    printf("all of it              %9.1f ms\n", (double)wall_ms);
    print_table(h, head);
}

static int print_json(const struct house *h, const struct trial *t, json_t *head,
                      const struct figures *f, int64_t wall_ms)
{
    json_t *nodes = json_array();
    for (int i = 0; i < h->home.n_nodes; i++) {
        const struct home_node *n = &h->home.nodes[i];
        struct cage_usage u;
        cage_usage(&h->cages[i], &u);
        json_array_append_new(nodes, json_pack("{s:s, s:I, s:I, s:I, s:I}", "name", n->name,
                                               "memory_limit_bytes", (json_int_t)n->memory_bytes,
                                               "peak_bytes", (json_int_t)u.peak_bytes, "limit_hits",
                                               (json_int_t)u.limit_hits, "oom_kills",
                                               (json_int_t)u.oom_kills));
    }
    json_t *all =
        json_pack("{s:s, s:s, s:I, s:I, s:f, s:o, s:f, s:f, s:I, s:o, s:O}", "home", t->file,
                  "model", t->model, "prompt_tokens", (json_int_t)f->n_prompt, "generated",
                  (json_int_t)f->n_tokens, "tpot_ms", f->tpot_ms, "planned_tpot_ms",
                  f->planned_ms > 0 ? json_real(f->planned_ms) : json_null(), "prompt_ms",
                  f->prompt_ms, "start_to_first_token_ms", f->open_ms + f->ttft_ms, "wall_ms",
                  (json_int_t)wall_ms, "nodes", nodes, "head", head);
    int rc = all ? json_dumpf(all, stdout, JSON_COMPACT) : -1;
    putchar('\n');
    json_decref(all);
    return rc;
}

int trial_report(const struct house *h, const struct trial *t, const char *json_file,
                 int64_t wall_ms, struct err *e)
{
    json_error_t where;
    struct figures f;
    json_t *head = json_load_file(json_file, 0, &where);
    int rc = 0;
    if (!head)
        return err_set(e, ERR_FAILED, "what the head printed is no JSON: %s", where.text);
    read_figures(head, &f);
    if (!t->json)
        print_text(h, t, head, &f, wall_ms);
    else if (print_json(h, t, head, &f, wall_ms))
        rc = err_set(e, ERR_NO_MEMORY, "no memory for the report");
    json_decref(head);
    return rc;
}
