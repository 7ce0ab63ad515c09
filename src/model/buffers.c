// How wide the activations of a model are: see struct buffers.
#include "model/arch.h"

struct planner {
    struct buffer_plan *plan;
    int n;
};

static void add(struct planner *p, struct buf **out, int width)
{
    if (width)
        p->plan[p->n++] = (struct buffer_plan){out, width};
}

static void plan_mixture(struct planner *p, struct buffers *b, const struct hparams *h)
{
    const struct experts_hparams *x = &h->experts;
    add(p, &b->router, x->n);
    add(p, &b->ids, x->n_used);
    add(p, &b->weights, x->n_used);
    add(p, &b->expert_gate, x->n_used * x->n_ff);
    add(p, &b->expert_up, x->n_used * x->n_ff);
    add(p, &b->expert_out, x->n_used * h->n_embd);
    add(p, &b->shared, x->n_ff_shared ? h->n_embd : 0);
    add(p, &b->shared_gate, x->n_ff_shared ? 1 : 0);
}

static void plan_latent(struct planner *p, struct buffers *b, const struct hparams *h)
{
    const struct latent_hparams *m = &h->latent;
    bool absorbed = m->absorbed;
    add(p, &b->q_down, m->q_rank);
    add(p, &b->q_raw, h->n_heads * (m->n_plain + h->n_rot));
    add(p, &b->kv_down, m->kv_rank + h->n_rot);
    add(p, &b->latent, m->kv_rank);
    add(p, &b->k_rot, h->n_rot);
    add(p, &b->values, h->n_heads * m->n_value);
    add(p, &b->q_plain, absorbed ? h->n_heads * m->n_plain : 0);
    add(p, &b->q_latent, absorbed ? h->n_heads * m->kv_rank : 0);
    add(p, &b->head_ids, absorbed ? h->n_heads : 0);
    add(p, &b->kv_up, absorbed ? 0 : h->n_heads * (m->n_plain + m->n_value));
}

int buffers_plan(struct buffers *b, const struct hparams *h, struct buffer_plan plan[N_BUFFERS])
{
    struct planner p = {.plan = plan};
    int n_q = h->n_heads * h->head_dim, n_kv = h->n_kv_heads * h->head_dim;
    int shared = h->experts.n_ff_shared, n_ff = shared > h->n_ff ? shared : h->n_ff;
    add(&p, &b->x, h->n_embd);
    add(&p, &b->norm, h->n_embd);
    add(&p, &b->back, h->n_embd);
    add(&p, &b->q, n_q);
    add(&p, &b->heads, n_q);
    add(&p, &b->k, n_kv);
    add(&p, &b->v, n_kv);
    add(&p, &b->gate, n_ff);
    add(&p, &b->up, n_ff);
    if (h->experts.n)
        plan_mixture(&p, b, h);
    if (h->latent.kv_rank)
        plan_latent(&p, b, h);
    return p.n;
}
