// The feed-forward block: x += down(silu(gate n(x)) * (up n(x))).
#include "model/arch.h"

void block_ffn(struct forward *f, const struct layer *y)
{
    const struct hparams *h = f->h;
    struct list *l = f->list;
    int n = f->rows->n;

    op_rms_norm(l, f->norm, f->x, &y->ffn_norm, n, h->rms_eps);
    op_matmul(l, f->gate, f->norm, &y->gate, n);
    op_matmul(l, f->up, f->norm, &y->up, n);
    op_glu(l, f->gate, f->gate, f->up, GLU_SILU, h->n_ff, n);
    op_matmul(l, f->back, f->gate, &y->down, n);
    op_add(l, f->x, f->x, f->back, h->n_embd, n);
}
