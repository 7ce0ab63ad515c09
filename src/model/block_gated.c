// The feed-forward network: out = down(glu(gate norm, up norm)).
#include "model/tensors.h"

#include <stdio.h>

// `suffix` names one of several networks of a layer: "_shexp". Where there is no gate, Phi-3's way,
// it is the first half of the rows of `up`.
void gated_find(struct tensors *t, struct gated *out, int n_ff, const char *suffix)
{
    int n_embd = t->h->n_embd;
    char gate[32], up[32], down[32];
    snprintf(gate, sizeof gate, "ffn_gate%s.weight", suffix);
    snprintf(up, sizeof up, "ffn_up%s.weight", suffix);
    snprintf(down, sizeof down, "ffn_down%s.weight", suffix);
    if (t->arch->fused) {
        struct weight both = {0};
        tensors_matrix(t, &both, up, n_embd, 2 * n_ff);
        out->gate = tensors_rows(t, &both, 0, n_ff);
        out->up = tensors_rows(t, &both, n_ff, n_ff);
    } else {
        tensors_matrix(t, &out->gate, gate, n_embd, n_ff);
        tensors_matrix(t, &out->up, up, n_embd, n_ff);
    }
    tensors_matrix(t, &out->down, down, n_ff, n_embd);
}

void gated_record(struct forward *f, const struct gated *g, int n_ff, struct buf *out)
{
    const struct buffers *b = &f->b;
    struct list *l = f->list;
    int n = f->rows->n;
    op_matmul(l, b->gate, b->norm, &g->gate, n);
    op_matmul(l, b->up, b->norm, &g->up, n);
    op_glu(l, b->gate, b->gate, b->up, f->h->glu, n_ff, n);
    op_matmul(l, out, b->gate, &g->down, n);
}
