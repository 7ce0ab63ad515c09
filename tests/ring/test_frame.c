// Every message there and back, and every way in which one can be wrong.
#include "support.h"

#include "base/rng.h"
#include "ring/frame.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { HEADER = sizeof(struct wire_header), ROOM = WIRE_MAX_CONTROL };

static _Alignas(64) uint8_t room[ROOM];
static struct frame out = {.bytes = room, .capacity = ROOM};

// One reader behind one shape, so that all are damaged by the same loops.
typedef int reader(void *data, size_t size, struct err *e);

static int hello(void *data, size_t size, struct err *e)
{
    struct wire_header h;
    struct wire_hello m;
    return frame_read_hello(&h, &m, data, size, e);
}

static int welcome(void *data, size_t size, struct err *e)
{
    struct wire_welcome m;
    return frame_read_answer(&m, data, size, e);
}

static int sentence(void *data, size_t size, struct err *e)
{
    char text[WIRE_MAX_TEXT + 1];
    int code;
    return frame_read_sentence(&code, text, data, size, e);
}

static int offer(void *data, size_t size, struct err *e)
{
    struct wire_offer m;
    const struct wire_layer *l;
    return frame_read_offer(&m, &l, data, size, e);
}

static int plan(void *data, size_t size, struct err *e)
{
    struct wire_plan m;
    const struct wire_window *w;
    return frame_read_plan(&m, &w, data, size, e);
}

static int roster(void *data, size_t size, struct err *e)
{
    struct wire_roster m;
    const struct wire_peer *p;
    return frame_read_roster(&m, &p, data, size, e);
}

static int ready(void *data, size_t size, struct err *e)
{
    struct wire_ready m;
    return frame_read_ready(&m, data, size, e);
}

static int have(void *data, size_t size, struct err *e)
{
    struct wire_have m;
    return frame_read_have(&m, data, size, e);
}

static int survey(void *data, size_t size, struct err *e)
{
    struct wire_survey m;
    const struct wire_peer *p;
    return frame_read_survey(&m, &p, data, size, e);
}

static int profile(void *data, size_t size, struct err *e)
{
    struct wire_profile m;
    return frame_read_profile(&m, data, size, e);
}

static int measure(void *data, size_t size, struct err *e)
{
    struct wire_measure m;
    return frame_read_measure(&m, data, size, e);
}

static int result(void *data, size_t size, struct err *e)
{
    struct wire_result m;
    return frame_read_result(&m, data, size, e);
}

static int ping(void *data, size_t size, struct err *e)
{
    struct wire_ping m;
    return frame_read_ping(&m, data, size, e);
}

static int heartbeat(void *data, size_t size, struct err *e)
{
    struct wire_heartbeat m;
    return frame_read_heartbeat(&m, data, size, e);
}

static int timing(void *data, size_t size, struct err *e)
{
    struct wire_timing m;
    const struct wire_time *t;
    return frame_read_timing(&m, &t, data, size, e);
}

static int go(void *data, size_t size, struct err *e)
{
    return frame_read_empty(WIRE_GO, data, size, e);
}

enum { WIDTH = 3 };

static int pass(void *data, size_t size, struct err *e)
{
    struct pass_view v;
    return frame_read_pass(&v, data, size, WIDTH, WIRE_F16, e);
}

static struct wire_offer good_offer(void)
{
    struct wire_offer m = {.n_layers = 8,
                           .kv = WIRE_KV_F16,
                           .max_batch = 64,
                           .max_sessions = 2,
                           .max_context = 4096,
                           .kv_pages = 17,
                           .n_digests = 3};
    frame_name(m.model, sizeof m.model, "tales 8");
    memset(m.digest, 7, sizeof m.digest);
    return m;
}

static const struct wire_layer good_layers[] = {
    {.layer = 0, .digest = {1}}, {.layer = 5, .digest = {2}}, {.layer = 8, .digest = {3}}};

static const struct wire_window good_windows[] = {{0, 2}, {2, 2}, {2, 5}, {5, 6}, {6, 7}, {7, 8}};
static const struct wire_plan good_plan = {
    .n_nodes = 3, .n_rounds = 2, .n_layers = 8, .node = 1, .activation = WIRE_F16};

static struct wire_peer good_peer(void)
{
    struct wire_peer p = {.fingerprint = {9}, .port = 4711, .n_addresses = 2};
    frame_name(p.name, sizeof p.name, "kitchen");
    p.addresses[0] = (struct net_address){.family = 4, .bytes = {192, 168, 1, 5}};
    p.addresses[1] = (struct net_address){.family = 6, .bytes = {0x20, 1, [15] = 1}};
    return p;
}

static const struct wire_op good_ops[] = {{WIRE_OP_FORK, 3, 1, 100}, {WIRE_OP_DROP, 2, 0, 0}};
static const struct wire_token good_tokens[] = {{1, 5}, {1, 6}, {3, 100}};

static struct pass_view good_pass(void)
{
    return (struct pass_view){
        .header = {.epoch = 4, .pass = 77, .round = 1, .node = 2},
        .pass = {.n_tokens = 3, .n_ops = 2, .group = 6, .chunk = 1, .activation = WIRE_F16},
        .ops = good_ops,
        .tokens = good_tokens};
}

struct sample {
    const char *name;
    reader *read;
    void (*write)(void);
};

static void write_hello(void)
{
    struct wire_header h = {.version = WIRE_VERSION, .epoch = 3, .node = 2};
    struct wire_hello m = {.purpose = WIRE_EDGE, .port = 9, .token_id = 5, .proof = {8}};
    frame_name(m.build, sizeof m.build, "0.1.0");
    frame_name(m.name, sizeof m.name, "attic");
    frame_write_hello(&out, &h, &m);
}

static void write_welcome(void)
{
    struct wire_welcome m = {{0}, {0}};
    frame_name(m.build, sizeof m.build, "0.1.0");
    frame_name(m.name, sizeof m.name, "attic");
    frame_write_welcome(&out, &m);
}

static void write_sentence(void)
{
    frame_write_sentence(&out, WIRE_FAILED, 3, 12, ERR_NO_MEMORY, "no \x01room");
}

static void write_offer(void)
{
    struct wire_offer m = good_offer();
    frame_write_offer(&out, 3, &m, good_layers);
}

static void write_plan(void)
{
    frame_write_plan(&out, 3, &good_plan, good_windows);
}

static void write_roster(void)
{
    struct wire_roster m = {.n_nodes = 2};
    struct wire_peer p[2] = {good_peer(), good_peer()};
    p[1].n_addresses = p[1].port = 0; // a phone
    frame_write_roster(&out, 3, &m, p);
}

static void write_have(void)
{
    frame_write_have(
        &out, &(struct wire_have){.layers = {1, 2, 3}, .processors = 150, .of_processors = 400});
}

static void write_survey(void)
{
    struct wire_survey m = {.n_layers = 8,
                            .kv = WIRE_KV_F16,
                            .max_batch = 64,
                            .max_sessions = 2,
                            .max_context = 4096,
                            .known = 1,
                            .node = 0,
                            .n_nodes = 2};
    struct wire_peer p[2] = {good_peer(), good_peer()};
    frame_name(m.model, sizeof m.model, "tales 8");
    frame_write_survey(&out, 3, &m, p);
}

static struct wire_profile good_profile(void)
{
    struct wire_profile m = {
        .memory = 8u << 30, .base = 1 << 20, .disk = 1e9, .known = 1, .cpu.layer = 1e-6};
    m.cpu.product[1][WIRE_TYPES - 1][2] = 3e-11;
    m.gpu.launch = 2e-5;
    return m;
}

static void write_profile(void)
{
    struct wire_profile m = good_profile();
    frame_write_profile(&out, 3, &m);
}

static void write_measure(void)
{
    frame_write_measure(&out, 3,
                        &(struct wire_measure){.what = WIRE_LINK_RATE,
                                               .node = 1,
                                               .small = 100,
                                               .large = WIRE_MAX_PROBE,
                                               .ms = WIRE_MAX_READ_MS});
}

static void write_result(void)
{
    frame_write_result(&out, 3, &(struct wire_result){WIRE_LINK_RATE, 1, 5e-5, 1e8});
}

static void write_ping(void)
{
    frame_write_ping(&out, &(struct wire_ping){WIRE_PING_CALL, 7, 1000, 0});
}

static const struct wire_ready good_ready = {.weight_bytes = 9 << 20,
                                             .load_ns = 55,
                                             .isa = "avx2",
                                             .resident_bytes = 5 << 20,
                                             .streamed_bytes = UINT64_C(1) << WIRE_MAX_BITS,
                                             .slot_bytes = 1 << 20};

static void write_ready(void)
{
    frame_write_ready(&out, 3, &good_ready);
}

static void write_heartbeat(void)
{
    frame_write_heartbeat(&out, &(struct wire_heartbeat){1, 2, 3, 4, 1, 0});
}

static void write_timing(void)
{
    struct wire_time t[2] = {{.pass = 7, .round = 1, .sent_ns = 9},
                             {.pass = 8, .sent_ns = 10, .waited_ns = 11}};
    frame_write_timing(&out, 3, &(struct wire_timing){.n_times = 2}, t);
}

static void write_go(void)
{
    frame_write_empty(&out, WIRE_GO, 3);
}

static void write_pass(void)
{
    struct pass_view v = good_pass();
    frame_write_pass(&out, &v, WIDTH);
    memset(v.activations, 0x11, v.activation_bytes);
}

static const struct sample samples[] = {
    {"HELLO", hello, write_hello},        {"WELCOME", welcome, write_welcome},
    {"FAILED", sentence, write_sentence}, {"OFFER", offer, write_offer},
    {"PLAN", plan, write_plan},           {"ROSTER", roster, write_roster},
    {"READY", ready, write_ready},        {"HEARTBEAT", heartbeat, write_heartbeat},
    {"TIMING", timing, write_timing},     {"GO", go, write_go},
    {"PASS", pass, write_pass},           {"HAVE", have, write_have},
    {"SURVEY", survey, write_survey},     {"PROFILE", profile, write_profile},
    {"MEASURE", measure, write_measure},  {"MEASURED", result, write_result},
    {"PING", ping, write_ping},
};
enum { N_SAMPLES = sizeof samples / sizeof *samples };

static void every_message_is_read_as_it_was_written(void **state)
{
    (void)state;
    for (int i = 0; i < N_SAMPLES; i++) {
        struct err e = {0};
        samples[i].write();
        int rc = samples[i].read(room, out.size, &e);
        if (rc)
            fail_msg("%s: %s", samples[i].name, e.text);
    }
}

static void fields_come_back(void **state)
{
    struct err e = {0};
    struct wire_header h;
    struct wire_hello m;
    (void)state;
    write_hello();
    assert_ok(frame_read_hello(&h, &m, room, out.size, &e), &e);
    assert_int_equal(h.epoch, 3);
    assert_int_equal(h.node, 2);
    assert_int_equal(m.port, 9);
    assert_int_equal(m.token_id, 5);
    assert_int_equal(m.proof[0], 8);
    assert_string_equal(m.name, "attic");

    struct wire_offer o;
    const struct wire_layer *layers;
    write_offer();
    assert_ok(frame_read_offer(&o, &layers, room, out.size, &e), &e);
    assert_memory_equal(layers, good_layers, sizeof good_layers);
    assert_int_equal(o.kv_pages, 17);

    struct wire_plan p;
    const struct wire_window *windows;
    write_plan();
    assert_ok(frame_read_plan(&p, &windows, room, out.size, &e), &e);
    assert_memory_equal(&p, &good_plan, sizeof p);
    assert_memory_equal(windows, good_windows, sizeof good_windows);

    struct wire_roster r;
    const struct wire_peer *peers;
    struct wire_peer peer = good_peer();
    write_roster();
    assert_ok(frame_read_roster(&r, &peers, room, out.size, &e), &e);
    assert_memory_equal(&peers[0], &peer, sizeof peer);

    char text[WIRE_MAX_TEXT + 1];
    int code;
    write_sentence();
    assert_ok(frame_read_sentence(&code, text, room, out.size, &e), &e);
    assert_int_equal(code, ERR_NO_MEMORY);
    assert_string_equal(text, "no ?room");
    assert_int_equal(((struct wire_header *)(void *)room)->pass, 12);

    struct wire_timing t;
    const struct wire_time *times;
    write_timing();
    assert_ok(frame_read_timing(&t, &times, room, out.size, &e), &e);
    assert_int_equal(t.n_times, 2);
    assert_int_equal(times[1].sent_ns, 10);
    assert_int_equal(times[1].waited_ns, 11);

    struct wire_ready loaded;
    write_ready();
    assert_ok(frame_read_ready(&loaded, room, out.size, &e), &e);
    assert_memory_equal(&loaded, &good_ready, sizeof loaded);

    struct wire_profile able, asked = good_profile();
    write_profile();
    assert_ok(frame_read_profile(&able, room, out.size, &e), &e);
    assert_memory_equal(&able, &asked, sizeof able);
}

static void a_pass_is_laid_out_for_computing_in_place(void **state)
{
    struct pass_view w = good_pass(), v;
    struct err e = {0};
    (void)state;
    frame_write_pass(&out, &w, WIDTH);
    assert_int_equal(out.size, frame_pass_size(3, 2, WIDTH, WIRE_F16));
    memset(w.activations, 0x22, w.activation_bytes);
    assert_ok(frame_read_pass(&v, room, out.size, WIDTH, WIRE_F16, &e), &e);
    assert_int_equal((uintptr_t)v.activations % 64, 0);
    assert_ptr_equal(v.activations, w.activations);
    assert_int_equal(v.activation_bytes, 3 * WIDTH * 2);
    assert_memory_equal(v.ops, good_ops, sizeof good_ops);
    assert_memory_equal(v.tokens, good_tokens, sizeof good_tokens);
    assert_memory_equal(&v.pass, &w.pass, sizeof v.pass);
    assert_int_equal(v.header.pass, 77);
    frame_forward_pass(&out, 5, 4);
    assert_ok(frame_read_pass(&v, room, out.size, WIDTH, WIRE_F16, &e), &e);
    assert_int_equal(v.header.round, 5);
    assert_int_equal(v.header.node, 4);
    assert_int_equal(v.header.epoch, 4);
    assert_int_equal(((uint8_t *)v.activations)[v.activation_bytes - 1], 0x22);
}

static void a_pass_without_tokens_carries_only_operations(void **state)
{
    struct pass_view w = good_pass(), v;
    struct err e = {0};
    (void)state;
    w.pass.n_tokens = 0;
    frame_write_pass(&out, &w, WIDTH);
    assert_int_equal(out.size, 64 + sizeof good_ops);
    assert_ok(frame_read_pass(&v, room, out.size, WIDTH, WIRE_F16, &e), &e);
    assert_null(v.activations);
    assert_int_equal(v.activation_bytes, 0);
}

// A copy of exact size, so that the address sanitizer sees a read beyond it.
static int read_copy(reader *read, const void *data, size_t size)
{
    void *copy = aligned_alloc(64, (size + 64) / 64 * 64);
    uint8_t *end = (uint8_t *)copy + (size + 64) / 64 * 64;
    struct err e = {0};
    memcpy(copy, data, size);
    memset((uint8_t *)copy + size, 0xee, (size_t)(end - (uint8_t *)copy) - size);
    int rc = read(copy, size, &e);
    free(copy);
    assert_true((rc == 0) == (e.code == 0));
    if (rc)
        assert_true(rc < 0 && strlen(e.text) > 10);
    return rc;
}

static void a_frame_cut_or_prolonged_anywhere_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < N_SAMPLES; i++) {
        samples[i].write();
        size_t size = out.size;
        for (size_t n = 0; n < size; n++)
            assert_true(read_copy(samples[i].read, room, n) < 0);
        memset(room + size, 0, 64);
        assert_true(read_copy(samples[i].read, room, size + 1) < 0);
        assert_true(read_copy(samples[i].read, room, size + 64) < 0);
        // Also when its header agrees with the cut.
        for (size_t n = HEADER; n < size; n++) {
            uint32_t body = (uint32_t)(n - HEADER);
            memcpy(room + offsetof(struct wire_header, size), &body, 4);
            assert_true(read_copy(samples[i].read, room, n) < 0);
        }
    }
}

static void a_frame_of_another_type_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < N_SAMPLES; i++)
        for (int k = 0; k < N_SAMPLES; k++) {
            samples[i].write();
            if (i != k)
                assert_true(read_copy(samples[k].read, room, out.size) < 0);
        }
}

static void damage_never_leads_out_of_the_frame(void **state)
{
    struct rng r;
    (void)state;
    rng_init(&r, 11);
    for (int i = 0; i < N_SAMPLES; i++)
        for (int n = 0; n < 3000; n++) {
            samples[i].write();
            for (uint64_t k = 1 + rng_below(&r, 3); k; k--)
                room[rng_below(&r, out.size)] = (uint8_t)rng_u64(&r);
            read_copy(samples[i].read, room, out.size);
        }
}

// Writes the sample, sets the 32 bits at `offset` of the body, and expects a refusal.
static void assert_refused(void (*write)(void), reader *read, size_t offset, uint32_t value)
{
    write();
    memcpy(room + HEADER + offset, &value, sizeof value);
    if (read_copy(read, room, out.size) == 0)
        fail_msg("value %u at %zu was believed", value, offset);
}

static void counts_beyond_their_limits_are_refused(void **state)
{
    const uint32_t huge[] = {0xffffffff, 0x80000000, 0x10000, 0x20000001};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_refused(write_offer, offer, offsetof(struct wire_offer, n_layers), huge[i]);
        assert_refused(write_offer, offer, offsetof(struct wire_offer, n_digests), huge[i]);
        assert_refused(write_offer, offer, offsetof(struct wire_offer, max_batch), huge[i]);
        assert_refused(write_offer, offer, offsetof(struct wire_offer, max_sessions), huge[i]);
        assert_refused(write_plan, plan, offsetof(struct wire_plan, n_nodes), huge[i]);
        assert_refused(write_plan, plan, offsetof(struct wire_plan, n_rounds), huge[i]);
        assert_refused(write_plan, plan, offsetof(struct wire_plan, node), huge[i]);
        assert_refused(write_roster, roster, offsetof(struct wire_roster, n_nodes), huge[i]);
        assert_refused(write_timing, timing, offsetof(struct wire_timing, n_times), huge[i]);
        assert_refused(write_sentence, sentence, offsetof(struct wire_sentence, length), huge[i]);
        assert_refused(write_pass, pass, offsetof(struct wire_pass, n_tokens), huge[i]);
        assert_refused(write_pass, pass, offsetof(struct wire_pass, n_ops), huge[i]);
        assert_refused(write_pass, pass, sizeof(struct wire_pass), huge[i]); // an op's kind
        assert_refused(write_pass, pass, sizeof(struct wire_pass) + 4, huge[i]);
    }
    assert_refused(write_offer, offer, offsetof(struct wire_offer, max_context), 0);
    assert_refused(write_offer, offer, offsetof(struct wire_offer, kv_pages), 0);
    assert_refused(write_offer, offer, offsetof(struct wire_offer, kv), WIRE_KV_COUNT);
    assert_refused(write_offer, offer, sizeof(struct wire_offer), 6);     // not ascending
    assert_refused(write_plan, plan, sizeof(struct wire_plan), 2);        // lo 2, hi 0
    assert_refused(write_plan, plan, sizeof(struct wire_plan), 9u << 16); // beyond the layers
    assert_refused(write_pass, pass, offsetof(struct wire_pass, activation), WIRE_F32);
    assert_refused(write_roster, roster, sizeof(struct wire_roster) + 32, 0x07070707); // a name
    assert_refused(write_roster, roster,
                   sizeof(struct wire_roster) + offsetof(struct wire_peer, addresses), 5);
}

static void absurd_amounts_of_memory_and_waiting_are_refused(void **state)
{
    const size_t amounts[] = {
        offsetof(struct wire_ready, weight_bytes), offsetof(struct wire_ready, resident_bytes),
        offsetof(struct wire_ready, streamed_bytes), offsetof(struct wire_ready, slot_bytes)};
    const size_t second = sizeof(struct wire_timing) + sizeof(struct wire_time);
    const size_t waited = second + offsetof(struct wire_time, waited_ns);
    const uint32_t beyond = (1u << (WIRE_MAX_BITS - 32)) + 1; // upper half
    (void)state;
    for (size_t i = 0; i < sizeof amounts / sizeof *amounts; i++)
        assert_refused(write_ready, ready, amounts[i] + 4, beyond);
    assert_refused(write_timing, timing, waited + 4, beyond);
    assert_refused(write_timing, timing, waited + 4, 0x80000000); // negative
}

static void a_pass_of_another_width_or_type_is_refused(void **state)
{
    struct pass_view v;
    struct err e = {0};
    (void)state;
    write_pass();
    assert_true(frame_read_pass(&v, room, out.size, WIDTH + 1, WIRE_F16, &e) < 0);
    assert_true(frame_read_pass(&v, room, out.size, WIDTH, WIRE_F32, NULL) < 0);
    assert_non_null(strstr(e.text, "size"));
}

static void sizes_of_passes_have_limits(void **state)
{
    (void)state;
    assert_int_equal(frame_pass_size(WIRE_MAX_TOKENS + 1, 0, 64, WIRE_F32), 0);
    assert_int_equal(frame_pass_size(1, WIRE_MAX_OPS + 1, 64, WIRE_F32), 0);
    assert_int_equal(frame_pass_size(1, 0, WIRE_MAX_WIDTH + 1, WIRE_F32), 0);
    size_t largest = frame_pass_size(WIRE_MAX_TOKENS, WIRE_MAX_OPS, WIRE_MAX_WIDTH, WIRE_F32);
    assert_true(largest > (size_t)WIRE_MAX_TOKENS * WIRE_MAX_WIDTH * 4 && largest < UINT32_MAX);
    assert_int_equal(frame_pass_size(1, 0, 8192, WIRE_F32), 128 + 32768);
}

static void openings_of_another_version_are_understood(void **state)
{
    struct wire_header h;
    struct wire_hello m;
    struct wire_welcome w;
    struct err e = {0};
    uint16_t version = WIRE_VERSION + 3;
    (void)state;
    write_hello();
    memcpy(room + offsetof(struct wire_header, version), &version, 2);
    memset(room + HEADER + WIRE_BUILD, 0xff, sizeof m - WIRE_BUILD); // its meaning may be another
    assert_ok(frame_read_hello(&h, &m, room, out.size, &e), &e);
    assert_int_equal(h.version, version);
    assert_string_equal(m.build, "0.1.0");
    assert_int_equal(m.purpose, 0);
    write_welcome();
    memcpy(room + offsetof(struct wire_header, version), &version, 2);
    assert_true(frame_read_answer(&w, room, out.size, &e) < 0);
    assert_non_null(strstr(e.text, "protocol version 7"));
    assert_non_null(strstr(e.text, "protocol version 4"));
    frame_write_sentence(&out, WIRE_REFUSE, 0, 0, ERR_DENIED, "go away");
    memcpy(room + offsetof(struct wire_header, version), &version, 2);
    struct err refused = {0};
    assert_int_equal(frame_read_answer(&w, room, out.size, &refused), ERR_DENIED);
    assert_string_equal(refused.text, "go away");
    write_pass();
    memcpy(room + offsetof(struct wire_header, version), &version, 2);
    assert_true(read_copy(pass, room, out.size) < 0);
}

static void a_code_from_the_wire_is_always_an_error(void **state)
{
    (void)state;
    for (int code = -8; code < 3; code++) {
        char text[WIRE_MAX_TEXT + 1];
        int got;
        frame_write_sentence(&out, WIRE_LEAVE, 0, 0, code, "x");
        assert_int_equal(frame_read_sentence(&got, text, room, out.size, NULL), 0);
        assert_int_equal(got, code <= ERR_FAILED && code >= ERR_DENIED ? code : ERR_FAILED);
    }
}

static void long_texts_are_cut(void **state)
{
    char text[2 * WIRE_MAX_TEXT], back[WIRE_MAX_TEXT + 1];
    int code;
    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    frame_write_sentence(&out, WIRE_END, 0, 0, ERR_FAILED, text);
    assert_int_equal(frame_read_sentence(&code, back, room, out.size, NULL), 0);
    assert_int_equal(strlen(back), WIRE_MAX_TEXT);
}

// ---- The pool.

static void a_pool_gives_each_frame_once(void **state)
{
    struct frame_pool *p = frame_pool_new(3, 100);
    struct frame *f[3];
    (void)state;
    for (int i = 0; i < 3; i++) {
        f[i] = frame_take(p);
        assert_non_null(f[i]);
        assert_int_equal((uintptr_t)f[i]->bytes % 64, 0);
        assert_int_equal(f[i]->capacity, 100);
        memset(f[i]->bytes, i, 100);
    }
    assert_null(frame_take(p));
    for (int i = 0; i < 3; i++)
        assert_int_equal(f[i]->bytes[99], i);
    frame_release(f[1]);
    assert_ptr_equal(frame_take(p), f[1]);
    for (int i = 0; i < 3; i++)
        frame_release(f[i]);
    frame_release(NULL);
    frame_pool_free(p);
    assert_null(frame_pool_new(2, SIZE_MAX / 2));
    assert_null(frame_pool_new(1, SIZE_MAX));
}

static void who_waits_for_a_frame_is_woken_once(void **state)
{
    struct frame_pool *p = frame_pool_new(1, 64);
    int a = eventfd(0, EFD_NONBLOCK), b = eventfd(0, EFD_NONBLOCK);
    uint64_t n;
    (void)state;
    struct frame *f = frame_take_or_wake(p, a);
    assert_non_null(f);
    assert_null(frame_take_or_wake(p, a));
    assert_null(frame_take_or_wake(p, a)); // asked twice, told once
    assert_null(frame_take_or_wake(p, b));
    frame_pool_forget(p, b);
    frame_release(f);
    assert_int_equal(read(a, &n, sizeof n), sizeof n);
    assert_int_equal(n, 1);
    assert_int_equal(read(b, &n, sizeof n), -1);
    f = frame_take(p);
    frame_release(f);
    assert_int_equal(read(a, &n, sizeof n), -1);
    frame_pool_free(p);
    close(a);
    close(b);
}

static void *take_and_release(void *arg)
{
    struct frame_pool *p = arg;
    for (int i = 0; i < 20000; i++) {
        struct frame *f = frame_take(p);
        if (!f)
            continue;
        memset(f->bytes, i, 64);
        for (int k = 0; k < 64; k++)
            if (f->bytes[k] != (uint8_t)i)
                return (void *)1;
        frame_release(f);
    }
    return NULL;
}

static void threads_never_share_a_frame(void **state)
{
    struct frame_pool *p = frame_pool_new(2, 64);
    pthread_t t[4];
    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, take_and_release, p), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(t[i], &wrong);
        assert_null(wrong);
    }
    frame_pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_is_read_as_it_was_written),
        cmocka_unit_test(fields_come_back),
        cmocka_unit_test(a_pass_is_laid_out_for_computing_in_place),
        cmocka_unit_test(a_pass_without_tokens_carries_only_operations),
        cmocka_unit_test(a_frame_cut_or_prolonged_anywhere_is_refused),
        cmocka_unit_test(a_frame_of_another_type_is_refused),
        cmocka_unit_test(damage_never_leads_out_of_the_frame),
        cmocka_unit_test(counts_beyond_their_limits_are_refused),
        cmocka_unit_test(absurd_amounts_of_memory_and_waiting_are_refused),
        cmocka_unit_test(a_pass_of_another_width_or_type_is_refused),
        cmocka_unit_test(sizes_of_passes_have_limits),
        cmocka_unit_test(openings_of_another_version_are_understood),
        cmocka_unit_test(a_code_from_the_wire_is_always_an_error),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(a_pool_gives_each_frame_once),
        cmocka_unit_test(who_waits_for_a_frame_is_woken_once),
        cmocka_unit_test(threads_never_share_a_frame),
    };
    return cmocka_run_group_tests_name("ring/frame", tests, NULL, NULL);
}
