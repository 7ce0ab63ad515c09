// Who may join a head, and what the links tell it: callbacks on the links' threads.
#include "base/clock.h"
#include "cluster/node_state.h"
#include "cluster/pairing.h"

#include <stdlib.h>
#include <string.h>

static void peer_mail(struct peer *p, enum mail_kind kind, struct frame *f, const struct err *why)
{
    struct mail letter = {.kind = kind, .from = (int)(p - p->node->peers), .frame = f};
    if (why)
        letter.why = *why;
    mailbox_put(p->node->mail, &letter);
}

static void peer_opened(void *ctx, struct link *l, const struct wire_welcome *welcome)
{
    (void)l, (void)welcome;
    peer_mail(ctx, MAIL_OPENED, NULL, NULL);
}

static void peer_frame(void *ctx, struct link *l, struct frame *f)
{
    (void)l;
    peer_mail(ctx, MAIL_FRAME, f, NULL);
}

static void peer_closed(void *ctx, struct link *l, const struct err *why)
{
    (void)l;
    peer_mail(ctx, MAIL_CLOSED, NULL, why);
}

// Whether the dialler may join: it is known, or it proves a token's secret, and is remembered.
static int decide(struct node *n, struct link *l, const struct wire_header *header,
                  const struct wire_hello *hello, struct err *why)
{
    struct pairing_channel c = {.worker = link_peer(l), .head = n->fingerprint};
    struct pairing_book *b = calloc(1, sizeof *b);
    memcpy(c.exporter, link_exporter(l), sizeof c.exporter);
    if (!b)
        return err_set(why, ERR_NO_MEMORY, "this head has no memory for another worker");
    int rc = pairing_book_load(b, n->folder, why);
    if (!rc && pairing_decide(b, header, hello, &c, clock_wall_s(), why) == PAIRING_REFUSED)
        rc = why->code;
    free(b);
    return rc ? rc : pairing_remember(n->folder, &c.worker, hello->name, why);
}

static struct peer *claim(struct node *n, struct link *l, const struct wire_hello *hello)
{
    struct peer *p = NULL;
    pthread_mutex_lock(&n->lock);
    for (int i = 0; i < MEMBERSHIP_MAX && !p && !n->stop; i++)
        if (!n->peers[i].link)
            p = &n->peers[i];
    if (p) {
        *p = (struct peer){.node = n,
                           .link = l,
                           .fingerprint = link_peer(l),
                           .address = link_peer_address(l),
                           .port = hello->port};
        memcpy(p->name, hello->name, sizeof p->name);
    }
    pthread_mutex_unlock(&n->lock);
    return p;
}

static int admit_worker(struct node *n, struct link *l, const struct wire_header *header,
                        const struct wire_hello *hello, struct err *why)
{
    struct link_events events = {.opened = peer_opened, .frame = peer_frame, .closed = peer_closed};
    int rc = decide(n, l, header, hello, why);
    if (rc)
        return rc;
    struct peer *p = claim(n, l, hello);
    if (!p)
        return err_set(why, ERR_UNREACHABLE, "this head has no place for another worker now");
    events.ctx = p;
    link_assign(l, &events, n->control, WIRE_MAX_CONTROL);
    return 0;
}

int node_admit(void *ctx, struct link *l, const struct wire_header *header,
               const struct wire_hello *hello, struct wire_welcome *welcome, struct err *why)
{
    struct node *n = ctx;
    int rc = pairing_same_version(header, hello, why);
    if (rc)
        return rc;
    frame_name(welcome->name, sizeof welcome->name, n->name);
    if (hello->purpose == WIRE_JOIN)
        return admit_worker(n, l, header, hello, why);
    if (hello->purpose == WIRE_PROBE)
        return n->surveyor ? surveyor_admit(n->surveyor, l, header, hello, why)
                           : err_set(why, ERR_UNREACHABLE, "this head measures no links");
    pthread_mutex_lock(&n->lock);
    rc = n->edges ? edges_admit(n->edges, l, header, hello, why)
                  : err_set(why, ERR_UNREACHABLE, "this head has no ring now");
    pthread_mutex_unlock(&n->lock);
    return rc;
}
