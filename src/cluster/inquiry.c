// The order of a survey and what comes of it: see inquiry.h.
#include "cluster/inquiry.h"

#include "base/check.h"

#include <math.h>
#include <string.h>

static const double shared_below = 0.85; // of what all would read alone, together
static const double one_fills = 1.1; // a disk gives all together so many times what it gives one
static const double out_of_reach_s = 1000;

static bool same(const uint8_t a[16], const uint8_t b[16])
{
    static const uint8_t none[16];
    return memcmp(a, none, 16) && !memcmp(a, b, 16);
}

// Whether the nodes of this one's machine use more processors than it has.
static bool crowded(const struct inquiry *s, int node)
{
    const struct inquiry_seat *x = &s->seats[node];
    uint64_t used = 0;
    for (int i = 0; i < s->n; i++)
        if (i == node || same(s->seats[i].machine, x->machine))
            used += s->seats[i].processors;
    return x->of_processors && used > x->of_processors;
}

static bool share_cores(const struct inquiry *s, int a, int b)
{
    return same(s->seats[a].machine, s->seats[b].machine) && crowded(s, a);
}

static bool share_disk(const struct inquiry *s, int a, int b)
{
    return same(s->seats[a].disk, s->seats[b].disk);
}

static void ask(struct inquiry_questions *out, int node, int to)
{
    CHECK(out->n < INQUIRY_MAX_QUESTIONS);
    out->list[out->n++] = (struct inquiry_question){node, to};
}

// ---- profiles ----------------------------------------------------------------------------------

static void ask_profiles(struct inquiry *s, struct inquiry_questions *out)
{
    for (int i = s->n - 1; i >= 0; i--) { // the head waits the longest
        bool busy = s->asked[i];
        for (int j = 0; j < s->n; j++)
            busy |= s->asked[j] && !s->answered[j] && share_cores(s, i, j);
        if (busy)
            continue;
        s->asked[i] = true;
        ask(out, i, -1);
    }
}

// ---- links -------------------------------------------------------------------------------------

// Round r of a tournament: everybody meets everybody in an even number of rounds less one.
static void pairs_of_round(struct inquiry *s)
{
    int even = s->n + s->n % 2, last = even - 1;
    s->n_ways = s->next_way = 0;
    for (int i = 0; i < even / 2; i++) {
        int a = i ? (s->round / 2 + i) % last : last, b = (s->round / 2 + last - i) % last;
        int from = s->round % 2 ? b : a, to = s->round % 2 ? a : b; // there, and then back
        if (a >= s->n || b >= s->n || s->recalled[from][to])
            continue; // has a rest, or is known
        s->from[s->n_ways] = from;
        s->to[s->n_ways++] = to;
    }
}

static bool one_at_a_time(const struct inquiry *s)
{
    for (int i = 0; i < s->n; i++)
        for (int j = 0; j < i; j++)
            if (same(s->seats[i].machine, s->seats[j].machine))
                return true;
    return false;
}

static void begin_disks(struct inquiry *s, struct inquiry_questions *out);

static void ask_links(struct inquiry *s, struct inquiry_questions *out)
{
    int n_rounds = 2 * (s->n + s->n % 2 - 1);
    bool single = one_at_a_time(s);
    while (!s->n_waiting && s->next_way == s->n_ways && ++s->round < n_rounds)
        pairs_of_round(s);
    if (s->round >= n_rounds) {
        begin_disks(s, out);
        return;
    }
    while (s->next_way < s->n_ways && !(single && s->n_waiting)) {
        ask(out, s->from[s->next_way], s->to[s->next_way]);
        s->next_way++;
        s->n_waiting++;
    }
}

static void begin_links(struct inquiry *s, struct inquiry_questions *out)
{
    s->stage = INQUIRY_LINKS;
    s->round = -1;
    s->n_ways = s->next_way = s->n_waiting = 0;
    ask_links(s, out);
}

// ---- disks -------------------------------------------------------------------------------------

static bool in_group(const struct inquiry *s, int node)
{
    for (int i = 0; i < s->n; i++)
        if (i != node && share_disk(s, i, node))
            return true;
    return false;
}

// Whether it is known what all of its group get together.
static bool group_recalled(const struct inquiry *s, int node)
{
    for (int i = 0; i < s->n; i++)
        if ((i == node || share_disk(s, i, node)) && !s->recalled[i][i])
            return false;
    return true;
}

static void form_disk_groups(struct inquiry *s)
{
    struct plan_cluster *c = &s->cluster;
    int n_groups = 0;
    for (int i = 0; i < s->n && n_groups < PLAN_GROUPS; i++) {
        double alone = 0, together = 0, most = 0;
        bool here = true;
        if (c->machines[i].disk_group >= 0 || !in_group(s, i))
            continue;
        for (int j = 0; j < s->n; j++)
            if (j == i || share_disk(s, i, j)) {
                alone += c->machines[j].disk;
                together += s->together[j];
                most = fmax(most, c->machines[j].disk);
                here = here && same(s->seats[i].machine, s->seats[j].machine);
            }
        // On one machine the reads of one fill a disk; others read at other times, or it had a
        // rest.
        if (here && together > one_fills * most)
            together = one_fills * most;
        if (!(together > 0) || together >= shared_below * alone)
            continue;
        for (int j = 0; j < s->n; j++)
            if (j == i || share_disk(s, i, j))
                c->machines[j].disk_group = n_groups;
        c->disk_rates[n_groups++] = together;
    }
}

static void form_core_groups(struct inquiry *s)
{
    int n_groups = 0;
    for (int i = 0; i < s->n && n_groups < PLAN_GROUPS; i++) {
        bool others = false;
        if (s->cluster.machines[i].core_group >= 0)
            continue;
        for (int j = 0; j < s->n; j++)
            if (j != i && share_cores(s, i, j)) {
                s->cluster.machines[j].core_group = n_groups;
                others = true;
            }
        if (others)
            s->cluster.machines[i].core_group = n_groups++;
    }
}

// What a machine can spare is for all nodes there that would take it.
static void share_memory(struct inquiry *s)
{
    for (int i = 0; i < s->n; i++) {
        uint64_t n = 1;
        for (int j = 0; s->shares[i] && j < s->n; j++)
            n += j != i && s->shares[j] && same(s->seats[i].machine, s->seats[j].machine);
        s->cluster.machines[i].memory /= n;
    }
}

static void finish(struct inquiry *s)
{
    share_memory(s);
    form_disk_groups(s);
    form_core_groups(s);
    s->stage = INQUIRY_DONE;
}

static void begin_disks(struct inquiry *s, struct inquiry_questions *out)
{
    s->stage = INQUIRY_DISKS;
    memset(s->asked, 0, sizeof s->asked);
    memset(s->answered, 0, sizeof s->answered);
    for (int i = 0; i < s->n; i++)
        if (in_group(s, i) && s->cluster.machines[i].disk > 0 && !group_recalled(s, i)) {
            s->asked[i] = true;
            ask(out, i, -1);
        }
    if (!out->n)
        finish(s);
}

// ---- answers -----------------------------------------------------------------------------------

void inquiry_begin(struct inquiry *s, const struct inquiry_seat *seats, int n,
                   struct inquiry_questions *out)
{
    CHECK(n >= 2 && n <= PLAN_MAX_NODES);
    *s = (struct inquiry){.n = n, .cluster.n = n};
    memcpy(s->seats, seats, (size_t)n * sizeof *seats);
    out->n = 0;
    ask_profiles(s, out);
}

void inquiry_recall_link(struct inquiry *s, int node, int to, const struct plan_link *way)
{
    s->cluster.links[node][to] = *way;
    s->recalled[node][to] = true;
}

void inquiry_recall_disk(struct inquiry *s, int node, double rate)
{
    s->together[node] = rate;
    s->recalled[node][node] = true;
}

void inquiry_shares_memory(struct inquiry *s, int node)
{
    s->shares[node] = true;
}

bool inquiry_share_disk(const struct inquiry *s, int a, int b)
{
    return share_disk(s, a, b);
}

static bool due(const struct inquiry *s, enum inquiry_stage stage, int node)
{
    return s->stage == stage && node >= 0 && node < s->n && s->asked[node] && !s->answered[node];
}

static bool all_answered(const struct inquiry *s)
{
    for (int i = 0; i < s->n; i++)
        if (s->asked[i] && !s->answered[i])
            return false;
    return true;
}

void inquiry_profile(struct inquiry *s, int node, const struct plan_machine *m,
                     struct inquiry_questions *out)
{
    out->n = 0;
    if (!due(s, INQUIRY_PROFILES, node))
        return;
    s->answered[node] = true;
    if (!m) {
        s->unknown = true;
        s->stage = INQUIRY_DONE;
        return;
    }
    struct plan_machine *to = &s->cluster.machines[node];
    *to = *m;
    memcpy(to->name, s->seats[node].name, sizeof to->name);
    to->disk_group = to->net_group = to->core_group = -1;
    ask_profiles(s, out);
    if (!out->n && all_answered(s))
        begin_links(s, out);
}

void inquiry_link(struct inquiry *s, int node, int to, const struct plan_link *way,
                  struct inquiry_questions *out)
{
    out->n = 0;
    if (s->stage != INQUIRY_LINKS)
        return;
    for (int i = 0; i < s->next_way; i++) {
        if (s->from[i] != node || s->to[i] != to)
            continue;
        s->from[i] = -1; // answered
        s->cluster.links[node][to] = *way;
        if (!(way->rate > 0)) // as good as none, but a number that can be added up
            s->cluster.links[node][to] = (struct plan_link){out_of_reach_s, 1};
        s->n_waiting--;
        ask_links(s, out);
        return;
    }
}

void inquiry_disk(struct inquiry *s, int node, double rate, struct inquiry_questions *out)
{
    out->n = 0;
    if (!due(s, INQUIRY_DISKS, node))
        return;
    s->answered[node] = true;
    s->together[node] = rate;
    if (all_answered(s))
        finish(s);
}

int inquiry_waits_for(const struct inquiry *s)
{
    if (s->stage == INQUIRY_LINKS)
        for (int i = 0; i < s->next_way; i++)
            if (s->from[i] >= 0)
                return s->from[i];
    if (s->stage == INQUIRY_PROFILES || s->stage == INQUIRY_DISKS)
        for (int i = 0; i < s->n; i++)
            if (s->asked[i] && !s->answered[i])
                return i;
    return -1;
}
