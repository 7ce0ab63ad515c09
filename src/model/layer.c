// A layer out of blocks: see arch.h.
#include "model/tensors.h"

void block_norm(struct forward *f, const struct weight *w)
{
    op_rms_norm(f->list, f->b.norm, f->b.x, w, f->rows->n, f->h->rms_eps);
}

void block_add(struct forward *f, const struct weight *post_norm)
{
    const struct hparams *h = f->h;
    const struct buffers *b = &f->b;
    int n = f->rows->n;
    if (post_norm->n_in)
        op_rms_norm(f->list, b->back, b->back, post_norm, n, h->rms_eps);
    if (h->residual_scale != 1)
        op_scale(f->list, b->back, h->residual_scale, h->n_embd, n);
    op_add(f->list, b->x, b->x, b->back, h->n_embd, n);
}

void block_bias(struct forward *f, struct buf *x, const struct weight *bias)
{
    if (bias->n_in)
        op_add_bias(f->list, x, bias, f->rows->n);
}

static bool has_mixture(const struct hparams *h, int layer)
{
    return h->experts.n && layer >= h->experts.n_dense_layers;
}

void layer_find(struct tensors *t, struct layer *y)
{
    const struct hparams *h = t->h;
    const struct arch *arch = t->arch;
    y->slides = hparams_slides(h, t->layer);
    tensors_vector(t, &y->attn_norm, "attn_norm.weight", h->n_embd, TENSOR_REQUIRED);
    if (arch->latent)
        latent_find(t, y);
    else
        attention_find(t, y);
    const char *ffn_norm = arch->ffn_norm ? arch->ffn_norm : "ffn_norm.weight";
    tensors_vector(t, &y->ffn_norm, ffn_norm, h->n_embd, TENSOR_REQUIRED);
    if (arch->post_norms) {
        tensors_vector(t, &y->attn_post_norm, "post_attention_norm.weight", h->n_embd,
                       TENSOR_REQUIRED);
        tensors_vector(t, &y->ffn_post_norm, "post_ffw_norm.weight", h->n_embd, TENSOR_REQUIRED);
    }
    if (has_mixture(h, t->layer))
        mixture_find(t, &y->mixture);
    else
        gated_find(t, &y->ffn, h->n_ff, "");
}

void layer_record(struct forward *f, const struct layer *y)
{
    block_norm(f, &y->attn_norm);
    if (f->h->latent.kv_rank)
        latent_record(f, y);
    else
        attention_record(f, y);
    block_add(f, &y->attn_post_norm);
    block_norm(f, &y->ffn_norm);
    if (y->mixture.router.n_in)
        mixture_record(f, &y->mixture);
    else
        gated_record(f, &y->ffn, f->h->n_ff, f->b.back);
    block_add(f, &y->ffn_post_norm);
}
