// A mixture of experts: back = sum over the experts that the router chooses of weight *
// expert(norm), and of those that every token uses. An expert's matrices are pieces of their own,
// which the operations ask for once it is known who is chosen.
#include "model/tensors.h"

void mixture_find(struct tensors *t, struct mixture *out)
{
    const struct experts_hparams *x = &t->h->experts;
    int n_embd = t->h->n_embd;
    enum presence biases = t->arch->more_biases ? TENSOR_REQUIRED : TENSOR_OPTIONAL;
    tensors_matrix(t, &out->router, "ffn_gate_inp.weight", n_embd, x->n);
    tensors_vector(t, &out->router_bias, "ffn_gate_inp.bias", x->n, biases);
    tensors_vector(t, &out->choice_bias, "exp_probs_b.bias", x->n, TENSOR_OPTIONAL);
    tensors_stack(t, &out->experts.gate, "ffn_gate_exps.weight", n_embd, x->n_ff, x->n);
    tensors_stack(t, &out->experts.up, "ffn_up_exps.weight", n_embd, x->n_ff, x->n);
    tensors_stack(t, &out->experts.down, "ffn_down_exps.weight", x->n_ff, n_embd, x->n);
    tensors_table(t, &out->gate_bias, "ffn_gate_exps.bias", x->n_ff, x->n, biases);
    tensors_table(t, &out->up_bias, "ffn_up_exps.bias", x->n_ff, x->n, biases);
    tensors_table(t, &out->down_bias, "ffn_down_exps.bias", n_embd, x->n, biases);
    if (x->n_ff_shared) {
        gated_find(t, &out->shared, x->n_ff_shared, "_shexp");
        if (t->arch->gated_shared)
            tensors_matrix(t, &out->shared_gate, "ffn_gate_inp_shexp.weight", n_embd, 1);
    }
}

// The shared network's products stand beside those of the experts, so that they cost no phase of
// their own (backend/cpu/cpu.h).
static void shared_in(struct forward *f, const struct mixture *m)
{
    const struct buffers *b = &f->b;
    int n = f->rows->n;
    op_matmul(f->list, b->gate, b->norm, &m->shared.gate, n);
    op_matmul(f->list, b->up, b->norm, &m->shared.up, n);
    if (m->shared_gate.n_in)
        op_matmul(f->list, b->shared_gate, b->norm, &m->shared_gate, n);
}

static void shared_add(struct forward *f, const struct mixture *m)
{
    const struct buffers *b = &f->b;
    int n = f->rows->n;
    if (m->shared_gate.n_in)
        op_gate_rows(f->list, b->shared, b->shared_gate, f->h->n_embd, n);
    op_add(f->list, b->back, b->back, b->shared, f->h->n_embd, n);
}

static void bias(struct forward *f, struct buf *x, const struct weight *w, const struct routing *r)
{
    if (w->n_in)
        op_expert_bias(f->list, x, w, r, f->rows->n);
}

void mixture_record(struct forward *f, const struct mixture *m)
{
    const struct experts_hparams *x = &f->h->experts;
    const struct buffers *b = &f->b;
    struct list *l = f->list;
    int n = f->rows->n;
    struct routing r = {
        .ids = b->ids, .weights = b->weights, .n_experts = x->n, .n_used = x->n_used};
    struct route_how how = {
        .score = x->score,
        .normalize = x->normalize,
        .scale = x->scale,
        .n_groups = x->n_groups,
        .n_groups_used = x->n_groups_used,
        .bias = m->choice_bias.n_in ? &m->choice_bias : NULL,
    };
    op_matmul(l, b->router, b->norm, &m->router, n);
    block_bias(f, b->router, &m->router_bias);
    op_route(l, &r, b->router, &how, n);
    op_expert_matmul(l, b->expert_gate, b->norm, &m->experts.gate, &r, false, n);
    op_expert_matmul(l, b->expert_up, b->norm, &m->experts.up, &r, false, n);
    if (x->n_ff_shared)
        shared_in(f, m);
    bias(f, b->expert_gate, &m->gate_bias, &r);
    bias(f, b->expert_up, &m->up_bias, &r);
    op_glu(l, b->expert_gate, b->expert_gate, b->expert_up, f->h->glu, x->n_used * x->n_ff, n);
    if (x->n_ff_shared)
        op_glu(l, b->gate, b->gate, b->up, f->h->glu, x->n_ff_shared, n);
    op_expert_matmul(l, b->expert_out, b->expert_gate, &m->experts.down, &r, true, n);
    if (x->n_ff_shared)
        op_matmul(l, b->shared, b->gate, &m->shared.down, n);
    bias(f, b->expert_out, &m->down_bias, &r);
    op_expert_sum(l, b->back, b->expert_out, &r, f->h->n_embd, n);
    if (x->n_ff_shared)
        shared_add(f, m);
}
