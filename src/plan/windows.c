// The table of windows: splitting layers over nodes and rounds, and checking a table that came from
// elsewhere. Plain numbers in, plain numbers out.
#include "plan/windows.h"

#include <string.h>

enum { MAX_LAYERS = UINT16_MAX };

static int check_shape(int n_layers, int n_nodes, int n_rounds, struct err *e)
{
    if (n_layers < 1 || n_layers > MAX_LAYERS)
        return err_set(e, ERR_USAGE, "a plan for %d layers is impossible; 1 to %d can be planned",
                       n_layers, MAX_LAYERS);
    if (n_nodes < 1 || n_nodes > PLAN_MAX_NODES)
        return err_set(e, ERR_USAGE, "a ring of %d nodes is impossible; use 1 to %d", n_nodes,
                       PLAN_MAX_NODES);
    if (n_rounds < 1 || n_rounds > PLAN_MAX_ROUNDS)
        return err_set(e, ERR_USAGE, "%d rounds are impossible; use 1 to %d (--rounds)", n_rounds,
                       PLAN_MAX_ROUNDS);
    return 0;
}

// ceil((r + 1) n / k) - ceil(r n / k)
int windows_share(int n, int n_rounds, int round)
{
    int64_t up = n_rounds - 1, before = (int64_t)round * n;
    return (int)((before + n + up) / n_rounds - (before + up) / n_rounds);
}

int windows_part(int part, int all, int done, int window)
{
    int64_t up = all - 1, before = (int64_t)done * part, behind = (int64_t)(done + window) * part;
    return all > 0 ? (int)((behind + up) / all - (before + up) / all) : 0;
}

int windows_split(struct window_table *t, int n_layers, int n_nodes, const int *layers,
                  int n_rounds, struct err *e)
{
    int rc = check_shape(n_layers, n_nodes, n_rounds, e);
    if (rc)
        return rc;
    long sum = 0;
    for (int m = 0; m < n_nodes; m++) {
        if (layers[m] < 0)
            return err_set(e, ERR_USAGE, "node %d cannot own %d layers; use 0 or more (--layers)",
                           m + 1, layers[m]);
        sum += layers[m];
    }
    if (sum != n_layers)
        return err_set(e, ERR_USAGE,
                       "the layers of all nodes add up to %ld but the model has %d; give totals "
                       "that add up (--layers, head last)",
                       sum, n_layers);
    memset(t, 0, sizeof *t);
    t->n_nodes = n_nodes;
    t->n_rounds = n_rounds;
    t->n_layers = n_layers;
    int at = 0;
    for (int r = 0; r < n_rounds; r++) {
        for (int m = 0; m < n_nodes; m++) {
            t->lo[r][m] = (uint16_t)at;
            t->hi[r][m] = (uint16_t)(at += windows_share(layers[m], n_rounds, r));
        }
    }
    return 0;
}

void windows_even(int n_layers, int n_nodes, int *layers)
{
    for (int m = 0; m < n_nodes; m++)
        layers[m] = n_layers / n_nodes + (m < n_layers % n_nodes);
}

int windows_check(const struct window_table *t, struct err *e)
{
    int rc = check_shape(t->n_layers, t->n_nodes, t->n_rounds, e);
    if (rc)
        return rc;
    int at = 0;
    for (int r = 0; r < t->n_rounds; r++) {
        for (int m = 0; m < t->n_nodes; m++) {
            if (t->lo[r][m] != at || t->hi[r][m] < at || t->hi[r][m] > t->n_layers)
                return err_set(e, ERR_FAILED,
                               "the plan gives node %d layers [%d, %d) in round %d where layer %d "
                               "is due; the plan is damaged",
                               m + 1, t->lo[r][m], t->hi[r][m], r + 1, at);
            at = t->hi[r][m];
        }
    }
    if (at != t->n_layers)
        return err_set(e, ERR_FAILED, "the plan ends at layer %d of %d; the plan is damaged", at,
                       t->n_layers);
    return 0;
}

int windows_layers(const struct window_table *t, int node)
{
    int n = 0;
    for (int r = 0; r < t->n_rounds; r++)
        n += t->hi[r][node] - t->lo[r][node];
    return n;
}
