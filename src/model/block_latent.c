// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): keys and values of all
// heads come from one short vector c of a position, beside one rotated key that all heads share.
//
//     absorbed      a head's query goes down to c's space (k_up), and its value comes up from there
//                   (v_up) after attention: the cache holds [c | rotated key] once, as the key of
//                   one head and as its value, whose last dimensions nobody reads
//     not absorbed  files that stack k_up and v_up in one matrix (kv_up): keys and values of every
//                   head are made and held; values are filled up with zeros to a key's length
#include "model/tensors.h"

static int key_dim(const struct hparams *h)
{
    return h->latent.n_plain + h->n_rot;
}

void latent_find(struct tensors *t, struct layer *y)
{
    const struct hparams *h = t->h;
    const struct latent_hparams *m = &h->latent;
    struct latent *a = &y->latent;
    int n_q = h->n_heads * key_dim(h);
    if (m->q_rank) {
        tensors_matrix(t, &a->q_down, "attn_q_a.weight", h->n_embd, m->q_rank);
        tensors_vector(t, &a->q_norm, "attn_q_a_norm.weight", m->q_rank, TENSOR_REQUIRED);
        tensors_matrix(t, &a->q_up, "attn_q_b.weight", m->q_rank, n_q);
    } else {
        tensors_matrix(t, &a->q, "attn_q.weight", h->n_embd, n_q);
    }
    tensors_matrix(t, &a->kv_down, "attn_kv_a_mqa.weight", h->n_embd, m->kv_rank + h->n_rot);
    tensors_vector(t, &a->kv_norm, "attn_kv_a_norm.weight", m->kv_rank, TENSOR_REQUIRED);
    if (m->absorbed) {
        tensors_stack(t, &a->k_up, "attn_k_b.weight", m->n_plain, m->kv_rank, h->n_heads);
        tensors_stack(t, &a->v_up, "attn_v_b.weight", m->kv_rank, m->n_value, h->n_heads);
    } else {
        tensors_matrix(t, &a->kv_up, "attn_kv_b.weight", m->kv_rank,
                       h->n_heads * (m->n_plain + m->n_value));
    }
    tensors_matrix(t, &y->wo, "attn_output.weight", h->n_heads * m->n_value, h->n_embd);
}

// q_raw (n_heads, n_plain + n_rot), rotated.
static void record_queries(struct forward *f, const struct latent *a)
{
    const struct hparams *h = f->h;
    const struct buffers *b = &f->b;
    struct list *l = f->list;
    int n = f->rows->n;
    if (h->latent.q_rank) {
        op_matmul(l, b->q_down, b->norm, &a->q_down, n);
        op_rms_norm(l, b->q_down, b->q_down, &a->q_norm, n, h->rms_eps);
        op_matmul(l, b->q_raw, b->q_down, &a->q_up, n);
    } else {
        op_matmul(l, b->q_raw, b->norm, &a->q, n);
    }
    struct rope rope = f->rope;
    rope.at = h->latent.n_plain;
    op_rope(l, b->q_raw, f->rows, &rope, h->n_heads, key_dim(h));
}

// latent (kv_rank), normed, and k_rot (n_rot), rotated.
static void record_latent(struct forward *f, const struct latent *a)
{
    const struct hparams *h = f->h;
    const struct buffers *b = &f->b;
    struct list *l = f->list;
    int n = f->rows->n, rank = h->latent.kv_rank, width = rank + h->n_rot;
    op_matmul(l, b->kv_down, b->norm, &a->kv_down, n);
    op_copy(l, (struct view){b->latent, rank, 0, 1}, (struct view){b->kv_down, width, 0, 1}, rank,
            n);
    op_copy(l, (struct view){b->k_rot, h->n_rot, 0, 1}, (struct view){b->kv_down, width, rank, 1},
            h->n_rot, n);
    op_rms_norm(l, b->latent, b->latent, &a->kv_norm, n, h->rms_eps);
    op_rope(l, b->k_rot, f->rows, &f->rope, 1, h->n_rot);
}

// heads = attend(q, k, v), by head_dim.
static void record_attend(struct forward *f, struct buf *v)
{
    const struct buffers *b = &f->b;
    struct attend_how how = {.scale = f->h->attn_scale};
    op_kv_store(f->list, &f->kv, b->k, v, f->rows);
    op_attend(f->list, b->heads, b->q, &f->kv, f->rows, f->h->n_heads, &how);
}

// values (n_heads, n_value), through the latent space.
static void record_absorbed(struct forward *f, const struct latent *a)
{
    const struct hparams *h = f->h;
    const struct latent_hparams *m = &h->latent;
    const struct buffers *b = &f->b;
    struct list *l = f->list;
    int n = f->rows->n, all = n * h->n_heads, wide = h->head_dim, raw = key_dim(h);
    struct routing own = {.ids = b->head_ids, .n_experts = h->n_heads, .n_used = h->n_heads};

    op_copy(l, (struct view){b->q_plain, m->n_plain, 0, 1}, (struct view){b->q_raw, raw, 0, 1},
            m->n_plain, all);
    op_expert_matmul(l, b->q_latent, b->q_plain, &a->k_up, &own, true, n);
    op_copy(l, (struct view){b->q, wide, 0, 1}, (struct view){b->q_latent, m->kv_rank, 0, 1},
            m->kv_rank, all);
    op_copy(l, (struct view){b->q, wide, m->kv_rank, 1},
            (struct view){b->q_raw, raw, m->n_plain, 1}, h->n_rot, all);
    op_copy(l, (struct view){b->k, wide, 0, 1}, (struct view){b->latent, m->kv_rank, 0, 1},
            m->kv_rank, n);
    op_copy(l, (struct view){b->k, wide, m->kv_rank, 1}, (struct view){b->k_rot, h->n_rot, 0, 1},
            h->n_rot, n);
    record_attend(f, b->k);
    op_copy(l, (struct view){b->q_latent, m->kv_rank, 0, 1}, (struct view){b->heads, wide, 0, 1},
            m->kv_rank, all);
    op_expert_matmul(l, b->values, b->q_latent, &a->v_up, &own, true, n);
}

// values (n_heads, n_value), from keys and values of every head.
static void record_expanded(struct forward *f, const struct latent *a)
{
    const struct hparams *h = f->h;
    const struct latent_hparams *m = &h->latent;
    const struct buffers *b = &f->b;
    struct list *l = f->list;
    int n = f->rows->n, all = n * h->n_heads, dim = h->head_dim, both = m->n_plain + m->n_value;

    op_matmul(l, b->kv_up, b->latent, &a->kv_up, n);
    op_copy(l, (struct view){b->q, dim, 0, 1}, (struct view){b->q_raw, key_dim(h), 0, 1},
            key_dim(h), all);
    op_copy(l, (struct view){b->k, dim, 0, 1}, (struct view){b->kv_up, both, 0, 1}, m->n_plain,
            all);
    op_copy(l, (struct view){b->k, dim, m->n_plain, 1},
            (struct view){b->k_rot, h->n_rot, 0, h->n_heads}, h->n_rot, all);
    op_copy(l, (struct view){b->v, dim, 0, 1}, (struct view){b->kv_up, both, m->n_plain, 1},
            m->n_value, all);
    record_attend(f, b->v);
    op_copy(l, (struct view){b->values, m->n_value, 0, 1}, (struct view){b->heads, dim, 0, 1},
            m->n_value, all);
}

void latent_record(struct forward *f, const struct layer *y)
{
    record_queries(f, &y->latent);
    record_latent(f, &y->latent);
    if (f->h->latent.absorbed)
        record_absorbed(f, &y->latent);
    else
        record_expanded(f, &y->latent);
    op_matmul(f->list, f->b.back, f->b.values, &y->wo, f->rows->n);
}
