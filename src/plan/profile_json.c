// Profiles as JSON and back: see profile_json.h.
#include "plan/profile_json.h"

#include "kernels/blocks.h"
#include "plan/json_fields.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)PLAN_TYPES == (int)WT_COUNT, "weight types of a profile");

static const char *const forms[PLAN_FORMS] = {"rows", "lanes"};
static const char *const width_names[PLAN_WIDTHS + 1] = {"1", "4", "64", NULL};
static const double most_rate = 1e15, most_us = 1e9;

// ---- writing -----------------------------------------------------------------------------------

static void put_inverse(json_t *to, const char *name, double x)
{
    if (x > 0)
        json_object_set_new(to, name, fields_make_number(1 / x));
}

static void put_us(json_t *to, const char *name, double seconds)
{
    json_object_set_new(to, name, fields_make_number(seconds * 1e6));
}

static json_t *make_products(const struct plan_speed *s)
{
    json_t *types = json_object();
    for (uint32_t t = 0; t < PLAN_TYPES; t++) {
        const struct wtype_info *info = wtype_info(t);
        json_t *type = json_object();
        for (int f = 0; f < PLAN_FORMS && info; f++) {
            json_t *form = json_object();
            for (int w = 0; w < PLAN_WIDTHS; w++)
                put_inverse(form, width_names[w], s->product[f][t][w]);
            if (json_object_size(form))
                json_object_set(type, forms[f], form);
            json_decref(form);
        }
        if (json_object_size(type))
            json_object_set(types, info->name, type);
        json_decref(type);
    }
    return types;
}

static json_t *make_speed(const struct plan_speed *s)
{
    json_t *j = json_object();
    json_object_set_new(j, "weights_bytes_per_s", make_products(s));
    put_us(j, "layer_us", s->layer);
    put_us(j, "token_us", s->token);
    put_inverse(j, "attention_bytes_per_s", s->attend);
    put_us(j, "window_us", s->launch);
    return j;
}

json_t *profile_json_machine(const struct plan_machine *m)
{
    json_t *j = json_pack("{s:s, s:I, s:I}", "name", m->name, "memory_bytes", (json_int_t)m->memory,
                          "base_bytes", (json_int_t)m->base);
    if (!j)
        return NULL;
    json_object_set_new(j, "disk_bytes_per_s", fields_make_number(m->disk));
    json_object_set_new(j, "cpu", make_speed(&m->cpu));
    if (!m->vram)
        return j;
    json_object_set_new(j, "vram_bytes", json_integer((json_int_t)m->vram));
    json_object_set_new(j, "gpu", make_speed(&m->gpu));
    json_object_set_new(j, "copy_bytes_per_s", fields_make_number(m->copy));
    return j;
}

static json_t *make_way(const struct plan_link *l)
{
    json_t *j = json_object();
    put_us(j, "latency_us", l->latency);
    json_object_set_new(j, "bytes_per_s", fields_make_number(l->rate));
    return j;
}

// Ways that are the same in both directions are written once.
static json_t *make_links(const struct plan_cluster *c)
{
    json_t *list = json_array();
    for (int i = 0; i < c->n; i++)
        for (int j = i + 1; j < c->n; j++) {
            const struct plan_link *there = &c->links[i][j], *back = &c->links[j][i];
            const char *a = c->machines[i].name, *b = c->machines[j].name;
            bool same = there->latency == back->latency && there->rate == back->rate;
            json_t *way = make_way(there);
            json_object_set_new(way, same ? "between" : "from_to", json_pack("[ss]", a, b));
            json_array_append_new(list, way);
            if (same)
                continue;
            way = make_way(back);
            json_object_set_new(way, "from_to", json_pack("[ss]", b, a));
            json_array_append_new(list, way);
        }
    return list;
}

static int *group_of(struct plan_machine *m, int kind)
{
    return kind == 0 ? &m->disk_group : kind == 1 ? &m->net_group : &m->core_group;
}

static double *rates_of(struct plan_cluster *c, int kind)
{
    return kind == 0 ? c->disk_rates : kind == 1 ? c->net_rates : NULL;
}

enum { GROUP_KINDS = 3 };
static const char *const group_names[GROUP_KINDS] = {"disk_groups", "network_groups",
                                                     "processor_groups"};

static json_t *make_groups(struct plan_cluster *c, int kind)
{
    json_t *list = json_array();
    for (int g = 0; g < PLAN_GROUPS; g++) {
        json_t *names = json_array();
        for (int i = 0; i < c->n; i++)
            if (*group_of(&c->machines[i], kind) == g)
                json_array_append_new(names, json_string(c->machines[i].name));
        if (json_array_size(names)) {
            json_t *group = json_pack("{s:O}", "machines", names);
            if (rates_of(c, kind))
                json_object_set_new(group, "bytes_per_s", fields_make_number(rates_of(c, kind)[g]));
            json_array_append_new(list, group);
        }
        json_decref(names);
    }
    return list;
}

json_t *profile_json_cluster(const struct plan_cluster *c)
{
    json_t *machines = json_array();
    for (int i = 0; i < c->n; i++)
        json_array_append_new(machines, profile_json_machine(&c->machines[i]));
    json_t *j = json_pack("{s:o, s:o}", "machines", machines, "links", make_links(c));
    for (int kind = 0; kind < GROUP_KINDS && j; kind++)
        json_object_set_new(j, group_names[kind], make_groups((struct plan_cluster *)c, kind));
    return j;
}

// ---- reading a machine -------------------------------------------------------------------------

static void read_form(const struct fields *form, double *times)
{
    if (!form->json || !fields_object(form, width_names))
        return;
    for (int w = 0; w < PLAN_WIDTHS; w++) {
        double rate = fields_number(form, width_names[w], 1, most_rate);
        times[w] = rate > 0 ? 1 / rate : 0;
    }
}

static void read_products(const struct fields *types, struct plan_speed *s)
{
    static const char *const names[] = {"rows", "lanes", NULL};
    const char *key;
    json_t *value;
    if (!types->json)
        return;
    if (!json_is_object(types->json)) {
        fields_refuse(types, "must be an object, in braces");
        return;
    }
    json_object_foreach((json_t *)types->json, key, value)
    {
        struct fields type = fields_in(types, key);
        int t = wtype_from_name(key);
        if (t < 0) {
            fields_refuse(&type, "is no weight type; types are called as in Q4_K or F16");
            return;
        }
        if (!fields_object(&type, names))
            return;
        memset(s->product[PLAN_ROWS][t], 0, sizeof s->product[PLAN_ROWS][t]);
        memset(s->product[PLAN_LANES][t], 0, sizeof s->product[PLAN_LANES][t]);
        for (int f = 0; f < PLAN_FORMS; f++) {
            struct fields form = fields_in(&type, forms[f]);
            read_form(&form, s->product[f][t]);
        }
    }
}

static bool has(const struct fields *f, const char *name)
{
    return json_object_get(f->json, name) != NULL;
}

static void read_us(const struct fields *f, const char *name, double *seconds)
{
    if (has(f, name))
        *seconds = fields_number(f, name, 0, most_us) / 1e6;
}

static void read_speed(const struct fields *f, struct plan_speed *s)
{
    static const char *const names[] = {"weights_bytes_per_s",   "layer_us",  "token_us",
                                        "attention_bytes_per_s", "window_us", NULL};
    if (!f->json || !fields_object(f, names))
        return;
    struct fields types = fields_in(f, "weights_bytes_per_s");
    read_products(&types, s);
    read_us(f, "layer_us", &s->layer);
    read_us(f, "token_us", &s->token);
    read_us(f, "window_us", &s->launch);
    if (has(f, "attention_bytes_per_s"))
        s->attend = 1 / fields_number(f, "attention_bytes_per_s", 1, most_rate);
}

static void read_way(const struct fields *f, struct plan_link *l)
{
    *l = (struct plan_link){0};
    if (!fields_need(f, "latency_us") || !fields_need(f, "bytes_per_s"))
        return;
    read_us(f, "latency_us", &l->latency);
    l->rate = fields_number(f, "bytes_per_s", 1, most_rate);
}

static void read_network(const struct fields *f, struct plan_link *l)
{
    static const char *const names[] = {"latency_us", "bytes_per_s", NULL};
    if (f->json && fields_object(f, names))
        read_way(f, l);
}

static bool is_measured(const struct plan_speed *s)
{
    for (int f = 0; f < PLAN_FORMS; f++)
        for (int t = 0; t < PLAN_TYPES; t++)
            for (int w = 0; w < PLAN_WIDTHS; w++)
                if (s->product[f][t][w] > 0)
                    return true;
    return false;
}

static void need_speed(const struct fields *f, const char *name, const struct plan_speed *s)
{
    struct fields at = fields_in(f, name), types = fields_in(&at, "weights_bytes_per_s");
    if (!is_measured(s))
        fields_refuse(&types, "must say how fast one weight type is at least, as {\"Q4_K\": "
                              "{\"lanes\": {\"1\": 20000000000}}}");
}

static void read_like(const struct fields *f, const struct profile_json *how,
                      struct profile_device *out)
{
    const char *name = fields_text(f, "device", PLAN_NAME);
    struct fields at = fields_in(f, "device");
    struct err why = {0};
    if (!name)
        return;
    if (!how->find)
        fields_refuse(&at, "cannot be used here; write down the machine's own numbers");
    else if (how->find(out, name, &why))
        fields_refuse(&at, "%s", why.text);
}

static void read_machine(const struct fields *f, const struct profile_json *how,
                         struct profile_device *out)
{
    static const char *const names[] = {
        "name", "device", "memory_bytes", "base_bytes",       "disk_bytes_per_s",
        "cpu",  "gpu",    "vram_bytes",   "copy_bytes_per_s", "network",
        NULL};
    struct plan_machine *m = &out->machine;
    *out = (struct profile_device){.machine.base = 24 << 20};
    if (!fields_object(f, names))
        return;
    read_like(f, how, out);
    m->disk_group = m->net_group = m->core_group = -1;
    const char *name = fields_text(f, "name", PLAN_NAME);
    if (name)
        snprintf(m->name, sizeof m->name, "%s", name);
    else if (!*m->name)
        fields_need(f, "name");
    if (has(f, "memory_bytes"))
        m->memory = fields_bytes(f, "memory_bytes");
    else if (!has(f, "device"))
        fields_need(f, "memory_bytes");
    if (has(f, "base_bytes"))
        m->base = fields_bytes(f, "base_bytes");
    if (has(f, "disk_bytes_per_s"))
        m->disk = fields_number(f, "disk_bytes_per_s", 0, most_rate);
    if (has(f, "vram_bytes"))
        m->vram = fields_bytes(f, "vram_bytes");
    if (has(f, "copy_bytes_per_s"))
        m->copy = fields_number(f, "copy_bytes_per_s", 1, most_rate);
    struct fields cpu = fields_in(f, "cpu"), gpu = fields_in(f, "gpu"),
                  network = fields_in(f, "network");
    read_speed(&cpu, &m->cpu);
    read_speed(&gpu, &m->gpu);
    read_network(&network, &out->network);
    need_speed(f, "cpu", &m->cpu);
    if (!m->vram)
        return;
    need_speed(f, "gpu", &m->gpu);
    if (!(m->copy > 0))
        fields_need(f, "copy_bytes_per_s");
}

int profile_json_read_machine(struct profile_device *out, const json_t *json,
                              const struct profile_json *how, struct err *e)
{
    struct err mine = {0};
    struct fields root = {.file = how->file, .json = json, .e = &mine};
    read_machine(&root, how, out);
    return mine.code ? err_set(e, mine.code, "%s", mine.text) : 0;
}

// ---- reading a cluster -------------------------------------------------------------------------

static int find_machine(const struct plan_cluster *c, const struct fields *name)
{
    const char *text = json_string_value(name->json);
    char quoted[PLAN_NAME];
    for (int i = 0; i < c->n && text; i++)
        if (!strcmp(c->machines[i].name, text))
            return i;
    if (text)
        fields_refuse(name, "'%s' is none of the machines",
                      err_quote(quoted, sizeof quoted, text, (int)strlen(text)));
    else
        fields_refuse(name, "must be the name of a machine");
    return -1;
}

static void read_machines(const struct fields *list, const struct profile_json *how,
                          struct plan_cluster *c, struct plan_link *network)
{
    size_t n = fields_list(list, PLAN_MAX_NODES);
    if (!n)
        fields_refuse(list, "must list one machine at least");
    for (size_t i = 0; i < n && !list->e->code; i++) {
        struct profile_device device;
        struct fields one = fields_at(list, i), name = fields_in(&one, "name");
        read_machine(&one, how, &device);
        for (int k = 0; k < c->n; k++)
            if (!strcmp(c->machines[k].name, device.machine.name))
                fields_refuse(&name, "another machine is called '%s' too", device.machine.name);
        c->machines[c->n] = device.machine;
        network[c->n++] = device.network;
    }
}

struct plan_link profile_way(const struct plan_link *from, const struct plan_link *to)
{
    return (struct plan_link){.latency = from->latency + to->latency,
                              .rate = from->rate < to->rate ? from->rate : to->rate};
}

static void read_link(const struct fields *f, struct plan_cluster *c)
{
    static const char *const names[] = {"between", "from_to", "latency_us", "bytes_per_s", NULL};
    if (!fields_object(f, names))
        return;
    bool both = has(f, "between");
    struct fields ends = fields_in(f, both ? "between" : "from_to");
    if (both == has(f, "from_to"))
        fields_refuse(f, "needs either \"between\" or \"from_to\", with the names of two machines");
    else if (fields_list(&ends, 2) != 2)
        fields_refuse(&ends, "must be the names of two machines");
    struct fields one = fields_at(&ends, 0), other = fields_at(&ends, 1);
    struct plan_link way;
    read_way(f, &way);
    if (f->e->code)
        return;
    int i = find_machine(c, &one), j = find_machine(c, &other);
    if (i < 0 || j < 0)
        return;
    c->links[i][j] = way;
    if (both)
        c->links[j][i] = way;
}

static void read_links(const struct fields *list, struct plan_cluster *c,
                       const struct plan_link *network)
{
    for (int i = 0; i < c->n; i++)
        for (int j = 0; j < c->n; j++)
            if (i != j && network[i].rate > 0 && network[j].rate > 0)
                c->links[i][j] = profile_way(&network[i], &network[j]);
    size_t n = fields_list(list, PLAN_MAX_NODES * PLAN_MAX_NODES);
    for (size_t k = 0; k < n && !list->e->code; k++) {
        struct fields one = fields_at(list, k);
        read_link(&one, c);
    }
    for (int i = 0; i < c->n && !list->e->code; i++)
        for (int j = 0; j < c->n; j++)
            if (i != j && !(c->links[i][j].rate > 0))
                fields_refuse(list,
                              "nothing describes the way from %s to %s; add {\"between\": [\"%s\", "
                              "\"%s\"], \"latency_us\": .., \"bytes_per_s\": ..}",
                              c->machines[i].name, c->machines[j].name, c->machines[i].name,
                              c->machines[j].name);
}

static void read_group(const struct fields *f, struct plan_cluster *c, int kind, int number)
{
    static const char *const rated[] = {"machines", "bytes_per_s", NULL}, *const plain[] = {
                                                                              "machines", NULL};
    double *rates = rates_of(c, kind);
    if (!fields_object(f, rates ? rated : plain) || !fields_need(f, "machines"))
        return;
    struct fields members = fields_in(f, "machines");
    size_t n = fields_list(&members, PLAN_MAX_NODES);
    for (size_t i = 0; i < n && !f->e->code; i++) {
        struct fields name = fields_at(&members, i);
        int m = find_machine(c, &name);
        if (m < 0)
            return;
        int *group = group_of(&c->machines[m], kind);
        if (*group >= 0)
            fields_refuse(&name, "%s is in another group of this kind", c->machines[m].name);
        *group = number;
    }
    if (rates && fields_need(f, "bytes_per_s"))
        rates[number] = fields_number(f, "bytes_per_s", 1, most_rate);
}

static void read_cluster(const struct fields *f, const struct profile_json *how,
                         struct plan_cluster *c, struct plan_link *network)
{
    static const char *const names[] = {
        "machines", "links", "disk_groups", "network_groups", "processor_groups", NULL};
    if (!fields_object(f, names))
        return;
    struct fields machines = fields_in(f, "machines"), links = fields_in(f, "links");
    read_machines(&machines, how, c, network);
    read_links(&links, c, network);
    for (int kind = 0; kind < GROUP_KINDS; kind++) {
        struct fields groups = fields_in(f, group_names[kind]);
        size_t n = fields_list(&groups, PLAN_GROUPS);
        for (size_t g = 0; g < n && !f->e->code; g++) {
            struct fields one = fields_at(&groups, g);
            read_group(&one, c, kind, (int)g);
        }
    }
}

int profile_json_read_cluster(struct plan_cluster *out, struct plan_link *network,
                              const json_t *json, const struct profile_json *how, struct err *e)
{
    struct err mine = {0};
    struct plan_link ways[PLAN_MAX_NODES] = {0};
    struct fields root = {.file = how->file, .json = json, .e = &mine};
    memset(out, 0, sizeof *out);
    read_cluster(&root, how, out, ways);
    if (network)
        memcpy(network, ways, sizeof ways);
    if (mine.code)
        return err_set(e, mine.code, "%s", mine.text);
    int rc = profile_check(out, &mine);
    return rc ? err_set(e, rc, "%s: %s", how->file, mine.text) : 0;
}
