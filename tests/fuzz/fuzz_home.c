// The description of a home: what is taken lies within the limits that home.h names.
#include "homelab/home.h"

#include "base/check.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct home h;
    struct err e = {0};
    int rc = home_parse(&h, "fuzz", (const char *)data, size, &e);
    CHECK(rc == 0 || (rc == ERR_USAGE && e.text[0]));
    if (rc)
        return 0;
    CHECK(h.n_nodes > 0 && h.n_nodes <= HOME_MAX_NODES);
    for (int i = 0; i < h.n_nodes; i++) {
        const struct home_node *n = &h.nodes[i];
        const struct home_link *l = &n->link;
        CHECK(memchr(n->name, 0, sizeof n->name) && memchr(l->air, 0, sizeof l->air));
        CHECK(home_find(&h, n->name) == i);
        CHECK(n->cpu >= 0 && isfinite(n->cpu) && n->cpus >= 0 && n->threads >= 0);
        CHECK(l->loss >= 0 && l->loss < 1 && l->delay_us >= l->jitter_us && l->jitter_us >= 0);
        CHECK(l->outage_us == 0 || (l->outage_us > 0 && l->outage_us < l->period_us));
    }
    return 0;
}
