// rondo pull: gets a model, or finds it where another program has put it.
#include "app/amounts.h"
#include "app/interrupt.h"
#include "app/output.h"
#include "app/progress.h"
#include "app/verbs.h"
#include "base/clock.h"
#include "hub/download.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = NAME_URL_BYTES };

struct watch {
    struct progress line;
    enum fetch_phase phase;
    bool drawing, silent; // silent: JSON is wanted
};

static bool told(void *arg, enum fetch_phase phase, uint64_t done, uint64_t total)
{
    struct watch *w = arg;
    if (w->drawing && phase != w->phase) {
        progress_end(&w->line);
        w->drawing = false;
    }
    if (!w->drawing)
        progress_start(&w->line, phase == FETCH_MOVING ? "downloading" : "checking", "MiB");
    w->drawing = true;
    w->phase = phase;
    progress_set(&w->line, (size_t)(done >> 20), (size_t)(total >> 20));
    return !interrupt_seen();
}

static void say(void *arg, const char *sentence)
{
    const struct watch *w = arg;
    fprintf(w->silent ? stderr : stdout, "%s\n", sentence);
    fflush(stdout);
}

static void print_result(const char *name, const struct downloaded *d, int64_t ns)
{
    char size[AMOUNT_BYTES];
    double seconds = (double)ns * 1e-9;
    amount_size(size, d->size);
    if (d->here) {
        printf("%s: is on this machine already (%s, %s%s)\n%s\n", name, store_name(d->store), size,
               d->verified ? ", compared by SHA-256" : "", d->path);
        return;
    }
    printf("%s: %s", name, size);
    if (d->n_files > 1)
        printf(" in %d files", d->n_files);
    printf(", downloaded in %.1f s", seconds);
    if (seconds > 0.1)
        printf(" (%.1f MB/s)", (double)d->moved / seconds * 1e-6);
    printf("%s\n%s\n", d->verified ? ", SHA-256 as the server tells" : "", d->path);
}

static int print_json(const char *name, const struct downloaded *d, struct err *e)
{
    return output_json(json_pack("{s:s, s:s, s:I, s:i, s:b, s:b, s:s, s:I}", "name", name, "path",
                                 d->path, "bytes", (json_int_t)d->size, "files", d->n_files,
                                 "downloaded", !d->here, "verified", (int)d->verified, "store",
                                 store_name(d->store), "moved_bytes", (json_int_t)d->moved),
                       e);
}

static int run(const struct options *o, struct err *e)
{
    struct watch w = {.silent = options_flag(o, OPT_JSON)};
    struct download d = {.mirror = options_text(o, OPT_MIRROR),
                         .endpoint = getenv("HF_ENDPOINT"),
                         .token = getenv("HF_TOKEN"),
                         .n_connections = (int)options_int(o, OPT_CONNECTIONS),
                         .stall_s = (int)options_int(o, OPT_STALL),
                         .told = told,
                         .say = say,
                         .arg = &w};
    struct downloaded got;
    struct model_name n;
    char name[NAME_BYTES];
    int rc = model_name_parse(&n, options_arg(o, 0), e);
    if (rc)
        return rc;
    d.endpoint = d.endpoint && *d.endpoint ? d.endpoint : NULL;
    d.token = d.token && *d.token ? d.token : NULL;
    model_name_text(&n, name, sizeof name);
    interrupt_catch();
    int64_t start = clock_ns();
    rc = download_model(&d, &n, &got, e);
    if (w.drawing)
        progress_end(&w.line);
    if (rc && interrupt_seen()) {
        fprintf(stderr, "rondo: interrupted; what came is kept, the same command goes on\n");
        return INTERRUPT_EXIT_CODE;
    }
    if (rc)
        return rc;
    if (w.silent)
        return print_json(name, &got, e);
    print_result(name, &got, clock_ns() - start);
    return 0;
}

const struct verb verb_pull = {
    .name = "pull",
    .summary = "get a model from Hugging Face or a URL",
    .usage = "NAME",
    .text = "NAME is hf:OWNER/REPO, a repository of GGUF files; hf:OWNER/REPO:Q8_0 in this "
            "quantization, " QUANT_DEFAULT " or the next best without; hf:OWNER/REPO/FILE.gguf; or "
            "the URL of a .gguf file. A model in several files comes whole.\n\nWhat Hugging Face's "
            "programs, llama.cpp, LM Studio or Ollama have on this machine already is used where "
            "it lies. Downloads go to $XDG_CACHE_HOME/rondo/models (~/.cache), in several "
            "connections; after a break, Ctrl-C too (exit code 130), the same command goes on. A "
            "file has its name when it is complete and its SHA-256 is what the hub "
            "tells.\n\nEverywhere a MODEL is wanted, NAME works afterwards; 'rondo ls' lists what "
            "is there. This is the only verb that connects to the internet.\n\nHF_TOKEN is sent "
            "to the hub and nowhere else; HF_ENDPOINT names another hub; https_proxy, http_proxy "
            "and no_proxy are honoured.",
    .options =
        (const struct verb_option[]){
            {OPT_MIRROR, NULL},
            {OPT_CONNECTIONS, "4"},
            {OPT_STALL, "30"},
            {OPT_JSON, NULL},
            {OPT_END, NULL},
        },
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
