// The attention block: back = wo attend(rope(n(wq x)), rope(n(wk x)), wv x), where the norms of
// heads, biases and sinks are there when the model has them.
#include "model/tensors.h"

// Phi-3 stacks q, k and v in one matrix; its rows are taken as three.
static void find_fused(struct tensors *t, struct layer *y, int n_q, int n_kv)
{
    struct weight all = {0};
    tensors_matrix(t, &all, "attn_qkv.weight", t->h->n_embd, n_q + 2 * n_kv);
    y->wq = tensors_rows(t, &all, 0, n_q);
    y->wk = tensors_rows(t, &all, n_q, n_kv);
    y->wv = tensors_rows(t, &all, n_q + n_kv, n_kv);
}

void attention_find(struct tensors *t, struct layer *y)
{
    const struct hparams *h = t->h;
    const struct arch *arch = t->arch;
    int n_q = h->n_heads * h->head_dim, n_kv = h->n_kv_heads * h->head_dim;
    enum presence bias = arch->needs_attn_bias ? TENSOR_REQUIRED : TENSOR_OPTIONAL;
    if (arch->fused) {
        find_fused(t, y, n_q, n_kv);
    } else {
        tensors_matrix(t, &y->wq, "attn_q.weight", h->n_embd, n_q);
        tensors_matrix(t, &y->wk, "attn_k.weight", h->n_embd, n_kv);
        tensors_matrix(t, &y->wv, "attn_v.weight", h->n_embd, n_kv);
    }
    tensors_vector(t, &y->bq, "attn_q.bias", n_q, bias);
    tensors_vector(t, &y->bk, "attn_k.bias", n_kv, bias);
    tensors_vector(t, &y->bv, "attn_v.bias", n_kv, bias);
    enum presence norms = arch->head_norms ? TENSOR_REQUIRED : TENSOR_OPTIONAL;
    tensors_vector(t, &y->q_norm, "attn_q_norm.weight", h->head_dim, norms);
    tensors_vector(t, &y->k_norm, "attn_k_norm.weight", h->head_dim, norms);
    tensors_vector(t, &y->sinks, "attn_sinks.weight", h->n_heads,
                   arch->sinks ? TENSOR_REQUIRED : TENSOR_OPTIONAL);
    tensors_matrix(t, &y->wo, "attn_output.weight", n_q, h->n_embd);
    tensors_vector(t, &y->bo, "attn_output.bias", h->n_embd,
                   arch->more_biases ? TENSOR_REQUIRED : TENSOR_OPTIONAL);
}

void attention_record(struct forward *f, const struct layer *y)
{
    const struct hparams *h = f->h;
    const struct buffers *b = &f->b;
    const struct rope *rope = y->slides ? &f->local_rope : &f->rope;
    struct list *l = f->list;
    int n = f->rows->n;

    op_matmul(l, b->q, b->norm, &y->wq, n);
    op_matmul(l, b->k, b->norm, &y->wk, n);
    op_matmul(l, b->v, b->norm, &y->wv, n);
    block_bias(f, b->q, &y->bq);
    block_bias(f, b->k, &y->bk);
    block_bias(f, b->v, &y->bv);
    if (y->q_norm.n_in)
        op_rms_norm_heads(l, b->q, &y->q_norm, n, h->n_heads, h->rms_eps);
    if (y->k_norm.n_in)
        op_rms_norm_heads(l, b->k, &y->k_norm, n, h->n_kv_heads, h->rms_eps);
    op_rope(l, b->q, f->rows, rope, h->n_heads, h->head_dim);
    op_rope(l, b->k, f->rows, rope, h->n_kv_heads, h->head_dim);
    op_kv_store(l, &f->kv, b->k, b->v, f->rows);
    struct attend_how how = {
        .scale = h->attn_scale,
        .window = y->slides ? h->window : 0,
        .softcap = h->attn_softcap,
        .sinks = y->sinks.n_in ? &y->sinks : NULL,
    };
    op_attend(l, b->heads, b->q, &f->kv, f->rows, h->n_heads, &how);
    op_matmul(l, b->back, b->heads, &y->wo, n);
    block_bias(f, b->back, &y->bo);
}
