// Plans from any numbers: refused with a sentence, or planned, and the plan is one.
//
//     byte 0: machines; byte 1: layers; byte 2: rounds; then numbers of 8 bytes for what fields()
//     lists, as long as there are some; what is left has values of a usual machine
#include "plan/plan.h"
#include "plan/simulate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TYPE = 12, MIB = 1 << 20 };

struct input {
    const uint8_t *data;
    size_t size;
};

static void number(struct input *in, double *x, double usual)
{
    *x = usual;
    if (in->size < sizeof *x)
        return;
    memcpy(x, in->data, sizeof *x);
    in->data += sizeof *x;
    in->size -= sizeof *x;
}

static void bytes(struct input *in, uint64_t *x, uint64_t usual)
{
    *x = usual;
    if (in->size < sizeof *x)
        return;
    memcpy(x, in->data, sizeof *x);
    in->data += sizeof *x;
    in->size -= sizeof *x;
}

static void speed(struct input *in, struct plan_speed *s)
{
    number(in, &s->product[PLAN_LANES][TYPE][0], 1e-10);
    number(in, &s->product[PLAN_ROWS][TYPE][0], 2e-10);
    number(in, &s->product[PLAN_LANES][TYPE][2], 1e-9);
    number(in, &s->layer, 1e-5);
    number(in, &s->token, 1e-6);
    number(in, &s->attend, 1e-10);
    number(in, &s->launch, 1e-5);
}

static void machine(struct input *in, struct plan_cluster *c, int i)
{
    struct plan_machine *m = &c->machines[i];
    uint64_t group;
    bytes(in, &m->memory, 300 * MIB);
    number(in, &m->disk, 1e9);
    bytes(in, &m->base, 10 * MIB);
    bytes(in, &m->vram, 0);
    speed(in, &m->cpu);
    speed(in, &m->gpu);
    number(in, &m->copy, 1e10);
    bytes(in, &group, UINT64_MAX);
    m->disk_group = m->net_group = m->core_group = (int)group;
    for (int j = 0; j < c->n; j++) {
        number(in, &c->links[i][j].latency, 1e-4);
        number(in, &c->links[i][j].rate, 1e8);
    }
}

static void layer(struct input *in, struct plan_layer *l)
{
    uint64_t kinds, used;
    bytes(in, &l->bytes, 100 * MIB);
    bytes(in, &kinds, 0);
    bytes(in, &used, 0);
    l->stacks[0] = (struct plan_stack){TYPE, l->bytes, (int)kinds, (int)used};
    l->n_stacks = 1;
    bytes(in, &l->kv_bytes, 1024);
}

static void simulate_plan(const struct plan *p, const struct plan_cluster *c,
                          const struct plan_model *m, const struct plan_ask *a)
{
    const struct simulate_options o = {.tokens = 12, .parts = 16};
    struct simulated s;
    for (int i = 0; i < p->n_nodes; i++) // all its parts take their time
        if (p->nodes[i].streamed / 200 > p->nodes[i].slots)
            return;
    struct err e = {0};
    if (simulate(&s, p, c, m, a, &o, &e) ? !e.code : !(s.tpot >= 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct plan_cluster c;
    static struct plan_model m;
    static struct plan p;
    struct err e = {0};
    if (size < 3)
        return 0;
    struct input in = {data + 3, size - 3};
    memset(&c, 0, sizeof c);
    memset(&m, 0, sizeof m);
    c.n = data[0] % 4;
    m.n_layers = data[1] % 6;
    struct plan_ask a = {.context = 128, .rounds = data[2] % 4, .users = data[2] / 128 + 1};
    for (int g = 0; g < PLAN_GROUPS; g++)
        c.disk_rates[g] = c.net_rates[g] = 1e8;
    for (int i = 0; i < c.n; i++)
        machine(&in, &c, i);
    m.width = 256;
    bytes(&in, &m.slots_least, MIB);
    bytes(&in, &m.computing, MIB);
    m.computing_head = m.computing;
    for (int i = 0; i < m.n_layers; i++)
        layer(&in, &m.layers[i]);
    layer(&in, &m.output);
    if (plan_make(&p, &c, &m, &a, &e)) {
        if (!e.code || strlen(e.text) < 20)
            abort();
        return 0;
    }
    if (!(p.tpot >= 0) || p.n_nodes < 1 || p.n_nodes > c.n || windows_check(&p.table, &e))
        abort();
    simulate_plan(&p, &c, &m, &a);
    return 0;
}
