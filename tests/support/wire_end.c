// See wire_end.h.
#include "wire_end.h"

#include "support.h"

#include <string.h>
#include <time.h>

static void tell(struct wire_end *end, int *count)
{
    pthread_mutex_lock(&end->lock);
    ++*count;
    pthread_cond_broadcast(&end->changed);
    pthread_mutex_unlock(&end->lock);
}

static void remember(struct wire_end *end, struct link *l)
{
    end->peer = link_peer(l);
    memcpy(end->exporter, link_exporter(l), TLS_EXPORTER_BYTES);
}

static void greet(void *ctx, struct link *l, struct wire_header *header, struct wire_hello *hello)
{
    struct wire_end *end = ctx;
    remember(end, l);
    header->version = end->header.version;
    header->epoch = end->header.epoch;
    header->node = end->header.node;
    char build[WIRE_BUILD];
    memcpy(build, hello->build, sizeof build);
    *hello = end->hello;
    memcpy(hello->build, build, sizeof build);
}

static int admit(void *ctx, struct link *l, const struct wire_header *header,
                 const struct wire_hello *hello, struct wire_welcome *welcome, struct err *why)
{
    struct wire_end *end = ctx;
    pthread_mutex_lock(&end->lock);
    remember(end, l);
    end->header = *header;
    end->hello = *hello;
    int rc = end->refuse;
    if (rc == 0)
        end->link = l;
    pthread_mutex_unlock(&end->lock);
    frame_name(welcome->name, sizeof welcome->name, "listener");
    tell(end, &end->admitted);
    return rc ? err_set(why, rc, "%s", end->sentence) : 0;
}

static void opened(void *ctx, struct link *l, const struct wire_welcome *welcome)
{
    struct wire_end *end = ctx;
    (void)l;
    end->welcome = *welcome;
    tell(end, &end->opened);
}

static void arrived(void *ctx, struct link *l, struct frame *f)
{
    struct wire_end *end = ctx;
    (void)l;
    if (!frame_queue_push(end->frames, f))
        frame_release(f);
}

static void sent(void *ctx, struct link *l, const struct frame *f, int64_t now_ns)
{
    struct wire_end *end = ctx;
    (void)l;
    if (f->size && now_ns > 0)
        tell(end, &end->sent);
}

static void closed(void *ctx, struct link *l, const struct err *why)
{
    struct wire_end *end = ctx;
    (void)l;
    end->why = *why;
    tell(end, &end->closed);
}

void wire_end_init(struct wire_end *end, int n, size_t size)
{
    memset(end, 0, sizeof *end);
    end->pool = frame_pool_new(n, size);
    end->frames = frame_queue_new(n);
    assert_non_null(end->pool);
    assert_non_null(end->frames);
    end->header.version = WIRE_VERSION;
    end->hello.purpose = WIRE_EDGE;
    end->sentence = "";
    pthread_mutex_init(&end->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&end->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

void wire_end_fini(struct wire_end *end)
{
    link_free(end->link);
    frame_queue_free(end->frames);
    frame_pool_free(end->pool);
    pthread_cond_destroy(&end->changed);
    pthread_mutex_destroy(&end->lock);
}

struct link_options wire_end_options(struct wire_end *end, const struct tls_identity *id)
{
    return (struct link_options){
        .identity = id,
        .pool = end->pool,
        .max_frame = frame_pool_capacity(end->pool),
        .events = {.ctx = end,
                   .greet = greet,
                   .admit = admit,
                   .opened = opened,
                   .frame = arrived,
                   .sent = sent,
                   .closed = closed},
    };
}

void wire_end_wait(struct wire_end *end, const int *count, int n)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WIRE_END_HANG_S;
    pthread_mutex_lock(&end->lock);
    int rc = 0;
    while (*count < n && rc == 0)
        rc = pthread_cond_timedwait(&end->changed, &end->lock, &until);
    pthread_mutex_unlock(&end->lock);
    if (rc)
        fail_msg("waited %d s in vain; closed: %s", WIRE_END_HANG_S, end->why.text);
}

struct tls_identity *wire_identity(void)
{
    char pem[TLS_PEM_MAX];
    struct tls_identity *id;
    struct err e = {0};
    assert_ok(tls_identity_make(pem, &e), &e);
    assert_ok(tls_identity_new(&id, pem, strlen(pem), &e), &e);
    return id;
}

struct link_target wire_target(const struct tls_identity *id, uint16_t port)
{
    return (struct link_target){.fingerprint = tls_identity_digest(id),
                                .port = port,
                                .n_addresses = 1,
                                .addresses = {{.family = 4, .bytes = {127, 0, 0, 1}}}};
}

void wire_pair_open(struct wire_pair *p, int n_frames, size_t size)
{
    struct err e = {0};
    memset(p, 0, sizeof *p);
    p->dialler_id = wire_identity();
    p->listener_id = wire_identity();
    wire_end_init(&p->dialler, n_frames, size);
    wire_end_init(&p->listener, n_frames, size);
    struct door_options door = {.host = "127.0.0.1",
                                .link = wire_end_options(&p->listener, p->listener_id)};
    assert_ok(door_open(&p->door, &door, &e), &e);
    struct link_target to = wire_target(p->listener_id, door_port(p->door));
    struct link_options o = wire_end_options(&p->dialler, p->dialler_id);
    assert_ok(link_dial(&p->dialler.link, &to, &o, &e), &e);
    wire_end_wait(&p->dialler, &p->dialler.opened, 1);
    wire_end_wait(&p->listener, &p->listener.opened, 1);
}

void wire_pair_close(struct wire_pair *p)
{
    door_close(p->door);
    link_free(p->dialler.link);
    p->dialler.link = NULL;
    wire_end_fini(&p->listener);
    wire_end_fini(&p->dialler);
    tls_identity_free(p->dialler_id);
    tls_identity_free(p->listener_id);
}
