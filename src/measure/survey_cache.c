// Keeping surveys: see survey_cache.h.
//
// The files are JSON:
//
//     {"survey": 1, "products": {"Q4_K": [[rows 1, 4, 64 tokens], [lanes ..]], ..},
//      "layer": s, "token": s, "attend": s, "launch": s, "disk": bytes a second}
#include "measure/survey_cache.h"

#include "base/clock.h"
#include "base/cores.h"
#include "base/digest.h"
#include "kernels/blocks.h"
#include "measure/machine.h"
#include "measure/throttles.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FORMAT = 1, MOST_BYTES = 64 << 10 };
static const int64_t patience_ns = 10000000000;

// ---- what the figures depend on ----------------------------------------------------------------

static void add_text(struct digest_state *d, const char *text)
{
    digest_add(d, text, strlen(text) + 1);
}

static void add_number(struct digest_state *d, int64_t x)
{
    digest_add(d, &x, sizeof x);
}

static void add_ask(struct digest_state *d, const struct survey_ask *a)
{
    const int numbers[] = {a->width,    a->n_ff,         a->n_heads,           a->n_kv_heads,
                           a->head_dim, (int)a->kv_type, a->backend.n_threads, (int)a->backend.pin,
                           a->n_types};
    digest_add(d, numbers, sizeof numbers);
    if (a->n_types)
        digest_add(d, a->types, (size_t)a->n_types * sizeof *a->types);
    enum isa isa = a->backend.isa == ISA_COUNT ? isa_detect() : a->backend.isa;
    add_text(d, kernels_for(isa)->isa);
    struct stat s;
    add_number(d, a->fd >= 0 && !fstat(a->fd, &s) ? (int64_t)s.st_dev : -1);
}

void survey_path(char out[SURVEY_PATH], const struct survey_ask *a, const struct survey_keep *k)
{
    struct machine m;
    char name[2 * DIGEST_BYTES + 1], throttles[THROTTLES_BYTES];
    machine_describe(&m);
    throttles_read(throttles);
    struct digest_state *d = digest_begin();
    add_text(d, RONDO_VERSION);
    add_number(d, FORMAT);
    add_text(d, m.processor);
    add_text(d, m.system);
    add_number(d, cores_here()->n);
    add_number(d, (int64_t)(cores_here()->quota * 1000));
    add_text(d, throttles);
    add_ask(d, a);
    struct digest sum = digest_end(d);
    digest_hex(&sum, name);
    snprintf(out, SURVEY_PATH, "%s/survey-%.16s.json", k->folder, name);
}

// ---- as JSON -----------------------------------------------------------------------------------

static json_t *times_json(const double times[PLAN_WIDTHS])
{
    json_t *list = json_array();
    for (int w = 0; w < PLAN_WIDTHS; w++)
        json_array_append_new(list, json_real(times[w]));
    return list;
}

static json_t *survey_json(const struct plan_machine *m)
{
    const struct plan_speed *s = &m->cpu;
    json_t *products = json_object();
    for (uint32_t t = 0; t < PLAN_TYPES; t++)
        if (wtype_info(t) && s->product[PLAN_ROWS][t][0] > 0)
            json_object_set_new(products, wtype_info(t)->name,
                                json_pack("[o, o]", times_json(s->product[PLAN_ROWS][t]),
                                          times_json(s->product[PLAN_LANES][t])));
    return json_pack("{s:i, s:o, s:f, s:f, s:f, s:f, s:f}", "survey", (int)FORMAT, "products",
                     products, "layer", s->layer, "token", s->token, "attend", s->attend, "launch",
                     s->launch, "disk", m->disk);
}

static bool take_times(double times[PLAN_WIDTHS], const json_t *list)
{
    bool good = json_array_size(list) == PLAN_WIDTHS;
    for (size_t w = 0; w < PLAN_WIDTHS && good; w++) {
        times[w] = json_number_value(json_array_get(list, w));
        good = isfinite(times[w]) && times[w] >= 0;
    }
    return good;
}

static bool take_number(double *out, const json_t *j, const char *name)
{
    const json_t *x = json_object_get(j, name);
    *out = json_number_value(x);
    return json_is_number(x) && isfinite(*out) && *out >= 0;
}

static bool take_survey(struct plan_machine *m, json_t *j)
{
    struct plan_speed *s = &m->cpu;
    const char *name;
    json_t *product, *products = json_object_get(j, "products");
    *s = (struct plan_speed){0};
    if (json_integer_value(json_object_get(j, "survey")) != FORMAT)
        return false;
    json_object_foreach(products, name, product)
    {
        int t = wtype_from_name(name);
        if (t < 0 || t >= PLAN_TYPES ||
            !take_times(s->product[PLAN_ROWS][t], json_array_get(product, 0)) ||
            !take_times(s->product[PLAN_LANES][t], json_array_get(product, 1)))
            return false;
    }
    m->disk_group = m->net_group = m->core_group = -1;
    return take_number(&s->layer, j, "layer") && take_number(&s->token, j, "token") &&
           take_number(&s->attend, j, "attend") && take_number(&s->launch, j, "launch") &&
           take_number(&m->disk, j, "disk");
}

// Whether everything that is asked for is there.
static bool serves(const struct plan_machine *m, const struct survey_ask *a)
{
    for (int i = 0; i < a->n_types; i++)
        if (a->types[i] >= PLAN_TYPES || !(m->cpu.product[PLAN_ROWS][a->types[i]][0] > 0))
            return false;
    return true;
}

// ---- files -------------------------------------------------------------------------------------

static bool read_survey(struct plan_machine *m, const struct survey_ask *a, const char *path)
{
    static const size_t flags = JSON_REJECT_DUPLICATES;
    char text[MOST_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (fd >= 0)
        close(fd);
    json_t *j = n > 0 && n < MOST_BYTES ? json_loadb(text, (size_t)n, flags, NULL) : NULL;
    struct plan_machine found = *m;
    bool good = j && take_survey(&found, j) && serves(&found, a);
    if (good)
        *m = found;
    json_decref(j);
    return good;
}

// Complete under its name, or not at all.
static void write_survey(const struct plan_machine *m, const char *path)
{
    char temporary[SURVEY_PATH + 32];
    snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    json_t *j = survey_json(m);
    int fd = j ? open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (fd >= 0) {
        bool good = !json_dumpfd(j, fd, JSON_COMPACT | JSON_REAL_PRECISION(9));
        good = !close(fd) && good && !rename(temporary, path);
        if (!good)
            unlink(temporary);
    }
    json_decref(j);
}

// ---- one at a time -----------------------------------------------------------------------------

// Of all processes of a machine: a file that everybody may open, and nobody leaves anything in.
static int wait_for_turn(void)
{
    int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
    int64_t end = clock_ns() + patience_ns;
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) && clock_ns() < end)
        usleep(10000);
    return fd;
}

int survey_cached(struct plan_machine *out, const struct survey_ask *a, const struct survey_keep *k,
                  bool *fresh, struct err *e)
{
    char path[SURVEY_PATH] = "";
    *fresh = false;
    if (k->folder)
        survey_path(path, a, k);
    if (*path && !k->again && read_survey(out, a, path))
        return 0;
    int turn = wait_for_turn();
    // Another may have measured meanwhile.
    bool there = *path && !k->again && read_survey(out, a, path);
    int rc = there ? 0 : survey_machine(out, a, e);
    if (turn >= 0)
        close(turn);
    *fresh = !there;
    if (!rc && *fresh && *path)
        write_survey(out, path);
    return rc;
}
