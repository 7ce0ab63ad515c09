// The attention block: x += wo attend(rope(wq n(x)), rope(wk n(x)), wv n(x)).
#include "model/arch.h"

#include <math.h>

static void add_bias(struct forward *f, struct buf *x, const struct weight *bias)
{
    if (bias->n_in)
        op_add_bias(f->list, x, bias, f->rows->n);
}

void block_attention(struct forward *f, const struct layer *y)
{
    const struct hparams *h = f->h;
    struct list *l = f->list;
    int n = f->rows->n;

    op_rms_norm(l, f->norm, f->x, &y->attn_norm, n, h->rms_eps);
    op_matmul(l, f->q, f->norm, &y->wq, n);
    op_matmul(l, f->k, f->norm, &y->wk, n);
    op_matmul(l, f->v, f->norm, &y->wv, n);
    add_bias(f, f->q, &y->bq);
    add_bias(f, f->k, &y->bk);
    add_bias(f, f->v, &y->bv);
    struct rope rope = {f->freqs, 1, h->n_rot, 0, h->rope_layout};
    op_rope(l, f->q, f->rows, &rope, h->n_heads, h->head_dim);
    op_rope(l, f->k, f->rows, &rope, h->n_kv_heads, h->head_dim);
    op_kv_store(l, &f->kv, f->k, f->v, f->rows);
    struct attend_how how = {.scale = 1 / sqrtf((float)h->head_dim), .window = h->window};
    op_attend(l, f->heads, f->q, &f->kv, f->rows, h->n_heads, &how);
    op_matmul(l, f->back, f->heads, &y->wo, n);
    add_bias(f, f->back, &y->bo);
    op_add(l, f->x, f->x, f->back, h->n_embd, n);
}
