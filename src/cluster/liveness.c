// Whether a peer is alive: see liveness.h.
#include "cluster/liveness.h"

static int64_t latest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void liveness_init(struct liveness *l, int64_t now_ns)
{
    *l = (struct liveness){.from_ns = now_ns, .asked_ns = now_ns, .moved_ns = now_ns};
}

enum liveness_verdict liveness_check(struct liveness *l, const struct liveness_report *r,
                                     int64_t now_ns)
{
    if (now_ns - l->asked_ns > LIVENESS_ABSENT_MS * INT64_C(1000000))
        l->from_ns = now_ns;
    l->asked_ns = now_ns;
    if (!r->busy || r->progress != l->progress)
        l->moved_ns = now_ns;
    l->progress = r->progress;
    if (now_ns - latest(r->heard_ns, l->from_ns) > LIVENESS_SILENT_MS * INT64_C(1000000))
        return LIVENESS_SILENT;
    if (now_ns - latest(l->moved_ns, l->from_ns) > LIVENESS_HUNG_MS * INT64_C(1000000))
        return LIVENESS_HUNG;
    return LIVENESS_ALIVE;
}
