// The order of machines in the ring: as listed where all ways are alike; all orders of few
// machines; of more, the shortest way round, found exactly for up to twelve (Held, Karp: "A dynamic
// programming approach to sequencing problems", 1962) and by turning stretches round for more.
#include "plan/solve.h"

#include <math.h>
#include <string.h>

enum { EXACT = 12 }; // machines beside the head

static double length_of(const struct solve *s, const int *way, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += s->hops[way[i]][way[(i + 1) % n]];
    return sum;
}

// The shortest way from the head through all of at[0 .. n - 2] and back, the head being at[n - 1].
static void shortest(const struct solve *s, int *at, int n)
{
    static const double none = INFINITY;
    int k = n - 1, head = at[n - 1];
    double best[1 << EXACT][EXACT]; // of the set, ending at one of it
    for (int set = 1; set < 1 << k; set++)
        for (int i = 0; i < k; i++) {
            double *to = &best[set][i];
            *to = none;
            if (!(set >> i & 1))
                continue;
            int rest = set & ~(1 << i);
            if (!rest)
                *to = s->hops[head][at[i]];
            for (int j = 0; j < k; j++)
                if (rest >> j & 1 && best[rest][j] + s->hops[at[j]][at[i]] < *to)
                    *to = best[rest][j] + s->hops[at[j]][at[i]];
        }
    int out[EXACT], set = (1 << k) - 1, next = head;
    for (int p = k - 1; p >= 0; p--) {
        int last = -1;
        double least = none;
        for (int i = 0; i < k; i++)
            if (set >> i & 1 && best[set][i] + s->hops[at[i]][next] < least) {
                least = best[set][i] + s->hops[at[i]][next];
                last = i;
            }
        out[p] = at[last];
        next = at[last];
        set &= ~(1 << last);
    }
    memcpy(at, out, (size_t)k * sizeof *at);
}

static void turn_stretches(const struct solve *s, int *at, int n)
{
    for (bool better = true; better;) {
        better = false;
        for (int i = 0; i < n - 1; i++)
            for (int j = i + 1; j < n - 1; j++) {
                int other[PLAN_MAX_NODES];
                memcpy(other, at, (size_t)n * sizeof *at);
                for (int x = i, y = j; x <= j; x++, y--)
                    other[x] = at[y];
                if (length_of(s, other, n) < length_of(s, at, n) * (1 - 1e-9)) {
                    memcpy(at, other, (size_t)n * sizeof *at);
                    better = true;
                }
            }
    }
}

static int permute(int orders[SOLVE_ORDERS][PLAN_MAX_NODES], int n)
{
    int count = 1; // orders[0] is as listed
    for (bool more = true; more && count < SOLVE_ORDERS; count++) {
        int *way = orders[count], k = n - 1, i = k - 2, j = k - 1;
        memcpy(way, orders[count - 1], (size_t)n * sizeof *way);
        while (i >= 0 && way[i] > way[i + 1])
            i--;
        more = i >= 0;
        if (!more)
            break;
        while (way[j] < way[i])
            j--;
        int t = way[i];
        way[i] = way[j];
        way[j] = t;
        for (i++, j = k - 1; i < j; i++, j--) {
            t = way[i];
            way[i] = way[j];
            way[j] = t;
        }
    }
    return count;
}

// The ring's machines the shortest way round, the others behind them.
static void reorder(const struct solve *s, const struct solve_ring *ring, int *order)
{
    int at[PLAN_MAX_NODES], n = 0;
    bool in[PLAN_MAX_NODES] = {0};
    for (int i = 0; i < ring->n; i++) {
        at[n++] = ring->at[i];
        in[ring->at[i]] = true;
    }
    if (n - 1 <= EXACT)
        shortest(s, at, n);
    else
        turn_stretches(s, at, n);
    int to = 0;
    for (int i = 0; i < n - 1; i++)
        order[to++] = at[i];
    for (int i = 0; i < s->n - 1; i++)
        if (!in[i])
            order[to++] = i;
    order[to] = s->n - 1;
}

static bool is_listed(const struct solve *s)
{
    return s->a.fixed_order || s->equal_hops || s->n < 3;
}

void solve_order_of(const struct solve *s, const struct solve_ring *r, int *order)
{
    bool in[PLAN_MAX_NODES] = {0};
    int n = 0;
    for (int i = 0; i < r->n; i++)
        in[r->at[i]] = true;
    for (int i = 0; i < r->n - 1; i++)
        order[n++] = r->at[i];
    for (int i = 0; i < s->n - 1; i++)
        if (!in[i])
            order[n++] = i;
    order[n] = s->n - 1;
    for (int i = 0; i < s->n && is_listed(s); i++)
        order[i] = i;
}

int solve_orders(const struct solve *s, const struct solve_ring *present,
                 int orders[SOLVE_ORDERS][PLAN_MAX_NODES])
{
    for (int i = 0; i < s->n; i++)
        orders[0][i] = i;
    if (is_listed(s))
        return 1;
    if (s->n <= SOLVE_FEW)
        return permute(orders, s->n);
    struct solve_ring all = {.n = s->n};
    for (int i = 0; i < s->n; i++)
        all.at[i] = i;
    reorder(s, &all, orders[1]);
    if (!present || present->n < 3)
        return 2;
    reorder(s, present, orders[2]);
    return 3;
}
