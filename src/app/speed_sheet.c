// Surveys on the screen: see speed_sheet.h.
#include "app/speed_sheet.h"

#include "app/progress.h"
#include "app/sheet.h"
#include "cluster/identity.h"
#include "cluster/plan_model.h"
#include "kernels/kv_chunk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int speed_sheet_of(struct speed_sheet *s, const struct model *m, const struct options *o,
                   struct err *e)
{
    uint32_t types[PLAN_TYPES];
    char folder[IDENTITY_PATH];
    struct err unkept = {0};
    struct survey_ask ask;
    struct plan_model *p = malloc(sizeof *p);
    const struct gguf *g = model_gguf(m);
    int isa = options_enum(o, OPT_ISA), threads = (int)options_int(o, OPT_THREADS);
    if (!p)
        return err_set(e, ERR_NO_MEMORY, "no memory for the model's numbers");
    s->kv_type = (enum kv_type)options_enum(o, OPT_KV);
    s->width = model_hparams(m)->n_embd;
    int rc = plan_model_of(
        p, m, &(struct plan_model_options){.kv_type = s->kv_type, .n_threads = threads}, e);
    if (!rc) {
        plan_model_survey(&ask, types, p, model_hparams(m), s->kv_type);
        ask.backend = (struct backend_options){
            .n_threads = threads,
            .pin = (enum pin)options_enum(o, OPT_PIN),
            .isa = isa < ISA_COUNT ? (enum isa)isa : ISA_COUNT,
        };
        for (int i = 0; i < gguf_n_parts(g); i++)
            if (gguf_part_size(g, i) > ask.size) {
                ask.size = gguf_part_size(g, i);
                ask.fd = gguf_part_fd(g, i);
            }
        bool kept = !identity_folder(folder, &unkept);
        struct survey_keep keep = {.folder = kept ? folder : NULL,
                                   .again = options_flag(o, OPT_AGAIN)};
        rc = survey_cached(&s->machine, &ask, &keep, &s->fresh, e);
        s->known = !rc;
    }
    free(p);
    return rc;
}

int speed_sheet_take(struct speed_sheet *s, const char *path, const struct options *o,
                     struct err *e)
{
    struct err why = {0};
    struct gguf *g = NULL;
    struct model *m = NULL;
    int rc = 0;
    *s = (struct speed_sheet){0};
    if (gguf_open(&g, path, &why) || model_open(&m, g, &why))
        snprintf(s->why, sizeof s->why, "%s", why.text);
    else
        rc = speed_sheet_of(s, m, o, e);
    model_free(m);
    gguf_free(g);
    return rc;
}

// ---- for people --------------------------------------------------------------------------------

static void add_rate(struct sheet *s, double seconds)
{
    if (seconds > 0)
        sheet_add(s, "%.2f", 1e-9 / seconds);
    else
        sheet_add(s, "%s", "");
}

// How many tokens together take the time of one.
static void add_gain(struct sheet *s, const double *times, int width)
{
    if (times[0] > 0 && times[width] > 0)
        sheet_add(s, "%.1f", times[0] * plan_widths[width] / times[width]);
    else
        sheet_add(s, "%s", "");
}

static void print_products(const struct plan_speed *speed)
{
    static const char *const titles[] = {"weights", "form", "GB/s", "4 at once", "64 at once"};
    static const char *const forms[PLAN_FORMS] = {[PLAN_ROWS] = "rows", [PLAN_LANES] = "lanes"};
    static const bool right[] = {false, false, true, true, true};
    struct sheet s;
    sheet_init(&s, titles, right, 5);
    for (uint32_t t = 0; t < PLAN_TYPES; t++)
        for (int f = 0; f < PLAN_FORMS; f++) {
            const double *times = speed->product[f][t];
            if (!(times[0] > 0))
                continue;
            sheet_add(&s, "%s", f == PLAN_ROWS ? wtype_info(t)->name : "");
            sheet_add(&s, "%s", forms[f]);
            add_rate(&s, times[0]);
            add_gain(&s, times, 1);
            add_gain(&s, times, 2);
        }
    sheet_print_columns(&s);
    sheet_fini(&s);
}

void speed_sheet_print(const struct speed_sheet *s)
{
    const struct plan_speed *speed = &s->machine.cpu;
    if (!s->known) {
        printf("\nmodel       %s\n", s->why);
        return;
    }
    printf("\nmodel       what a plan is made with, %s\n\n",
           s->fresh ? "measured now" : "as it was measured before (--again measures)");
    print_products(speed);
    printf("\nGB/s of weights with one token; at once: times as many tokens a second\n");
    printf("attention   %.2f GB/s of keys and values in %s\n", 1e-9 / speed->attend,
           kv_type_name(s->kv_type));
    printf("a layer     %.1f us beside these, %.1f us for each further token of a prompt\n",
           speed->layer * 1e6, speed->token * 1e6);
    if (s->machine.disk > 0)
        printf("streaming   %.2f GB/s\n", s->machine.disk / 1e9);
}

// ---- for machines ------------------------------------------------------------------------------

static json_t *times_json(const double *times)
{
    return json_pack("[f, f, f]", times[0], times[1], times[2]);
}

json_t *speed_sheet_json(const struct speed_sheet *s)
{
    const struct plan_speed *speed = &s->machine.cpu;
    json_t *products = json_object();
    if (!s->known) {
        json_decref(products);
        return json_null();
    }
    for (uint32_t t = 0; t < PLAN_TYPES; t++) {
        if (!(speed->product[PLAN_ROWS][t][0] > 0))
            continue;
        json_t *forms = json_pack("{s:o}", "rows", times_json(speed->product[PLAN_ROWS][t]));
        if (speed->product[PLAN_LANES][t][0] > 0)
            json_object_set_new(forms, "lanes", times_json(speed->product[PLAN_LANES][t]));
        json_object_set_new(products, wtype_info(t)->name, forms);
    }
    return json_pack("{s:b, s:o, s:f, s:f, s:f, s:f, s:f}", "fresh", (int)s->fresh,
                     "product_s_per_byte", products, "attend_s_per_byte", speed->attend, "layer_s",
                     speed->layer, "token_s", speed->token, "launch_s", speed->launch,
                     "stream_bytes_per_s", s->machine.disk);
}
