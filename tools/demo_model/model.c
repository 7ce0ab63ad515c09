// The weights of a small llama: layout, first values, checkpoints.
#include "model.h"

#include "memory.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char magic[8] = "TALES01";

static size_t take(size_t *next, size_t count)
{
    size_t at = *next;
    *next += count;
    return at;
}

static void lay_out(struct model *model)
{
    const struct shape *s = &model->shape;
    size_t dim = (size_t)s->dim;
    size_t next = 0;
    model->embedding = take(&next, dim * (size_t)s->vocab);
    for (int l = 0; l < s->layers; l++) {
        struct layer_at *at = &model->layer[l];
        at->attn_norm = take(&next, dim);
        at->qkv = take(&next, dim * (size_t)qkv_dim(s));
        at->out = take(&next, dim * dim);
        at->ffn_norm = take(&next, dim);
        at->gate_up = take(&next, dim * (size_t)s->ffn * 2);
        at->down = take(&next, dim * (size_t)s->ffn);
    }
    model->final_norm = take(&next, dim);
    model->count = next;
}

static double uniform(uint64_t *state)
{
    *state += 0x9E3779B97F4A7C15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return ((double)(z >> 11) + 0.5) / 9007199254740992.0;
}

static void fill_normal(float *weights, size_t count, double deviation, uint64_t *state)
{
    for (size_t i = 0; i < count; i++) {
        double radius = sqrt(-2.0 * log(uniform(state)));
        weights[i] = (float)(deviation * radius * cos(6.283185307179586 * uniform(state)));
    }
}

static void fill_ones(float *weights, int count)
{
    for (int i = 0; i < count; i++)
        weights[i] = 1.0f;
}

static void set_first_weights(struct model *model)
{
    const struct shape *s = &model->shape;
    size_t dim = (size_t)s->dim;
    size_t ffn = (size_t)s->ffn;
    uint64_t state = 20261122;
    float *w = model->weights;
    double plain = 1.0 / sqrt((double)dim) * 0.5;
    // What adds to the residual stream starts small, so that depth does not blow it up.
    double added = plain / sqrt(2.0 * s->layers);
    fill_normal(w + model->embedding, dim * (size_t)s->vocab, 0.02, &state);
    for (int l = 0; l < s->layers; l++) {
        const struct layer_at *at = &model->layer[l];
        fill_ones(w + at->attn_norm, s->dim);
        fill_normal(w + at->qkv, dim * (size_t)qkv_dim(s), plain, &state);
        fill_normal(w + at->out, dim * dim, added, &state);
        fill_ones(w + at->ffn_norm, s->dim);
        fill_normal(w + at->gate_up, dim * ffn * 2, plain, &state);
        fill_normal(w + at->down, dim * ffn, added, &state);
    }
    fill_ones(w + model->final_norm, s->dim);
}

static struct model *model_blank(struct shape shape)
{
    struct model *model = memory_checked(calloc(1, sizeof *model));
    model->shape = shape;
    model->layer = memory_checked(calloc((size_t)shape.layers, sizeof *model->layer));
    lay_out(model);
    model->weights = memory_floats(model->count);
    model->mean = memory_floats(model->count);
    model->square = memory_floats(model->count);
    return model;
}

struct model *model_new(struct shape shape)
{
    struct model *model = model_blank(shape);
    set_first_weights(model);
    return model;
}

void model_free(struct model *model)
{
    if (model) {
        free(model->layer);
        free(model->weights);
        free(model->mean);
        free(model->square);
        free(model);
    }
}

int model_is_norm(const struct model *model, size_t index)
{
    size_t dim = (size_t)model->shape.dim;
    if (index - model->final_norm < dim)
        return 1;
    for (int l = 0; l < model->shape.layers; l++)
        if (index - model->layer[l].attn_norm < dim || index - model->layer[l].ffn_norm < dim)
            return 1;
    return 0;
}

// Written beside the old file and then moved over it, so that a crash leaves a whole one.
int model_save(const struct model *model, const char *path)
{
    char beside[1024];
    snprintf(beside, sizeof beside, "%s.new", path);
    FILE *file = fopen(beside, "wb");
    if (!file)
        return 0;
    int ok = fwrite(magic, sizeof magic, 1, file) == 1 &&
             fwrite(&model->shape, sizeof model->shape, 1, file) == 1 &&
             fwrite(&model->step, sizeof model->step, 1, file) == 1 &&
             fwrite(model->weights, sizeof(float), model->count, file) == model->count &&
             fwrite(model->mean, sizeof(float), model->count, file) == model->count &&
             fwrite(model->square, sizeof(float), model->count, file) == model->count;
    ok = fclose(file) == 0 && ok;
    return ok && rename(beside, path) == 0;
}

struct model *model_load(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    char mark[sizeof magic];
    struct shape shape;
    int step;
    struct model *model = NULL;
    if (fread(mark, sizeof mark, 1, file) == 1 && memcmp(mark, magic, sizeof magic) == 0 &&
        fread(&shape, sizeof shape, 1, file) == 1 && fread(&step, sizeof step, 1, file) == 1) {
        model = model_blank(shape);
        model->step = step;
        if (fread(model->weights, sizeof(float), model->count, file) != model->count ||
            fread(model->mean, sizeof(float), model->count, file) != model->count ||
            fread(model->square, sizeof(float), model->count, file) != model->count) {
            model_free(model);
            model = NULL;
        }
    }
    fclose(file);
    return model;
}
