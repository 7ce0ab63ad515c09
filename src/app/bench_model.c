// What a test costs, by the model's file: see bench.h.
//
// Bytes: every pass reads all weights once, of experts those that its tokens can be expected to
// use when they choose by chance, and the keys and values of all positions before it at least once.
// Operations: a multiplication and an addition for each weight and token; what attention computes
// is not counted, so that the figure says how well weights are multiplied.
#include "app/bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void look_at(struct bench_model *m, const struct gguf_tensor *t, const struct hparams *h)
{
    double elements = 1;
    for (int d = 0; d < GGUF_MAX_DIMS; d++)
        elements *= (double)t->dims[d];
    bool matrix = t->n_dims > 1;
    bool embedding = !strcmp(t->name.text, "token_embd.weight");
    bool experts = h->experts.n && strstr(t->name.text, "_exps.");
    bool output = embedding ? h->tied_output : !strcmp(t->name.text, "output.weight");
    m->bytes += (double)t->size;
    m->params += elements;
    if (experts)
        m->expert_bytes += (double)t->size;
    else if (!embedding || h->tied_output) // else single rows of it are read
        m->pass_bytes += (double)t->size;
    if (output)
        m->output_weights += elements;
    else if (matrix && !embedding)
        m->layer_weights += experts ? elements * m->expert_share : elements;
}

void bench_look_into(struct bench *b)
{
    struct bench_model *m = &b->model;
    const struct gguf *g = b->loaded.gguf;
    const struct hparams *h = model_hparams(b->loaded.model);
    double by_type[WT_COUNT] = {0};
    uint32_t most = 0;
    *m = (struct bench_model){0};
    if (h->experts.n)
        m->expert_share = (double)h->experts.n_used / h->experts.n;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        look_at(m, t, h);
        by_type[t->type] += (double)t->size;
        most = by_type[t->type] > by_type[most] ? t->type : most;
    }
    m->token_bytes = (double)hparams_kv_page_bytes(h, h->n_layers, b->kv_type) / KV_PAGE_TOKENS;
    m->integer = kernels_for(b->isa)->format[most].act != ACT_F32;
    snprintf(m->type, sizeof m->type, "%s %s", h->arch, wtype_info(most)->name);
    machine_describe(&b->machine);
}

void bench_cost(const struct bench *b, struct bench_test *t)
{
    const struct bench_model *m = &b->model;
    int step = t->kind == BENCH_ANSWER ? 1 : t->kind == BENCH_PROMPT ? b->batch : t->n;
    double logits = t->kind == BENCH_PROMPT ? 1 : t->n;
    t->bytes = 0;
    for (int done = 0; done < t->n; done += step) {
        double used = 1 - pow(1 - m->expert_share, fmin(step, t->n - done));
        t->bytes += m->pass_bytes + used * m->expert_bytes +
                    (t->depth + fmin(done + step, t->n)) * m->token_bytes;
    }
    t->operations = 2 * (t->n * m->layer_weights + logits * m->output_weights);
}
