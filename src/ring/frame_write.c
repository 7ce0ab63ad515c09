// Writing frames. What is written is our own, so limits are CHECKed.
#include "base/check.h"
#include "ring/frame.h"

#include <stdio.h>
#include <string.h>

enum { HEADER = sizeof(struct wire_header) };

static struct wire_header header_of(enum wire_type type, uint32_t epoch)
{
    return (struct wire_header){
        .magic = WIRE_MAGIC, .version = WIRE_VERSION, .type = (uint8_t)type, .epoch = epoch};
}

// Header, first part, array; sizes are small by the limits.
static void fill(struct frame *f, struct wire_header h, const void *first, size_t first_size,
                 const void *array, size_t array_size)
{
    size_t size = HEADER + first_size + array_size;
    CHECK(size <= f->capacity && size <= WIRE_MAX_CONTROL);
    h.size = (uint32_t)(first_size + array_size);
    memcpy(f->bytes, &h, sizeof h);
    if (first_size)
        memcpy(f->bytes + HEADER, first, first_size);
    if (array_size)
        memcpy(f->bytes + HEADER + first_size, array, array_size);
    f->size = size;
}

void frame_name(char *field, size_t field_size, const char *text)
{
    char copy[WIRE_MAX_TEXT + 1];
    CHECK(field_size <= sizeof copy);
    memset(field, 0, field_size);
    err_quote(copy, (int)field_size, text, (int)strnlen(text, field_size - 1));
    memcpy(field, copy, strlen(copy));
}

void frame_write_hello(struct frame *f, const struct wire_header *h, const struct wire_hello *m)
{
    struct wire_header mine = header_of(WIRE_HELLO, h->epoch);
    mine.version = h->version;
    mine.node = h->node;
    fill(f, mine, m, sizeof *m, NULL, 0);
}

void frame_write_welcome(struct frame *f, const struct wire_welcome *m)
{
    fill(f, header_of(WIRE_WELCOME, 0), m, sizeof *m, NULL, 0);
}

void frame_write_sentence(struct frame *f, enum wire_type type, uint32_t epoch, uint64_t pass,
                          int code, const char *text)
{
    struct wire_header h = header_of(type, epoch);
    struct wire_sentence m = {.code = code};
    char quoted[WIRE_MAX_TEXT + 1];
    CHECK(type == WIRE_REFUSE || type == WIRE_NOT_READY || type == WIRE_FAILED ||
          type == WIRE_END || type == WIRE_LEAVE);
    h.pass = pass;
    err_quote(quoted, sizeof quoted, text, (int)strnlen(text, WIRE_MAX_TEXT));
    frame_name(m.build, sizeof m.build, RONDO_VERSION);
    m.length = (uint32_t)strlen(quoted);
    memcpy(m.text, quoted, m.length);
    fill(f, h, &m, sizeof m, NULL, 0);
}

void frame_write_offer(struct frame *f, uint32_t epoch, const struct wire_offer *m,
                       const struct wire_layer *layers)
{
    CHECK(m->n_digests <= WIRE_MAX_LAYERS + 1);
    fill(f, header_of(WIRE_OFFER, epoch), m, sizeof *m, layers, m->n_digests * sizeof *layers);
}

void frame_write_plan(struct frame *f, uint32_t epoch, const struct wire_plan *m,
                      const struct wire_window *windows)
{
    CHECK(m->n_nodes <= WIRE_MAX_NODES && m->n_rounds <= WIRE_MAX_ROUNDS);
    fill(f, header_of(WIRE_PLAN, epoch), m, sizeof *m, windows,
         (size_t)m->n_nodes * m->n_rounds * sizeof *windows);
}

void frame_write_roster(struct frame *f, uint32_t epoch, const struct wire_roster *m,
                        const struct wire_peer *peers)
{
    CHECK(m->n_nodes <= WIRE_MAX_NODES);
    fill(f, header_of(WIRE_ROSTER, epoch), m, sizeof *m, peers, m->n_nodes * sizeof *peers);
}

void frame_write_survey(struct frame *f, uint32_t epoch, const struct wire_survey *m,
                        const struct wire_peer *peers)
{
    CHECK(m->n_nodes <= WIRE_MAX_NODES);
    fill(f, header_of(WIRE_SURVEY, epoch), m, sizeof *m, peers, m->n_nodes * sizeof *peers);
}

void frame_write_profile(struct frame *f, uint32_t epoch, const struct wire_profile *m)
{
    fill(f, header_of(WIRE_PROFILE, epoch), m, sizeof *m, NULL, 0);
}

void frame_write_measure(struct frame *f, uint32_t epoch, const struct wire_measure *m)
{
    fill(f, header_of(WIRE_MEASURE, epoch), m, sizeof *m, NULL, 0);
}

void frame_write_result(struct frame *f, uint32_t epoch, const struct wire_result *m)
{
    fill(f, header_of(WIRE_MEASURED, epoch), m, sizeof *m, NULL, 0);
}

void frame_write_ping(struct frame *f, const struct wire_ping *m)
{
    uint32_t bytes = m->bytes;
    fill(f, header_of(WIRE_PING, 0), m, sizeof *m, NULL, 0);
    CHECK(bytes <= f->capacity - f->size && f->size + bytes <= WIRE_MAX_CONTROL);
    struct wire_header h;
    memcpy(&h, f->bytes, sizeof h);
    h.size += bytes;
    memcpy(f->bytes, &h, sizeof h);
    memset(f->bytes + f->size, 0x5a, bytes);
    f->size += bytes;
}

void frame_write_ready(struct frame *f, uint32_t epoch, const struct wire_ready *m)
{
    fill(f, header_of(WIRE_READY, epoch), m, sizeof *m, NULL, 0);
}

void frame_write_have(struct frame *f, const struct wire_have *m)
{
    fill(f, header_of(WIRE_HAVE, 0), m, sizeof *m, NULL, 0);
}

void frame_write_heartbeat(struct frame *f, const struct wire_heartbeat *m)
{
    fill(f, header_of(WIRE_HEARTBEAT, 0), m, sizeof *m, NULL, 0);
}

void frame_write_timing(struct frame *f, uint32_t epoch, const struct wire_timing *m,
                        const struct wire_time *times)
{
    CHECK(m->n_times <= WIRE_MAX_TIMES);
    fill(f, header_of(WIRE_TIMING, epoch), m, sizeof *m, times, m->n_times * sizeof *times);
}

void frame_write_empty(struct frame *f, enum wire_type type, uint32_t epoch)
{
    CHECK(type == WIRE_GO || type == WIRE_LINKED);
    fill(f, header_of(type, epoch), NULL, 0, NULL, 0);
}

// Start of the activations: behind the entries, aligned so that they can be computed on in place.
static size_t pass_prefix(uint32_t n_tokens, uint32_t n_ops)
{
    size_t size = HEADER + sizeof(struct wire_pass) + n_ops * sizeof(struct wire_op) +
                  n_tokens * sizeof(struct wire_token);
    return n_tokens ? (size + 63) / 64 * 64 : size;
}

size_t frame_pass_size(uint32_t n_tokens, uint32_t n_ops, uint32_t width, enum wire_activation type)
{
    if (n_tokens > WIRE_MAX_TOKENS || n_ops > WIRE_MAX_OPS || width > WIRE_MAX_WIDTH ||
        type >= WIRE_ACTIVATION_COUNT)
        return 0;
    return pass_prefix(n_tokens, n_ops) + (size_t)n_tokens * width * (type == WIRE_F16 ? 2 : 4);
}

void frame_write_pass(struct frame *f, struct pass_view *v, uint32_t width)
{
    size_t size = frame_pass_size(v->pass.n_tokens, v->pass.n_ops, width, v->pass.activation);
    size_t ops = v->pass.n_ops * sizeof *v->ops, tokens = v->pass.n_tokens * sizeof *v->tokens;
    struct wire_header h = header_of(WIRE_PASS, v->header.epoch);
    CHECK(size && size <= f->capacity);
    h.size = (uint32_t)(size - HEADER);
    h.pass = v->header.pass;
    h.round = v->header.round;
    h.node = v->header.node;
    v->header = h;
    uint8_t *at = f->bytes, *activations = f->bytes + pass_prefix(v->pass.n_tokens, v->pass.n_ops);
    memcpy(at, &h, sizeof h);
    memcpy(at += sizeof h, &v->pass, sizeof v->pass);
    at += sizeof v->pass;
    if (ops)
        memcpy(at, v->ops, ops);
    v->ops = (const void *)at;
    if (tokens)
        memcpy(at + ops, v->tokens, tokens);
    v->tokens = (const void *)(at + ops);
    at += ops + tokens;
    memset(at, 0, (size_t)(activations - at));
    v->activations = v->pass.n_tokens ? activations : NULL;
    v->activation_bytes = (size_t)(f->bytes + size - activations);
    f->size = size;
}

void frame_forward_pass(struct frame *f, uint16_t round, uint16_t node)
{
    struct wire_header h;
    CHECK(f->size >= sizeof h);
    memcpy(&h, f->bytes, sizeof h);
    CHECK(h.type == WIRE_PASS);
    h.round = round;
    h.node = node;
    memcpy(f->bytes, &h, sizeof h);
}
