// One node's share of a pass, round by round: see stage.h.
#include "engine/stage.h"

#include "base/check.h"

int stage_run(struct stage *s, const struct batch *b, int round, float *hidden, struct err *e)
{
    CHECK(round >= 0 && round < s->table->n_rounds);
    int rc = round == 0 ? shard_begin(s->shard, b, e) : 0;
    if (rc)
        return rc;
    struct window w = {s->table->lo[round][s->node], s->table->hi[round][s->node]};
    if (w.lo == w.hi)
        return 0; // the frame goes on unchanged
    return shard_run(s->shard, b, w, hidden, e);
}
