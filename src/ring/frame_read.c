// Reading frames that came from outside: each count is checked against its limit and against the
// bytes that are there before it is used.
#include "base/arith.h"
#include "ring/frame.h"

#include <string.h>

enum { HEADER = sizeof(struct wire_header) };

static const char *const type_names[WIRE_TYPE_COUNT] = {
    [WIRE_HELLO] = "HELLO",         [WIRE_WELCOME] = "WELCOME",
    [WIRE_REFUSE] = "REFUSE",       [WIRE_OFFER] = "OFFER",
    [WIRE_PLAN] = "PLAN",           [WIRE_ROSTER] = "ROSTER",
    [WIRE_READY] = "READY",         [WIRE_NOT_READY] = "NOT_READY",
    [WIRE_HEARTBEAT] = "HEARTBEAT", [WIRE_TIMING] = "TIMING",
    [WIRE_FAILED] = "FAILED",       [WIRE_GO] = "GO",
    [WIRE_LINKED] = "LINKED",       [WIRE_END] = "END",
    [WIRE_LEAVE] = "LEAVE",         [WIRE_PASS] = "PASS",
    [WIRE_HAVE] = "HAVE",           [WIRE_SURVEY] = "SURVEY",
    [WIRE_PROFILE] = "PROFILE",     [WIRE_MEASURE] = "MEASURE",
    [WIRE_MEASURED] = "MEASURED",   [WIRE_PING] = "PING",
};

static int malformed(struct err *e, enum wire_type type, const char *what)
{
    return err_set(e, ERR_FAILED,
                   "a %s message from another node is malformed (%s); both should run the same "
                   "version of rondo",
                   type_names[type], what);
}

static bool opens_link(unsigned type)
{
    return type == WIRE_HELLO || type == WIRE_WELCOME || type == WIRE_REFUSE;
}

int frame_header_read(struct wire_header *out, const void *data, size_t limit, struct err *e)
{
    struct wire_header h;
    memcpy(&h, data, sizeof h);
    if (h.magic != WIRE_MAGIC)
        return err_set(e, ERR_FAILED,
                       "what came is no message of rondo; something else uses this port");
    if (h.version != WIRE_VERSION && !opens_link(h.type))
        return err_set(e, ERR_FAILED,
                       "a message of protocol version %u came, this node speaks %u; run the same "
                       "version of rondo on all machines",
                       h.version, WIRE_VERSION);
    if (h.type == 0 || h.type >= WIRE_TYPE_COUNT)
        return err_set(e, ERR_FAILED, "a message of the unknown type %u came from another node",
                       h.type);
    if (h.type != WIRE_PASS && limit > WIRE_MAX_CONTROL)
        limit = WIRE_MAX_CONTROL;
    if (limit < HEADER || h.size > limit - HEADER)
        return err_set(e, ERR_FAILED,
                       "a %s message of %u bytes came, more than the %zu that were agreed on",
                       type_names[h.type], h.size, limit < HEADER ? 0 : limit - HEADER);
    *out = h;
    return 0;
}

// The header of a whole frame of one type; its size is that of the memory.
static int whole(struct wire_header *h, enum wire_type type, const void *data, size_t size,
                 struct err *e)
{
    if (size < HEADER)
        return malformed(e, type, "too short");
    int rc = frame_header_read(h, data, size, e);
    if (rc)
        return rc;
    if (h->type != type)
        return err_set(e, ERR_FAILED, "a %s message came where %s was due", type_names[h->type],
                       type_names[type]);
    if (h->size != size - HEADER)
        return malformed(e, type, "its size is not what it says");
    return 0;
}

// Likewise, and a fixed first part of the body is copied to `out`.
static int part(struct wire_header *h, enum wire_type type, const void *data, size_t size,
                void *out, size_t out_size, struct err *e)
{
    int rc = whole(h, type, data, size, e);
    if (rc)
        return rc;
    if (h->size < out_size)
        return malformed(e, type, "too short");
    memcpy(out, (const uint8_t *)data + HEADER, out_size);
    return 0;
}

// The array behind the first part: exactly `n` entries of `entry` bytes fill the rest.
static const void *rest(const struct wire_header *h, const void *data, size_t first, size_t n,
                        size_t entry)
{
    size_t bytes;
    if (!size_mul(n, entry, &bytes) || !size_add(bytes, first, &bytes) || bytes != h->size)
        return NULL;
    return (const uint8_t *)data + HEADER + first;
}

// Printable ASCII, then NULs to the end, at least one.
static bool name_valid(const char *field, size_t size)
{
    size_t n = strnlen(field, size);
    for (size_t i = 0; i < n; i++)
        if (field[i] < ' ' || field[i] > '~')
            return false;
    for (size_t i = n; i < size; i++)
        if (field[i])
            return false;
    return n < size;
}

// A field of a peer that may be of any version: shown as far as it is readable.
static void name_clean(char *field, size_t size)
{
    char copy[WIRE_MAX_TEXT];
    err_quote(copy, (int)size, field, (int)strnlen(field, size - 1));
    memset(field, 0, size);
    memcpy(field, copy, strlen(copy));
}

int frame_read_hello(struct wire_header *header, struct wire_hello *out, const void *data,
                     size_t size, struct err *e)
{
    struct wire_hello m;
    int rc = part(header, WIRE_HELLO, data, size, &m, sizeof m, e);
    if (rc)
        return rc;
    if (header->size != sizeof m)
        return malformed(e, WIRE_HELLO, "its size");
    name_clean(m.build, sizeof m.build);
    if (header->version != WIRE_VERSION) {
        memset(out, 0, sizeof *out);
        memcpy(out->build, m.build, sizeof m.build);
        return 0;
    }
    if (m.purpose != WIRE_JOIN && m.purpose != WIRE_EDGE && m.purpose != WIRE_PROBE)
        return malformed(e, WIRE_HELLO, "its purpose");
    if (!name_valid(m.name, sizeof m.name))
        return malformed(e, WIRE_HELLO, "its name");
    if (header->node >= WIRE_MAX_NODES)
        return malformed(e, WIRE_HELLO, "its node");
    *out = m;
    return 0;
}

int frame_read_answer(struct wire_welcome *out, const void *data, size_t size, struct err *e)
{
    struct wire_header h;
    if (size < HEADER)
        return malformed(e, WIRE_WELCOME, "too short");
    int rc = frame_header_read(&h, data, size, e);
    if (rc)
        return rc;
    if (h.type == WIRE_REFUSE) {
        char text[WIRE_MAX_TEXT + 1];
        int code;
        rc = frame_read_sentence(&code, text, data, size, e);
        return rc ? rc : err_set(e, code, "%s", text);
    }
    rc = part(&h, WIRE_WELCOME, data, size, out, sizeof *out, e);
    if (rc)
        return rc;
    if (h.size != sizeof *out)
        return malformed(e, WIRE_WELCOME, "its size");
    name_clean(out->build, sizeof out->build);
    name_clean(out->name, sizeof out->name);
    if (h.version != WIRE_VERSION)
        return err_set(e, ERR_FAILED,
                       "the other node runs rondo %s with protocol version %u, this one rondo "
                       "%s with protocol version %u; run the same version on all machines",
                       out->build, h.version, RONDO_VERSION, WIRE_VERSION);
    return 0;
}

int frame_read_sentence(int *code, char text[WIRE_MAX_TEXT + 1], const void *data, size_t size,
                        struct err *e)
{
    struct wire_header h;
    struct wire_sentence m;
    if (size < HEADER)
        return malformed(e, WIRE_LEAVE, "too short");
    int rc = frame_header_read(&h, data, size, e);
    if (rc)
        return rc;
    if (h.type != WIRE_REFUSE && h.type != WIRE_NOT_READY && h.type != WIRE_FAILED &&
        h.type != WIRE_END && h.type != WIRE_LEAVE)
        return malformed(e, h.type, "it carries no sentence");
    if ((rc = part(&h, h.type, data, size, &m, sizeof m, e)))
        return rc;
    if (h.size != sizeof m || m.length > WIRE_MAX_TEXT)
        return malformed(e, h.type, "the length of its text");
    *code = m.code >= ERR_DENIED && m.code <= ERR_FAILED ? m.code : ERR_FAILED;
    err_quote(text, WIRE_MAX_TEXT + 1, m.text, (int)m.length);
    return 0;
}

int frame_read_offer(struct wire_offer *out, const struct wire_layer **layers, const void *data,
                     size_t size, struct err *e)
{
    struct wire_header h;
    struct wire_offer m;
    int rc = part(&h, WIRE_OFFER, data, size, &m, sizeof m, e);
    if (rc)
        return rc;
    if (!name_valid(m.model, sizeof m.model))
        return malformed(e, WIRE_OFFER, "the model's name");
    if (m.n_layers == 0 || m.n_layers > WIRE_MAX_LAYERS || m.n_digests > m.n_layers + 1)
        return malformed(e, WIRE_OFFER, "its number of layers");
    if (m.kv >= WIRE_KV_COUNT || m.max_batch == 0 || m.max_batch > WIRE_MAX_TOKENS ||
        m.max_sessions == 0 || m.max_sessions > WIRE_MAX_SESSIONS || m.max_context == 0 ||
        m.max_context > WIRE_MAX_CONTEXT || m.kv_pages == 0 || m.kv_pages > WIRE_MAX_PAGES)
        return malformed(e, WIRE_OFFER, "what it asks for is beyond the limits");
    const struct wire_layer *l = rest(&h, data, sizeof m, m.n_digests, sizeof *l);
    if (!l)
        return malformed(e, WIRE_OFFER, "the length of its list");
    for (uint32_t i = 0; i < m.n_digests; i++)
        if (l[i].layer > m.n_layers || (i && l[i].layer <= l[i - 1].layer))
            return malformed(e, WIRE_OFFER, "the order of its layers");
    *out = m;
    *layers = l;
    return 0;
}

static bool amount_valid(uint64_t amount)
{
    return amount <= UINT64_C(1) << WIRE_MAX_BITS;
}

int frame_read_plan(struct wire_plan *out, const struct wire_window **windows, const void *data,
                    size_t size, struct err *e)
{
    struct wire_header h;
    struct wire_plan m;
    int rc = part(&h, WIRE_PLAN, data, size, &m, sizeof m, e);
    if (rc)
        return rc;
    if (m.n_nodes == 0 || m.n_nodes > WIRE_MAX_NODES || m.n_rounds == 0 ||
        m.n_rounds > WIRE_MAX_ROUNDS || m.n_layers == 0 || m.n_layers > WIRE_MAX_LAYERS ||
        m.node >= m.n_nodes || m.activation >= WIRE_ACTIVATION_COUNT)
        return malformed(e, WIRE_PLAN, "its numbers are beyond the limits");
    size_t n = (size_t)m.n_nodes * m.n_rounds; // at most 2048
    const struct wire_window *w = rest(&h, data, sizeof m, n, sizeof *w);
    if (!w)
        return malformed(e, WIRE_PLAN, "the size of its table");
    for (size_t i = 0; i < n; i++)
        if (w[i].lo > w[i].hi || w[i].hi > m.n_layers)
            return malformed(e, WIRE_PLAN, "a window");
    if (!amount_valid(m.slots) || !amount_valid(m.memory))
        return malformed(e, WIRE_PLAN, "its amounts of memory");
    *out = m;
    *windows = w;
    return 0;
}

static bool peer_valid(const struct wire_peer *p)
{
    if (!name_valid(p->name, sizeof p->name) || p->n_addresses > WIRE_MAX_ADDRESSES ||
        (p->n_addresses && p->port == 0))
        return false;
    for (int i = 0; i < p->n_addresses; i++)
        if (!net_address_valid(&p->addresses[i]))
            return false;
    return true;
}

// Nodes behind the first part, all of them good; else NULL.
static const struct wire_peer *peers_of(const struct wire_header *h, const void *data, size_t first,
                                        uint32_t n)
{
    const struct wire_peer *p = rest(h, data, first, n, sizeof *p);
    for (uint32_t i = 0; p && i < n; i++)
        if (!peer_valid(&p[i]))
            return NULL;
    return p;
}

int frame_read_roster(struct wire_roster *out, const struct wire_peer **peers, const void *data,
                      size_t size, struct err *e)
{
    struct wire_header h;
    struct wire_roster m;
    int rc = part(&h, WIRE_ROSTER, data, size, &m, sizeof m, e);
    if (rc)
        return rc;
    if (m.n_nodes == 0 || m.n_nodes > WIRE_MAX_NODES)
        return malformed(e, WIRE_ROSTER, "its number of nodes");
    const struct wire_peer *p = peers_of(&h, data, sizeof m, m.n_nodes);
    if (!p)
        return malformed(e, WIRE_ROSTER, "its list of nodes");
    *out = m;
    *peers = p;
    return 0;
}

int frame_read_ready(struct wire_ready *out, const void *data, size_t size, struct err *e)
{
    struct wire_header h;
    struct wire_ready m;
    int rc = part(&h, WIRE_READY, data, size, &m, sizeof m, e);
    if (rc)
        return rc;
    if (h.size != sizeof m)
        return malformed(e, WIRE_READY, "its size");
    if (!name_valid(m.isa, sizeof m.isa))
        return malformed(e, WIRE_READY, "its instruction set");
    if (!amount_valid(m.weight_bytes) || !amount_valid(m.resident_bytes) ||
        !amount_valid(m.streamed_bytes) || !amount_valid(m.slot_bytes))
        return malformed(e, WIRE_READY, "what it keeps of its weights");
    *out = m;
    return 0;
}

int frame_read_have(struct wire_have *out, const void *data, size_t size, struct err *e)
{
    struct wire_header h;
    struct wire_have m;
    int rc = part(&h, WIRE_HAVE, data, size, &m, sizeof m, e);
    if (rc)
        return rc;
    if (h.size != sizeof m)
        return malformed(e, WIRE_HAVE, "its size");
    if (m.processors > m.of_processors || m.of_processors > WIRE_MAX_HUNDREDTHS)
        return malformed(e, WIRE_HAVE, "its processors");
    *out = m;
    return 0;
}

int frame_read_survey(struct wire_survey *out, const struct wire_peer **peers, const void *data,
                      size_t size, struct err *e)
{
    struct wire_header h;
    struct wire_survey m;
    int rc = part(&h, WIRE_SURVEY, data, size, &m, sizeof m, e);
    if (rc)
        return rc;
    if (!name_valid(m.model, sizeof m.model))
        return malformed(e, WIRE_SURVEY, "the model's name");
    if (m.n_layers == 0 || m.n_layers > WIRE_MAX_LAYERS || m.kv >= WIRE_KV_COUNT ||
        m.max_batch == 0 || m.max_batch > WIRE_MAX_TOKENS || m.max_sessions == 0 ||
        m.max_sessions > WIRE_MAX_SESSIONS || m.max_context == 0 ||
        m.max_context > WIRE_MAX_CONTEXT || m.known > 1)
        return malformed(e, WIRE_SURVEY, "what it asks for is beyond the limits");
    if (m.n_nodes < 2 || m.n_nodes > WIRE_MAX_NODES || m.node >= m.n_nodes - 1)
        return malformed(e, WIRE_SURVEY, "its number of nodes");
    const struct wire_peer *p = peers_of(&h, data, sizeof m, m.n_nodes);
    if (!p)
        return malformed(e, WIRE_SURVEY, "its list of nodes");
    *out = m;
    *peers = p;
    return 0;
}

static bool numbers_valid(const double *x, size_t n)
{
    const double most = (double)(UINT64_C(1) << WIRE_MAX_BITS);
    for (size_t i = 0; i < n; i++)
        if (!(x[i] >= 0 && x[i] <= most)) // NaN is neither
            return false;
    return true;
}

static bool speed_valid(const struct wire_speed *s)
{
    const double rest[] = {s->layer, s->token, s->attend, s->launch};
    return numbers_valid(&s->product[0][0][0], sizeof s->product / sizeof(double)) &&
           numbers_valid(rest, sizeof rest / sizeof *rest);
}

int frame_read_profile(struct wire_profile *out, const void *data, size_t size, struct err *e)
{
    struct wire_header h;
    struct wire_profile m;
    int rc = part(&h, WIRE_PROFILE, data, size, &m, sizeof m, e);
    if (rc)
        return rc;
    const double rates[] = {m.disk, m.copy};
    if (h.size != sizeof m || m.known > 1 || m.shares > 1)
        return malformed(e, WIRE_PROFILE, "its size");
    if (!amount_valid(m.memory) || !amount_valid(m.base) || !amount_valid(m.vram))
        return malformed(e, WIRE_PROFILE, "its memory");
    if (!numbers_valid(rates, 2) || !speed_valid(&m.cpu) || !speed_valid(&m.gpu))
        return malformed(e, WIRE_PROFILE, "a number that cannot be");
    *out = m;
    return 0;
}

int frame_read_measure(struct wire_measure *out, const void *data, size_t size, struct err *e)
{
    struct wire_header h;
    struct wire_measure m;
    int rc = part(&h, WIRE_MEASURE, data, size, &m, sizeof m, e);
    if (rc)
        return rc;
    if (h.size != sizeof m || (m.what != WIRE_LINK_RATE && m.what != WIRE_DISK_RATE))
        return malformed(e, WIRE_MEASURE, "its size or kind");
    if (m.node >= WIRE_MAX_NODES || m.small > m.large || m.large > WIRE_MAX_PROBE ||
        m.ms > WIRE_MAX_READ_MS)
        return malformed(e, WIRE_MEASURE, "what it asks for is beyond the limits");
    *out = m;
    return 0;
}

int frame_read_result(struct wire_result *out, const void *data, size_t size, struct err *e)
{
    struct wire_header h;
    struct wire_result m;
    int rc = part(&h, WIRE_MEASURED, data, size, &m, sizeof m, e);
    if (rc)
        return rc;
    const double numbers[] = {m.latency, m.rate};
    if (h.size != sizeof m || (m.what != WIRE_LINK_RATE && m.what != WIRE_DISK_RATE) ||
        m.node >= WIRE_MAX_NODES)
        return malformed(e, WIRE_MEASURED, "its size or kind");
    if (!numbers_valid(numbers, 2))
        return malformed(e, WIRE_MEASURED, "a number that cannot be");
    *out = m;
    return 0;
}

int frame_read_ping(struct wire_ping *out, const void *data, size_t size, struct err *e)
{
    struct wire_header h;
    struct wire_ping m;
    int rc = part(&h, WIRE_PING, data, size, &m, sizeof m, e);
    if (rc)
        return rc;
    if (h.size - sizeof m != m.bytes)
        return malformed(e, WIRE_PING, "its size");
    if (m.kind >= WIRE_PING_COUNT)
        return malformed(e, WIRE_PING, "its kind");
    *out = m;
    return 0;
}

int frame_read_heartbeat(struct wire_heartbeat *out, const void *data, size_t size, struct err *e)
{
    struct wire_header h;
    struct wire_heartbeat m;
    int rc = part(&h, WIRE_HEARTBEAT, data, size, &m, sizeof m, e);
    if (rc)
        return rc;
    if (h.size != sizeof m || m.busy > 1)
        return malformed(e, WIRE_HEARTBEAT, "its size or state");
    *out = m;
    return 0;
}

int frame_read_timing(struct wire_timing *out, const struct wire_time **times, const void *data,
                      size_t size, struct err *e)
{
    struct wire_header h;
    struct wire_timing m;
    int rc = part(&h, WIRE_TIMING, data, size, &m, sizeof m, e);
    if (rc)
        return rc;
    const struct wire_time *t = NULL;
    if (m.n_times <= WIRE_MAX_TIMES)
        t = rest(&h, data, sizeof m, m.n_times, sizeof *t);
    if (!t)
        return malformed(e, WIRE_TIMING, "the length of its list");
    for (uint32_t i = 0; i < m.n_times; i++) {
        if (t[i].round >= WIRE_MAX_ROUNDS)
            return malformed(e, WIRE_TIMING, "a round");
        if (t[i].waited_ns < 0 || !amount_valid((uint64_t)t[i].waited_ns))
            return malformed(e, WIRE_TIMING, "what was waited for the disk");
    }
    *out = m;
    *times = t;
    return 0;
}

int frame_read_empty(enum wire_type type, const void *data, size_t size, struct err *e)
{
    struct wire_header h;
    int rc = whole(&h, type, data, size, e);
    if (rc == 0 && h.size)
        return malformed(e, type, "it should be empty");
    return rc;
}

static bool pass_entries_valid(const struct pass_view *v)
{
    for (uint32_t i = 0; i < v->pass.n_ops; i++) {
        const struct wire_op *o = &v->ops[i];
        if (o->kind >= WIRE_OP_COUNT || o->session >= WIRE_MAX_SESSIONS ||
            o->other >= WIRE_MAX_SESSIONS || o->pos > WIRE_MAX_CONTEXT)
            return false;
    }
    for (uint32_t i = 0; i < v->pass.n_tokens; i++)
        if (v->tokens[i].session >= WIRE_MAX_SESSIONS || v->tokens[i].pos >= WIRE_MAX_CONTEXT)
            return false;
    return true;
}

int frame_read_pass(struct pass_view *out, void *data, size_t size, uint32_t width,
                    enum wire_activation type, struct err *e)
{
    struct pass_view v = {0};
    int rc = part(&v.header, WIRE_PASS, data, size, &v.pass, sizeof v.pass, e);
    if (rc)
        return rc;
    if (v.header.round >= WIRE_MAX_ROUNDS || v.header.node >= WIRE_MAX_NODES)
        return malformed(e, WIRE_PASS, "its round or sender");
    if (v.pass.activation != type)
        return malformed(e, WIRE_PASS, "its type of activations is not the plan's");
    if (size != frame_pass_size(v.pass.n_tokens, v.pass.n_ops, width, type))
        return malformed(e, WIRE_PASS, "its size is not what its tokens need in this model");
    uint8_t *at = (uint8_t *)data + HEADER + sizeof v.pass;
    v.ops = (const void *)at;
    at += v.pass.n_ops * sizeof *v.ops;
    v.tokens = (const void *)at;
    if (v.pass.n_tokens) {
        v.activation_bytes = (size_t)v.pass.n_tokens * width * (type == WIRE_F16 ? 2 : 4);
        v.activations = (uint8_t *)data + size - v.activation_bytes;
    }
    if (!pass_entries_valid(&v))
        return malformed(e, WIRE_PASS, "a session or position is beyond the limits");
    *out = v;
    return 0;
}
