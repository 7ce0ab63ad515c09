// The training loop: see trainer.h. Every phase of a step runs on all threads.
#include "trainer.h"

#include "lane.h"
#include "memory.h"
#include "passes.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { EVAL_BATCHES = 24, EVAL_EVERY = 250, REPORT_EVERY = 50 };

struct trainer;
typedef void phase_fn(struct trainer *trainer, int thread);

struct trainer {
    struct model *model;
    struct settings settings;
    struct lane lanes[TRAINER_MAX_THREADS];
    double norms[TRAINER_MAX_THREADS];
    float scale; // 1 / total weight of the step's targets
    float clip;
    float rate;
    pthread_t threads[TRAINER_MAX_THREADS];
    pthread_mutex_t lock;
    pthread_cond_t start;
    pthread_cond_t done;
    phase_fn *phase;
    int round;
    int busy;
};

struct worker {
    struct trainer *trainer;
    int thread;
};

static void *work(void *argument)
{
    struct worker worker = *(struct worker *)argument;
    struct trainer *t = worker.trainer;
    free(argument);
    for (int round = 1;; round++) {
        pthread_mutex_lock(&t->lock);
        while (t->round < round)
            pthread_cond_wait(&t->start, &t->lock);
        phase_fn *phase = t->phase;
        pthread_mutex_unlock(&t->lock);
        if (!phase)
            return NULL;
        phase(t, worker.thread);
        pthread_mutex_lock(&t->lock);
        if (--t->busy == 0)
            pthread_cond_signal(&t->done);
        pthread_mutex_unlock(&t->lock);
    }
}

static void run_phase(struct trainer *t, phase_fn *phase)
{
    pthread_mutex_lock(&t->lock);
    t->phase = phase;
    t->round++;
    t->busy = t->settings.threads - 1;
    pthread_cond_broadcast(&t->start);
    pthread_mutex_unlock(&t->lock);
    if (!phase)
        return;
    phase(t, 0);
    pthread_mutex_lock(&t->lock);
    while (t->busy > 0)
        pthread_cond_wait(&t->done, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

static void start_threads(struct trainer *t)
{
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->start, NULL);
    pthread_cond_init(&t->done, NULL);
    for (int i = 1; i < t->settings.threads; i++) {
        struct worker *worker = memory_checked(malloc(sizeof *worker));
        *worker = (struct worker){t, i};
        if (pthread_create(&t->threads[i], NULL, work, worker) != 0) {
            fprintf(stderr, "train: cannot start a thread\n");
            exit(1);
        }
    }
}

static void stop_threads(struct trainer *t)
{
    run_phase(t, NULL);
    for (int i = 1; i < t->settings.threads; i++)
        pthread_join(t->threads[i], NULL);
}

static void learn_phase(struct trainer *t, int thread)
{
    passes_forward(&t->lanes[thread]);
    passes_score(&t->lanes[thread], t->scale);
    passes_backward(&t->lanes[thread]);
}

static void eval_phase(struct trainer *t, int thread)
{
    passes_forward(&t->lanes[thread]);
    passes_score(&t->lanes[thread], 1.0f);
}

// Shares are whole rows: every weight array is a multiple of the model's width.
static void share_of(const struct trainer *t, int thread, size_t *from, size_t *to)
{
    size_t threads = (size_t)t->settings.threads;
    size_t dim = (size_t)t->model->shape.dim;
    size_t rows = t->model->count / dim;
    *from = rows * (size_t)thread / threads * dim;
    *to = rows * ((size_t)thread + 1) / threads * dim;
}

// Adds all gradients into lane 0's, each thread for its own share of the weights.
static void sum_phase(struct trainer *t, int thread)
{
    size_t from;
    size_t to;
    share_of(t, thread, &from, &to);
    float *sum = t->lanes[0].gradient;
    for (int other = 1; other < t->settings.threads; other++) {
        const float *more = t->lanes[other].gradient;
        for (size_t i = from; i < to; i++)
            sum[i] += more[i];
    }
    double norm = 0.0;
    for (size_t i = from; i < to; i++)
        norm += (double)sum[i] * sum[i];
    t->norms[thread] = norm;
}

static void update_phase(struct trainer *t, int thread)
{
    static const float keep_mean = 0.9f;
    static const float keep_square = 0.98f;
    struct model *model = t->model;
    const float *gradient = t->lanes[0].gradient;
    size_t from;
    size_t to;
    share_of(t, thread, &from, &to);
    float fix_mean = 1.0f / (1.0f - powf(keep_mean, (float)(model->step + 1)));
    float fix_square = 1.0f / (1.0f - powf(keep_square, (float)(model->step + 1)));
    while (from < to) {
        size_t end = from + (size_t)model->shape.dim;
        float shrink = model_is_norm(model, from) ? 1.0f : 1.0f - t->rate * t->settings.decay;
        for (size_t i = from; i < end; i++) {
            float g = gradient[i] * t->clip;
            model->mean[i] = keep_mean * model->mean[i] + (1.0f - keep_mean) * g;
            model->square[i] = keep_square * model->square[i] + (1.0f - keep_square) * g * g;
            model->weights[i] =
                model->weights[i] * shrink - t->rate * model->mean[i] * fix_mean /
                                                 (sqrtf(model->square[i] * fix_square) + 1e-8f);
        }
        from = end;
    }
}

static double now(void)
{
    struct timespec time;
    timespec_get(&time, TIME_UTC);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static float rate_at(const struct settings *s, int step)
{
    static const int warm_up = 100;
    if (step < warm_up)
        return s->rate * (float)(step + 1) / (float)warm_up;
    float progress = (float)(step - warm_up) / (float)(s->steps - warm_up);
    return s->rate * (0.02f + 0.98f * 0.5f * (1.0f + cosf(3.14159265f * progress)));
}

static double fill_lanes(struct trainer *t, const struct corpus *corpus, size_t *next, int *tokens)
{
    double weight = 0.0;
    *tokens = 0;
    for (int i = 0; i < t->settings.threads; i++) {
        lane_fill(&t->lanes[i], corpus, next);
        weight += t->lanes[i].weight_sum;
        *tokens += t->lanes[i].count;
    }
    return weight;
}

static double lane_losses(const struct trainer *t)
{
    double loss = 0.0;
    for (int i = 0; i < t->settings.threads; i++)
        loss += t->lanes[i].loss;
    return loss;
}

static double evaluate(struct trainer *t, const struct corpus *corpus)
{
    double loss = 0.0;
    double weight = 0.0;
    size_t next = 0;
    for (int batch = 0; batch < EVAL_BATCHES / t->settings.threads; batch++) {
        int tokens;
        weight += fill_lanes(t, corpus, &next, &tokens);
        run_phase(t, eval_phase);
        loss += lane_losses(t);
    }
    return loss / weight;
}

static int train_step(struct trainer *t, const struct corpus *corpus, size_t *next, double *loss)
{
    int tokens;
    double weight = fill_lanes(t, corpus, next, &tokens);
    t->scale = (float)(1.0 / weight);
    run_phase(t, learn_phase);
    run_phase(t, sum_phase);
    double norm = 0.0;
    for (int i = 0; i < t->settings.threads; i++)
        norm += t->norms[i];
    norm = sqrt(norm);
    t->clip = norm > 1.0 ? (float)(1.0 / norm) : 1.0f;
    t->rate = rate_at(&t->settings, t->model->step);
    run_phase(t, update_phase);
    t->model->step++;
    *loss = lane_losses(t) / weight;
    return tokens;
}

static void save_or_die(const struct model *model, const char *path)
{
    if (!model_save(model, path)) {
        fprintf(stderr, "train: cannot write %s\n", path);
        exit(1);
    }
}

// The corpus position follows from the step, so a resumed run sees the same documents.
static size_t skip_seen(struct trainer *t, const struct corpus *corpus)
{
    size_t next = 0;
    int tokens;
    for (int step = 0; step < t->model->step; step++)
        fill_lanes(t, corpus, &next, &tokens);
    return next;
}

static void rotary_table(const struct shape *s, float *cosine, float *sine)
{
    int half = head_dim(s) / 2;
    for (int position = 0; position < s->context; position++) {
        for (int i = 0; i < half; i++) {
            double angle = position * pow(ROPE_BASE, -(double)i / half);
            cosine[times(position, half) + (size_t)i] = (float)cos(angle);
            sine[times(position, half) + (size_t)i] = (float)sin(angle);
        }
    }
}

static void fit(struct trainer *t, const struct corpus *corpus, const struct corpus *held_out,
                const char *checkpoint)
{
    size_t next = skip_seen(t, corpus);
    double begin = now();
    double loss_sum = 0.0;
    double tokens_sum = 0.0;
    int since = 0;
    while (t->model->step < t->settings.steps) {
        double loss;
        tokens_sum += train_step(t, corpus, &next, &loss);
        loss_sum += loss;
        since++;
        int step = t->model->step;
        int last = step == t->settings.steps;
        if (step % REPORT_EVERY == 0 || last) {
            double seconds = now() - begin;
            printf("step %5d/%d  loss %.4f  rate %.5f  %.2fM tokens  %.0f tokens/s  %.0f s\n", step,
                   t->settings.steps, loss_sum / since, (double)t->rate, tokens_sum * 1e-6,
                   tokens_sum / seconds, seconds);
            loss_sum = 0.0;
            since = 0;
        }
        if (step % EVAL_EVERY == 0 || last) {
            double held = evaluate(t, held_out);
            printf("step %5d  held-out loss %.4f  (perplexity %.3f)\n", step, held, exp(held));
            save_or_die(t->model, checkpoint);
        }
        fflush(stdout);
    }
}

void trainer_run(struct model *model, const struct settings *settings, const struct corpus *corpus,
                 const struct corpus *held_out, const char *checkpoint)
{
    const struct shape *s = &model->shape;
    struct trainer *t = memory_checked(calloc(1, sizeof *t));
    t->model = model;
    t->settings = *settings;
    float *cosine = memory_floats(times(s->context, head_dim(s)));
    float *sine = memory_floats(times(s->context, head_dim(s)));
    rotary_table(s, cosine, sine);
    for (int i = 0; i < settings->threads; i++)
        lane_init(&t->lanes[i], model, settings->tokens, cosine, sine);
    start_threads(t);
    fit(t, corpus, held_out, checkpoint);
    stop_threads(t);
    for (int i = 0; i < settings->threads; i++)
        lane_free(&t->lanes[i]);
    free(cosine);
    free(sine);
    free(t);
}
