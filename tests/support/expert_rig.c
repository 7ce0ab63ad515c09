// Devices, weights and plain choices: see expert_rig.h.
#include "expert_rig.h"

#include "kernels/encode.h"
#include "kernels/lanes.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const int expert_rig_threads[RIG_THREADS] = {1, 2, 3, 4};

static int at_once(void *ctx, uint32_t piece)
{
    const struct expert_rig *t = ctx;
    assert_true(t->expert[piece]);
    return t->at_once;
}

static void want(void *ctx, uint32_t piece)
{
    struct expert_rig *t = ctx;
    assert_true(t->expert[piece]);
    assert_int_equal(t->held[piece], 0);
    t->n_wanted += !t->wanted[piece];
    t->wanted[piece] = true;
    assert_in_range(t->n_held + t->n_wanted, 1, t->at_once);
}

// An expert's piece is acquired where that is limited.
static void count_in(struct expert_rig *t, uint32_t piece)
{
    assert_true(t->wanted[piece]);
    t->wanted[piece] = false;
    t->n_wanted--;
    t->n_held++;
    t->most_held = t->n_held > t->most_held ? t->n_held : t->most_held;
    t->computed = true;
    assert_in_range(t->n_held, 1, t->at_once);
}

// .. and given back.
static void count_out(struct expert_rig *t)
{
    int most = t->left < t->at_once ? t->left : t->at_once;
    t->n_behind += t->computed && t->n_held + t->n_wanted < most;
    t->computed = false;
    t->n_held--;
    t->left--;
}

static const uint8_t *acquire(void *ctx, uint32_t piece, enum layout *layout, struct err *e)
{
    struct expert_rig *t = ctx;
    if (t->n_acquired++ == t->fails_at) {
        err_set(e, ERR_UNREACHABLE, "piece %u is on a disk that is gone", (unsigned)piece);
        memset(t->wanted, 0, sizeof t->wanted); // the run is over
        t->n_wanted = 0;
        return NULL;
    }
    assert_in_range(piece, 0, t->n_pieces - 1);
    if (t->at_once && t->expert[piece])
        count_in(t, piece);
    t->held[piece]++;
    t->times[piece]++;
    *layout = t->layouts[piece];
    return t->pieces[piece];
}

static void done(void *ctx, uint32_t piece)
{
    struct expert_rig *t = ctx;
    if (t->at_once && t->expert[piece])
        count_out(t);
    t->held[piece]--;
}

void expert_rig_open(struct expert_rig *t, int n_threads)
{
    expert_rig_open_limited(t, n_threads, 0);
}

void expert_rig_open_limited(struct expert_rig *t, int n_threads, int limit)
{
    struct err e = {0};
    *t = (struct expert_rig){.fails_at = -1, .at_once = limit};
    rng_init(&t->rng, 11);
    struct backend_options o = {.n_threads = n_threads, .isa = ISA_COUNT};
    assert_ok(backend_open_cpu(&t->b, &o, &e), &e);
    struct list_limits limits = {.max_rows = RIG_ROWS,
                                 .max_ops = 512,
                                 .max_pieces = RIG_PIECES,
                                 .max_width = RIG_WIDTH,
                                 .max_heads = 1,
                                 .max_head_dim = 2,
                                 .max_experts = RIG_EXPERTS,
                                 .max_experts_used = RIG_USED};
    struct piece_source source = {.ctx = t,
                                  .acquire = acquire,
                                  .done = done,
                                  .at_once = limit ? at_once : NULL,
                                  .want = limit ? want : NULL};
    assert_ok(list_new(&t->l, t->b, &limits, &source, &e), &e);
}

void expert_rig_close(struct expert_rig *t)
{
    list_free(t->l);
    backend_free(t->b);
    for (int i = 0; i < t->n_pieces; i++) {
        assert_int_equal(t->held[i], 0);
        free(t->pieces[i]);
    }
}

void expert_rig_run(struct expert_rig *t)
{
    struct err e = {0};
    assert_ok(list_run(t->l, &e), &e);
    for (int i = 0; i < t->n_pieces; i++)
        assert_int_equal(t->held[i], 0);
}

static float number(struct expert_rig *t)
{
    return (float)(2 * rng_double(&t->rng) - 1);
}

struct buf *expert_rig_buf(struct expert_rig *t, const void *data, size_t size)
{
    struct buf *u;
    struct err e = {0};
    assert_ok(buf_new(&u, t->b, size, "test", &e), &e);
    if (data)
        buf_write(u, 0, data, size);
    return u;
}

float *expert_rig_numbers(struct expert_rig *t, size_t n)
{
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = number(t);
    return x;
}

void *expert_rig_zeros(size_t n, size_t size)
{
    void *p = calloc(n, size);
    assert_non_null(p);
    return p;
}

void expert_rig_near(float got, double want, double limit)
{
    if (!(fabs((double)got - want) <= limit))
        fail_msg("%.9g is not %.9g", (double)got, want);
}

struct weight expert_rig_experts(struct expert_rig *t, uint32_t type, int n_in, int n_out,
                                 int n_experts, uint64_t lanes, float *exact)
{
    struct weight w = {.type = type, .piece = (uint32_t)t->n_pieces, .n_in = n_in, .n_out = n_out};
    size_t row_bytes, rows = (size_t)n_out;
    assert_true(wtype_row_bytes(type, (uint64_t)n_in, &row_bytes));
    w.row_bytes = row_bytes;
    float *row = expert_rig_zeros((size_t)n_in, sizeof *row);
    for (int e = 0; e < n_experts; e++) {
        uint8_t *data = expert_rig_zeros(rows, row_bytes),
                *turned = expert_rig_zeros(lanes_rows(rows), row_bytes);
        for (size_t r = 0; r < rows; r++, exact += n_in) {
            for (int i = 0; i < n_in; i++)
                row[i] = number(t);
            assert_true(kernels_encode(type, data + r * row_bytes, row, (size_t)n_in));
            backend_kernels(t->b)->format[type].decode(exact, data + r * row_bytes, (size_t)n_in);
        }
        bool turn = lanes >> (e % 64) & 1 && lanes_can(type);
        for (size_t r = 0; turn && r < rows; r += LANE_ROWS)
            lanes_pack(type, turned + r * row_bytes, data + r * row_bytes, row_bytes,
                       rows - r < LANE_ROWS ? (int)(rows - r) : LANE_ROWS);
        t->expert[t->n_pieces] = n_experts > 1;
        t->layouts[t->n_pieces] = turn ? LAYOUT_LANES : LAYOUT_ROWS;
        t->pieces[t->n_pieces++] = turn ? turned : data;
        free(turn ? data : turned);
    }
    free(row);
    return w;
}

struct routing expert_rig_routing(struct expert_rig *t, int n, int n_experts, int n_used)
{
    size_t uses = (size_t)(n * n_used);
    return (struct routing){.ids = expert_rig_buf(t, NULL, uses * sizeof(int32_t)),
                            .weights = expert_rig_buf(t, NULL, uses * sizeof(float)),
                            .n_experts = n_experts,
                            .n_used = n_used};
}

void expert_rig_routing_free(struct routing *r)
{
    buf_free(r->ids);
    buf_free(r->weights);
}

struct weight expert_rig_vector(struct expert_rig *t, const float *values, int width, int n_rows)
{
    size_t size = (size_t)width * (size_t)n_rows * sizeof *values;
    uint8_t *data = malloc(size);
    assert_non_null(data);
    memcpy(data, values, size);
    t->pieces[t->n_pieces] = data;
    return (struct weight){.type = WT_F32,
                           .piece = (uint32_t)t->n_pieces++,
                           .row_bytes = (size_t)width * sizeof *values,
                           .n_in = width,
                           .n_out = n_rows};
}

// ---- choosing ----------------------------------------------------------------------------------

// What is not less than `rank` others, the first of equals.
static int rank_of(const double *x, const bool *out, int n, int i)
{
    int rank = 0;
    for (int k = 0; k < n; k++)
        rank += !out[k] && (x[k] > x[i] || (x[k] == x[i] && k < i));
    return rank;
}

static void plain_groups(const struct plain_choice *c, const double *choice, bool *out)
{
    double best[RIG_EXPERTS];
    bool none[RIG_EXPERTS] = {0};
    int n_groups = c->how.n_groups, size = c->n_experts / n_groups;
    for (int g = 0; g < n_groups; g++) {
        best[g] = 0;
        for (int i = 0; i < size; i++)
            if (rank_of(choice + g * size, none, size, i) < (c->bias ? 2 : 1))
                best[g] += choice[g * size + i];
    }
    for (int i = 0; i < c->n_experts; i++)
        out[i] = rank_of(best, none, n_groups, i / size) >= c->how.n_groups_used;
}

void plain_route(const struct plain_choice *c, const float *logits, const float *bias, int *ids,
                 double *weights)
{
    double score[RIG_EXPERTS], choice[RIG_EXPERTS], all = 0, chosen = 0, sum = 0;
    bool out[RIG_EXPERTS] = {0};
    for (int i = 0; i < c->n_experts; i++)
        all += exp((double)logits[i]);
    for (int i = 0; i < c->n_experts; i++) {
        double x = (double)logits[i];
        score[i] = c->how.score == ROUTE_SOFTMAX   ? exp(x) / all
                   : c->how.score == ROUTE_SIGMOID ? 1 / (1 + exp(-x))
                                                   : x;
        choice[i] = score[i] + (c->bias ? (double)bias[i] : 0);
    }
    if (c->how.n_groups > 1)
        plain_groups(c, choice, out);
    for (int i = 0; i < c->n_experts; i++) {
        int rank = rank_of(choice, out, c->n_experts, i);
        if (out[i] || rank >= c->n_used)
            continue;
        ids[rank] = i;
        weights[rank] = score[i];
        chosen += exp(score[i]);
    }
    for (int j = 0; j < c->n_used; j++) {
        if (c->how.score == ROUTE_SOFTMAX_CHOSEN)
            weights[j] = exp(weights[j]) / chosen;
        sum += weights[j];
    }
    for (int j = 0; j < c->n_used; j++)
        weights[j] *= (double)c->how.scale / (c->how.normalize ? sum : 1);
}
